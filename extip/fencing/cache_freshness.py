"""Decides whether the claims in the cache may be acted on: only while no other node can have them.

Other nodes replace one that sends no heartbeats. A process that was frozen, or cut off from the API
server, must therefore not add or announce an address from old claims. Its claims are read anew
first. A claim that the cache has and that reading lacks does not count until the watch has caught
up.

While the cache is not fresh, the present addresses stay: the API server may be away for every node,
and then none takes over. The exception is a process that stood still. The kernel may have dropped
its addresses, and adding them would take them from their new holder.

The cache is fresh for `limit_s` from a heartbeat or a reading. Heartbeats that follow one another
within that time extend it. Calls that take long get more time, up to `most_s`: otherwise each
answer would be old when it arrives, and nothing could ever be added. The first heartbeat comes
before everything: until then another controller may use this node's name.

It does not guarantee that the cache is up to date while fresh: a watch may lag.

The owner tasks are `CacheFreshness.run` and `CacheFreshness.detect_stalls`.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from random import Random

from extip import log
from extip.api.ipcontroller_v1 import IpClaim
from extip.backoff import Backoff
from extip.clock import Clock
from extip.errors import ApiError, ApiUnavailableError
from extip.fencing.paused_clock import PausedClock
from extip.handover.policy import version_of
from extip.trigger import Trigger

_FIRST_BOUND_S = 1.0
_MAX_BOUND_S = 30.0
"""Bounds on one reading, in seconds. A timeout doubles the bound: a connection that died in an
outage costs little, and a slow API server is still read. After a slow reading the next one gets
twice the time that it took, as a heartbeat does."""

_SLOW = 2.5
"""The cache is fresh for as many times what a call takes: the next heartbeat is taken after two."""

_RETRY = Backoff(initial_s=0.5, cap_s=15.0)
"""A reading costs the API server much, so a server without time for it is asked seldom."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """The answer of a quorum of the API server."""

    names: frozenset[str]
    """This node's claims."""
    version: int
    """The resourceVersion of the answer."""


