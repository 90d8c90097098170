"""Pure: when to write again, and who else writes."""
