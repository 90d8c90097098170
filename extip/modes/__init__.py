"""Wiring: each mode as the list of its parts.

`assemble` of a mode puts the parts together over any API server, network and clock, and begins
nothing. `run` opens the real ones and runs the `Process` that comes of it.
"""
