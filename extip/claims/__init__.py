"""IpClaims: one for each external IP, and what each of them says."""
