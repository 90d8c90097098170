"""A Lease that tells of the calls about it: which were answered, and which were not."""

import asyncio
from collections.abc import Awaitable, Callable

from extip.api.coordination_v1 import Lease
from extip.clock import Clock
from extip.heartbeat.publisher import LeaseStore


class HeardLease:
    """Tells when the API server takes a heartbeat; implements `LeaseStore`."""

    def __init__(self, inner: LeaseStore, *, heard: Callable[[float], None], clock: Clock) -> None:
        """`heard` is called with the time at which a heartbeat was sent, once it was taken."""
        self._inner = inner
        self._heard = heard
        self._clock = clock

    async def get(self) -> Lease:
        """Return the Lease."""
        return await self._inner.get()

    async def create(self, lease: Lease) -> Lease:
        """Create the Lease."""
        return await self._timed(self._inner.create, lease)

    async def replace(self, lease: Lease) -> Lease:
        """Replace the Lease."""
        return await self._timed(self._inner.replace, lease)

    async def _timed(self, write: Callable[[Lease], Awaitable[Lease]], lease: Lease) -> Lease:
        sent_at = self._clock.monotonic()
        written = await write(lease)
        self._heard(sent_at)
        return written


class RepeatedLease:
    """Tells when a call that was not answered in time is followed by one that is.

    Connections that were open before the first one may be dead then, and nobody was told.
    Implements `LeaseStore` and `leaderelection.Lock`.
    """

    def __init__(
        self, inner: LeaseStore, *, repeated: Callable[[float], None], clock: Clock
    ) -> None:
        """`repeated` is called with the time at which the first such call was sent."""
        self._inner = inner
        self._repeated = repeated
        self._clock = clock
        self._unanswered_at: float | None = None

    async def get(self) -> Lease:
        """Return the Lease."""
        return await self._follow(self._inner.get())

    async def create(self, lease: Lease) -> Lease:
        """Create the Lease."""
        return await self._follow(self._inner.create(lease))

    async def replace(self, lease: Lease) -> Lease:
        """Replace the Lease."""
        return await self._follow(self._inner.replace(lease))

    async def _follow(self, call: Awaitable[Lease]) -> Lease:
        sent_at = self._clock.monotonic()
        try:
            answer = await call
        except asyncio.CancelledError:  # the caller's bound on the time
            if self._unanswered_at is None:
                self._unanswered_at = sent_at
            raise
        since, self._unanswered_at = self._unanswered_at, None
        if since is not None:
            self._repeated(since)
        return answer
