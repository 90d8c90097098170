"""Pure decisions of the page."""
