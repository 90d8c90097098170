"""Writes to the API server: side by side, with a backoff for failures and for undone writes."""
