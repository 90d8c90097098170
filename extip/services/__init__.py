"""The external IPs that services ask for, and who may ask for which."""
