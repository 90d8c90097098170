"""Keeps this node from holding an IP that the scheduler may have given to another node."""
