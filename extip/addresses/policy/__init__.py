"""Pure decisions about the addresses of an interface."""
