"""Tests of the lab itself: the parts that need no cluster."""
