"""How long what a deleted service asked for is still wanted."""

import asyncio
from collections.abc import Callable

LINGER_S = 2.0
"""Tools replace a service by deleting it and creating it anew (``kubectl replace --force``, ``helm
upgrade --force``), which takes them some tenths of a second. Longer, and clients of a service that
is really gone would talk to the node itself for long."""


def linger(end: Callable[[], None]) -> None:
    """Call `end` when a deleted service has not come back for so long."""
    asyncio.get_running_loop().call_later(LINGER_S, end)
