"""Pure: services to requests."""
