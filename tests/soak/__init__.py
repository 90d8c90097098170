"""`make soak`: chaos on real parts, and a report that explains each outage by a fault."""
