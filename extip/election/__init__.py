"""One scheduler leads; a Lease says which."""
