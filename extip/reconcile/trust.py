"""May the claims in the cache be acted on? Only while they cannot have been given away unseen.

A node that sends no heartbeats is replaced by others. A process that was frozen, or cut off from
the API server, must therefore not add or announce anything from what it knew before: its claims
are read anew first. What the cache still has and that reading lacks does not count any more until
the watch has caught up with it.

While there is no trust, what was acted on before stays as it is (the API server may be away for
everybody, and then nobody takes over), unless this process stood still: then the kernel may have
dropped addresses, and putting them back would take them from their new holder.

Trust lasts `limit_s` from a heartbeat or a reading; heartbeats that follow one another within that
time extend it. The first heartbeat comes before everything: until then the node's name may be
another controller's.

The owner tasks are `CacheTrust.run` and `CacheTrust.watch_time`.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from random import Random

from extip import log
from extip.api.ipcontroller_v1 import IpClaim
from extip.clock import Clock
from extip.errors import ApiError, ApiUnavailableError
from extip.plan.backoff import Backoff
from extip.plan.handover import version_of

_FIRST_BOUND_S = 1.0
_MAX_BOUND_S = 30.0
"""Bounds on one reading: doubled when it is not enough, so that a connection that died in an
outage costs little after it, and a slow API server is still read."""

_RETRY = Backoff(initial_s=0.5, cap_s=15.0)
"""Reading is dear for the API server, so one that has no time for it is left in peace."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What a quorum of the API server said."""

    names: frozenset[str]
    """This node's claims."""
    version: int
    """As of when; versions grow with each change."""


class CacheTrust:
    """Knows since when nobody was heard, and what to leave out of the cache."""

    def __init__(
        self,
        cache: Mapping[str, IpClaim],
        *,
        read: Callable[[], Awaitable[Reading]],
        limit_s: float,
        changed: Callable[[], None],
        clock: Clock,
        rng: Random,
    ) -> None:
        """`read` returns the node's claims as they are now, or raises ApiError."""
        self._cache = cache
        self._read = read
        self.limit_s = limit_s
        self._changed = changed
        self._clock = clock
        self._rng = rng
        self._failures = 0
        self._retry_after_s = 0.0
        self._log = log.get_logger("trust")
        self._heard_at: float | None = None
        self._proved_at: float | None = None
        self._turned_at: float | None = None
        self._frozen = False
        self._doubts = 0
        self._lost: dict[str, int] = {}
        self.readings = 0
        """How often the claims were read so that they could be acted on again."""
        self._wake = asyncio.Event()
        self._bound_s = _FIRST_BOUND_S

    def heard(self, sent_at: float) -> bool:
        """Note that the API server took a heartbeat sent at that time (the clock's timeline).

        Returns whether it is the first after a silence: only that one ends a backoff, since a
        server that takes heartbeats may still have no time for anything else.
        """
        back = not self._recent(self._heard_at)
        self._heard_at = sent_at
        if self._proved_at is not None and sent_at - self._proved_at <= self.limit_s:
            self._proved_at = max(self._proved_at, sent_at)
        elif back:
            self._failures = 0
            self._wake.set()
        return back

    def holds(self) -> bool:
        """Return whether what the cache says may be acted on now."""
        return self._recent(self._proved_at)

    def orderly(self) -> bool:
        """Return whether a claim that leaves now is moved while this node is known to live."""
        return self.holds() and self._recent(self._heard_at)

    def doubt(self) -> None:
        """Have the claims read anew, after another heartbeat, before they may be acted on."""
        self._doubts += 1
        self._proved_at = self._heard_at = None
        self._wake.set()

    def lost(self, name: str, *, version: int) -> None:
        """Note that as of that version a claim is not this node's, whatever the cache says."""
        self._lost[name] = version
        self._changed()

    def frozen(self) -> bool:
        """Return whether this process stood still for so long since the claims were last read."""
        now = self._clock.monotonic()
        if self._turned_at is not None and now - self._turned_at > self.limit_s:
            self._frozen = True
        self._turned_at = now
        return self._frozen

    def overtaken(self, name: str) -> bool:
        """Return whether the cache has a claim that is known not to be this node's any more."""
        claim = self._cache.get(name)
        as_of = self._lost.get(name)
        return as_of is not None and claim is not None and version_of(claim) <= as_of

    def caught_up(self, name: str) -> bool:
        """Return whether the cache did not know of a loss until now; for each change of a claim."""
        if name not in self._lost or self.overtaken(name):
            return False
        del self._lost[name]
        return True

    async def run(self) -> None:
        """Read the claims whenever trust is lost; until cancelled."""
        while True:
            self._wake.clear()
            if self._heard_at is None:
                await self._wake.wait()
            elif self._proved_at is not None and self.holds():
                rest_s = self._proved_at + self.limit_s - self._clock.monotonic()
                await self._clock.sleep(rest_s + 0.001)
            elif await self._review():
                self._failures = 0
            else:
                await self._pause()

    async def watch_time(self) -> None:
        """Notice when this process stands still; until cancelled."""
        while True:
            self.frozen()
            await self._clock.sleep(self.limit_s / 4)

    async def _review(self) -> bool:
        """Read the claims once; return whether they may be acted on again."""
        started, doubts = self._clock.monotonic(), self._doubts
        try:
            async with asyncio.timeout(self._bound_s):
                reading = await self._read()
        except TimeoutError:
            self._bound_s = min(2 * self._bound_s, _MAX_BOUND_S)
            self._failures += 1
            return False
        except ApiError as error:
            self._log.debug("claims_not_read", error=str(error))
            self._failures += 1
            if isinstance(error, ApiUnavailableError):
                self._retry_after_s = error.retry_after_s or 0.0
            return False
        self._bound_s = _FIRST_BOUND_S
        if doubts != self._doubts:
            return False
        later = {name: as_of for name, as_of in self._lost.items() if as_of > reading.version}
        self._lost = later | {
            name: reading.version
            for name, claim in self._cache.items()
            if name not in reading.names and version_of(claim) <= reading.version
        }
        self._proved_at = started
        self.readings += 1
        self._frozen = self._frozen and not self.holds()
        self._log.info("claims_read", count=len(reading.names), lost=len(self._lost))
        self._changed()
        return True

    async def _pause(self) -> None:
        delay_s = _RETRY.delay_s(self._failures, self._rng.random())
        delay_s = min(max(delay_s, self._retry_after_s), _RETRY.cap_s)
        self._retry_after_s = 0.0
        try:
            async with asyncio.timeout(delay_s):
                await self._wake.wait()
        except TimeoutError:
            return

    def _recent(self, at: float | None) -> bool:
        return at is not None and self._clock.monotonic() - at <= self.limit_s
