"""No other station has an IP before it comes up here (RFC 5227, RFC 4862)."""
