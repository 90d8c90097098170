"""The IPs of a deleted service stay wanted for a moment: it may be replaced."""

import asyncio
from collections.abc import Callable

LINGER_S = 2.0
"""Seconds. Some tools replace a service by a deletion and a creation (``kubectl replace --force``,
``helm upgrade --force``), some tenths of a second apart. A longer time would leave clients of a
service that is gone connected to the node itself."""


def linger(end: Callable[[], None]) -> None:
    """Call `end` when `LINGER_S` has passed since the deletion."""
    asyncio.get_running_loop().call_later(LINGER_S, end)
