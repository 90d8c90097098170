"""Finds out whether another station on the segment still hears this node."""
