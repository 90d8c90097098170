"""A clock whose sleepers can be woken.

A cache that waits out its backoff after an outage does not know that the server is back; whoever
hears that first (a heartbeat, say) wakes it, and it tries at once.
"""

from datetime import datetime

from extip.clock import Clock
from extip.trigger import Trigger


class WakingClock:
    """Passes on another clock; implements `Clock`."""

    def __init__(self, inner: Clock) -> None:
        self._inner = inner
        self._triggered = Trigger()

    def wake(self) -> None:
        """End every sleep that is under way."""
        self._triggered.set()
        self._triggered.clear()

    def monotonic(self) -> float:
        """Return seconds since an arbitrary instant."""
        return self._inner.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Suspend the task for that many seconds, or until `wake`."""
        await self._triggered.wait_at_most(seconds)

    def utcnow(self) -> datetime:
        """Return the wall-clock time."""
        return self._inner.utcnow()
