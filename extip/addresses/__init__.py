"""Brings external IPs up on the interface, keeps them up, and removes them. `reconciler` loops."""
