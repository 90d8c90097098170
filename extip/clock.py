"""Time as a parameter: everything that waits or measures takes a `Clock`.

Durations are measured on the event loop's monotonic clock, so that `asyncio.timeout`, timers and
measurements share one timeline (and tests can run it virtually). UTC goes on the wire and into
logs only; no decision compares it.
"""

import asyncio
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """What components may know about time."""

    def monotonic(self) -> float:
        """Return seconds since an arbitrary instant; never goes back."""

    async def sleep(self, seconds: float) -> None:
        """Suspend the task; a negative duration only yields to the loop."""

    def utcnow(self) -> datetime:
        """Return the wall-clock time, for display and for the wire."""


class LoopClock:
    """The running event loop's time."""

    def monotonic(self) -> float:
        """Return the loop's time in seconds."""
        return asyncio.get_running_loop().time()

    async def sleep(self, seconds: float) -> None:
        """Suspend the task for that many seconds."""
        await asyncio.sleep(max(0.0, seconds))

    def utcnow(self) -> datetime:
        """Return the current time in UTC."""
        return datetime.now(UTC)
