"""Pure: nodes x claims to the writes that place each claim."""
