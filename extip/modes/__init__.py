"""Composition roots: which part runs in which mode."""
