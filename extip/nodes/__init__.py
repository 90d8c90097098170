"""IpNodes: the report of each controller, and the verdict of the scheduler."""
