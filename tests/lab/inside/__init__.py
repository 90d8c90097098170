"""Programs that run inside of a lab: scripts that use nothing but the standard library."""
