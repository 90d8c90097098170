"""Tells the neighbours where an IP is now: gratuitous ARP, unsolicited neighbour advertisements."""
