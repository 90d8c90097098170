"""`extip drain`: all IPs leave a node, and come back. The node's side is in `extip.handover`."""