class CacheFreshness:
    """Knows the age of the last answer of the API server, and which cached claims are lost."""

    def __init__(  # noqa: PLR0913 - a composition of parts and plain values
        self,
        cache: Mapping[str, IpClaim],
        *,
        read: Callable[[], Awaitable[Reading]],
        limit_s: float,
        most_s: float,
        server_time_s: Callable[[], float | None] = lambda: None,
        on_change: Callable[[], None],
        clock: Clock,
        rng: Random,
    ) -> None:
        """`read` returns the node's claims as they are now, or raises ApiError.

        `limit_s` and `most_s` are explained above; in seconds. `server_time_s` returns the time
        that came with the last answer to a heartbeat (see `PausedClock`).
        """
        self._cache = cache
        self._read = read
        self.limit_s = limit_s
        self._most_s = most_s
        self._took_s = 0.0
        """Seconds that the last answered call took."""
        self._too_slow = False
        """The last reading was old when it arrived."""
        self._on_change = on_change
        self._clock = clock
        self._rng = rng
        self._failures = 0
        self._retry_after_s = 0.0
        self._log = log.get_logger("cache-freshness")
        self._heard_at: float | None = None
        self._fresh_at: float | None = None
        self._turned_at: float | None = None
        self._server_time_s = server_time_s
        self._paused = PausedClock(limit_s)
        self._stalled = False
        self._invalidations = 0
        self._lost: dict[str, int] = {}
        self.readings = 0
        """How often the claims were read so that they could be acted on again."""
        self._triggered = Trigger()
        self._bound_s = _FIRST_BOUND_S

    def on_heartbeat(self, sent_at: float) -> bool:
        """Record that the API server took a heartbeat sent at that time (the clock's timeline).

        Returns whether it is the first after a silence. Only that one ends a backoff: a server that
        takes heartbeats may have no time for a reading.
        """
        if still_s := self._paused.stood_still_s(self._server_time_s(), self._clock.monotonic()):
            self._stood_still(still_s, "its machine was paused, and so was the clock")
            self.invalidate()
        back = not self._recent(self._heard_at)
        self._heard_at = sent_at
        self._took_s = self._clock.monotonic() - sent_at
        # Only an unbroken row of heartbeats proves that no other node took over in between.
        if self._fresh_at is not None and sent_at - self._fresh_at <= self._valid_s:
            self._fresh_at = max(self._fresh_at, sent_at)
        elif back:
            self._failures = 0
            self._triggered.set()
        return back

    def is_fresh(self) -> bool:
        """Return whether the claims in the cache may be acted on now."""
        return self._recent(self._fresh_at)

    def is_heard(self) -> bool:
        """Return whether the API server takes heartbeats, also where claims cannot be read."""
        return self._recent(self._heard_at)

    def in_contact(self) -> bool:
        """Return whether others take this node for alive: then claims leave it in order."""
        return self.is_fresh() and self.is_heard()

    def invalidate(self) -> None:
        """Have the claims read anew after another heartbeat, before they may be acted on."""
        self._invalidations += 1
        self._fresh_at = self._heard_at = None
        self._triggered.set()

    def mark_lost(self, name: str, *, version: int) -> None:
        """Record that a claim is not this node's as of that version, whatever the cache says."""
        self._lost[name] = version
        self._on_change()

    def stalled(self) -> bool:
        """Return whether this process stood still for `limit_s` since the last reading."""
        now = self._clock.monotonic()
        still_s = 0.0 if self._turned_at is None else now - self._turned_at
        if still_s > self.limit_s:
            self._stood_still(still_s, "it had no processor: stopped, swapped out, or paused")
        self._turned_at = now
        return self._stalled

    def _stood_still(self, after_s: float, why: str) -> None:
        self._stalled = True
        reason = f"{why}; its IPs may have moved"
        self._log.warning("process_stood_still", after_s=round(after_s, 1), reason=reason)

    def is_outdated(self, name: str) -> bool:
        """Return whether the cache has a claim that is known not to be this node's any more."""
        claim = self._cache.get(name)
        as_of = self._lost.get(name)
        return as_of is not None and claim is not None and version_of(claim) <= as_of

    def caught_up(self, name: str) -> bool:
        """Return whether the cache has just caught up with a loss; call it for each change."""
        if name not in self._lost or self.is_outdated(name):
            return False
        del self._lost[name]
        return True

    async def run(self) -> None:
        """Read the claims whenever the cache is not fresh; until cancelled."""
        while True:
            self._triggered.clear()
            if self._heard_at is None:
                await self._triggered.wait()
            elif self._fresh_at is not None and self.is_fresh():
                rest_s = self._fresh_at + self._valid_s - self._clock.monotonic()
                await self._clock.sleep(rest_s + 0.001)
            elif await self._review():
                self._failures = 0
            else:
                await self._pause()

    async def detect_stalls(self) -> None:
        """Notice that this process stands still; until cancelled."""
        while True:
            self.stalled()
            await self._clock.sleep(self.limit_s / 4)

    async def _review(self) -> bool:
        """Read the claims once; return whether they may be acted on again."""
        started, invalidations = self._clock.monotonic(), self._invalidations
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
        took_s = self._took_s = self._clock.monotonic() - started
        self._bound_s = min(max(_FIRST_BOUND_S, 2 * took_s), _MAX_BOUND_S)
        if invalidations != self._invalidations:
            return False  # the answer may be older than the frame that invalidated the cache
        later = {name: as_of for name, as_of in self._lost.items() if as_of > reading.version}
        self._lost = later | {
            name: reading.version
            for name, claim in self._cache.items()
            if name not in reading.names and version_of(claim) <= reading.version
        }
        self._fresh_at = started  # not now: the answer may be as old as the request
        self.readings += 1
        self._stalled = self._stalled and not self.is_fresh()
        self._log.info("claims_read", count=len(reading.names), lost=len(self._lost))
        self._warn_if_slow(took_s)
        self._on_change()
        return True

    def _warn_if_slow(self, took_s: float) -> None:
        too_slow = not self.is_fresh()
        if too_slow and not self._too_slow:
            self._log.warning(
                "claims_read_too_slowly",
                took_s=round(took_s, 1),
                valid_s=round(self._valid_s, 1),
                reason="new claims are not acted on: the API server answers too slowly to tell "
                "that they are still this node's; a longer --address-ttl allows more",
            )
        self._too_slow = too_slow

    async def _pause(self) -> None:
        delay_s = _RETRY.delay_s(self._failures, self._rng.random())
        delay_s = min(max(delay_s, self._retry_after_s), _RETRY.cap_s)
        self._retry_after_s = 0.0
        await self._triggered.wait_at_most(delay_s)

    @property
    def _valid_s(self) -> float:
        """Seconds for which an answer counts from the sending of its question."""
        return max(self.limit_s, min(_SLOW * self._took_s, self._most_s))

    def _recent(self, at: float | None) -> bool:
        return at is not None and self._clock.monotonic() - at <= self._valid_s
