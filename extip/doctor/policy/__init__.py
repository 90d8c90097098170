"""Pure: facts → findings."""
