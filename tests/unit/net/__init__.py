"""The pure half of the Linux adapter, and components on virtual time."""
