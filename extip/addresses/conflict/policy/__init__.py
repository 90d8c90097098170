"""Pure decisions about conflicts."""
