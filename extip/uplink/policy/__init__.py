"""Pure decisions: which neighbours to ask, and what their silence means."""
