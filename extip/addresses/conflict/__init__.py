"""Another station says that it has an IP that is up here: defend it, or give it up (RFC 5227)."""
