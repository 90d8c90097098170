"""`extip status`: where each IP is, since when, and why."""
