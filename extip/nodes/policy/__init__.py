"""Pure decisions about the status of an IpNode."""
