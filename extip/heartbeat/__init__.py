"""Heartbeats over Leases: `publisher` on each node, `monitor` where nodes are watched."""
