"""Pure decisions about probes."""
