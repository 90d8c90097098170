"""The definitions (CRDs) of extip's kinds: their installation, and the loss of one."""
