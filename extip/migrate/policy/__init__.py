"""Decisions of `extip migrate`. Pure."""
