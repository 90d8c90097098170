"""A Lease whose successful writes are told."""

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
