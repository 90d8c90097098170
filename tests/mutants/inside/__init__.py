"""What runs inside a mutated tree; nothing here imports the rest of `tests`."""
