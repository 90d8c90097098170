"""Refuses IPs that would hurt the node, the cluster or the network."""
