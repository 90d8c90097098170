"""A fresh read of all heartbeat Leases: it confirms that a node is dead, or shows that it lives.

Heartbeats may be late for the same reason as the read. So it also tells how slow the API server has
been of late.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from math import inf

from extip.api.coordination_v1 import Lease
from extip.clock import Clock
from extip.errors import ApiUnavailableError
from extip.liveness.answer_times import AnswerTimes

READ_S = 5.0
"""The longest time of one attempt, in seconds."""

_FIRST = 4
_FIRST_S = (0.25, 1.0)
"""The first attempt may take this part of `--monitor` (a divisor), within these limits in seconds.
A dead connection delays the read by at most this time. The second attempt tells it from a slow API
server."""

_RECENT = 2
"""A call of this process tells of slow answers for this part of `--monitor` (a divisor)."""

_SLOW_FOR_S = 15.0
"""Seconds after a read in which another one may take twice as long as it did. The reads that follow
a slow one are not given up for being as slow."""


class FreshRead:
    """Reads the Leases, and knows how long that took."""

    def __init__(
        self, read: Callable[[], Awaitable[Iterable[Lease]]], *, monitor_s: float, clock: Clock
    ) -> None:
        """`read` returns all heartbeat Leases from a quorum."""
        self._read = read
        self._monitor_s = monitor_s
        self._clock = clock
        self.answer_times = AnswerTimes()
        """Times of other calls of this process; the caller records them."""
        self._took_s = 0.0
        """Seconds that the last attempt took."""
        self._ended_at = -inf

    async def leases(self) -> tuple[Lease, ...]:
        """Read all Leases, with a second attempt. Raises TimeoutError and ApiError.

        While calls of this process fail, heartbeats may fail, too: then a read would prove nothing.
        """
        if self.answer_times.failing:
            raise ApiUnavailableError("other calls to the API server fail")
        least_s, most_s = _FIRST_S
        first_s = min(max(self._monitor_s / _FIRST, least_s), most_s)
        if self._clock.monotonic() - self._ended_at < _SLOW_FOR_S:
            first_s = min(max(first_s, 2 * self._took_s), READ_S)
        try:
            return await self._attempt(first_s)
        except TimeoutError:
            return await self._attempt(READ_S)

    def slowest_s(self, now: float) -> float:
        """Return how long the last attempt took, or another call of late if that took longer.

        An attempt that was given up says nothing about heartbeats. Other calls do: the server may
        have been slow while a heartbeat was due, and be quick again.
        """
        other_s = self.answer_times.slowest_s(now, within_s=self._monitor_s / _RECENT)
        return max(self._took_s, other_s)

    async def _attempt(self, within_s: float) -> tuple[Lease, ...]:
        asked_at = self._clock.monotonic()
        async with asyncio.timeout(within_s):
            leases = tuple(await self._read())
        self._ended_at = self._clock.monotonic()
        self._took_s = self._ended_at - asked_at
        return leases
