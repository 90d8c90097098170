"""Waits until no IP is needed on this node any more, or the drain is given up."""

import asyncio
from collections.abc import Callable


class DrainWait:
    """The wait of a node that is drained."""

    def __init__(self, needed: Callable[[], bool]) -> None:
        """`needed` returns whether an IP is up here that others do not have yet."""
        self._needed = needed
        self._triggered = asyncio.Event()
        self._given_up = False

    def trigger(self) -> None:
        """Look again: something has changed."""
        self._triggered.set()

    async def wait(self) -> None:
        """Return once nothing is needed, or after `give_up`."""
        while not self._given_up and self._needed():
            self._triggered.clear()
            await self._triggered.wait()

    def give_up(self) -> None:
        """End `wait`."""
        self._given_up = True
        self._triggered.set()
