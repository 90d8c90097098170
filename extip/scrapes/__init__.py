"""Scrapes of /metrics by a bearer token, which the API server reviews."""
