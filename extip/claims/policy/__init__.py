"""Pure: services to claims, and claims to addresses of a node."""
