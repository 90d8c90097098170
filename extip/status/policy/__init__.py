"""Pure: objects → rows of the table."""
