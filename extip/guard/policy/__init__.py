"""Pure: which IP may come up, and why another may not."""
