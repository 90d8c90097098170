"""Where services are served, for ``externalTrafficPolicy: Local``."""
