"""Heartbeats over Leases: `heartbeat` on each node, `node_monitor` in the scheduler."""
