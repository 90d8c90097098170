"""`extip doctor`: what would keep extip from working, told before it does."""
