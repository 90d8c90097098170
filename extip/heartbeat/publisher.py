"""Says that this node is alive, by renewing its Lease.

Guarantees: the first renewal goes out at once; each is bounded in time, so a connection that hangs
costs one heartbeat; after a failure the next try comes sooner than a heartbeat later. Two live
controllers of one node name never both go on: the one that finds the other's heartbeats in its
Lease stops with `AlreadyRunningError`.

Not guaranteed: that anybody sees it. `confirmed_at` tells when the API server last took one.

One task, `run`, owns it; `release` is called once that is over.
"""

import asyncio
from collections.abc import Callable
from random import Random
from typing import Protocol

from extip import log
from extip.api.coordination_v1 import Lease
from extip.clock import Clock
from extip.errors import (
    AlreadyRunningError,
    ApiError,
    ApiUnavailableError,
    ConflictError,
    NotFoundError,
)
from extip.heartbeat.protocol import Terms, beat_of, given_up, new_lease, reach_of, renewed
from extip.metrics import Metrics
from extip.plan.backoff import Backoff
from extip.plan.isolation import Reach
from extip.plan.liveness import HEARTBEATS

JITTER = 0.1
"""Share of a heartbeat by which the next one comes earlier or later: many nodes, one API server."""

_BOUND = 0.9
"""Part of a heartbeat that one request may take, as long as none has timed out."""

_MAX_BOUND_S = 5.0
"""Longest bound on a request, however slow the API server is: when one hangs since the way there
is cut, this is how late it may be noticed that the way is open again."""

_MAX_RETRY_AFTER = 0.5
"""Part of a heartbeat for which `Retry-After` is respected. API servers say one second whatever
they have to do, a proxy anything; a node that obeys and is silent for too long loses its IPs, which
costs the server more requests than it was spared."""

_RELEASE_S = 1.0
"""Bound on giving the Lease up."""

_ATTEMPTS = 4
"""Requests that one renewal may need: somebody changed the Lease, it is read and written again."""


class LeaseStore(Protocol):
    """One Lease at the API server; every call raises `ApiError`."""

    async def get(self) -> Lease:
        """Return it. Raises NotFoundError."""

    async def create(self, lease: Lease) -> Lease:
        """Create it. Raises ConflictError when it exists."""

    async def replace(self, lease: Lease) -> Lease:
        """Replace it. Raises ConflictError when it has another resourceVersion by now."""


class Outlook(Protocol):
    """What this node knows of its interface."""

    def reach(self) -> Reach:
        """Return whether other stations answer now."""

    def recall(self, said: Reach) -> None:
        """Take what the process before this one said."""


class Publisher:
    """The heartbeat of one node."""

    def __init__(  # noqa: PLR0913 - a composition of ports and plain values
        self,
        store: LeaseStore,
        *,
        node: str,
        namespace: str,
        identity: str,
        heartbeat_s: float,
        lease_s: float = 0.0,
        unread: Callable[[], bool] = lambda: False,
        clock: Clock,
        rng: Random,
        metrics: Metrics,
    ) -> None:
        """`identity` is that of the place, not of the process (see `extip.net.identity`).

        `lease_s` is how long after a renewal this node may have its IPs up (0: two heartbeats).
        `unread` says whether this node does not hear of its claims.
        So a controller that is started again goes on at once, and only one in another place has to
        wait and see whether its name is in use.
        """
        self._store = store
        self._node = node
        self._namespace = namespace
        self._identity = identity
        self._heartbeat_s = heartbeat_s
        self._lease_s = lease_s
        self._unread = unread
        self._clock = clock
        self._rng = rng
        self._metrics = metrics
        self._log = log.get_logger("heartbeat").bind(node=node)
        self._retry = Backoff(initial_s=heartbeat_s / 4, cap_s=heartbeat_s)
        self._bound_s = _BOUND * heartbeat_s
        self._leaving = ""
        self._outlook: Outlook | None = None
        self._recalled = False
        self._poked = asyncio.Event()
        self._lease: Lease | None = None
        self._unsettled: Lease | None = None
        """A heartbeat that may have been carried out, or still be."""
        self._rival: tuple[str, float] | None = None
        self._failures = 0
        self.confirmed_at: float | None = None
        """When the last renewal that the API server took was sent, on the clock's monotonic
        timeline; None before the first one."""

    def age_s(self) -> float | None:
        """Return how long ago that was, in seconds."""
        return None if self.confirmed_at is None else self._clock.monotonic() - self.confirmed_at

    def look_out(self, outlook: Outlook) -> None:
        """Say with each heartbeat whether other stations answer; to be called before `run`."""
        self._outlook = outlook

    def hurry(self) -> None:
        """Send a heartbeat at once: it has news."""
        self._poked.set()

    def leave(self, reason: str) -> None:
        """Say with a heartbeat at once, and with all that follow, that this node is to be left."""
        self._leaving = reason
        self._poked.set()

    async def run(self) -> None:
        """Renew until cancelled. Raises AlreadyRunningError when the node's name is taken."""
        while True:
            self._poked.clear()
            started = self._clock.monotonic()
            delay_s = await self._attempt(started)
            least_s = self._heartbeat_s / 10  # however long the attempt took
            delay_s = max(least_s, started + delay_s - self._clock.monotonic())
            try:
                async with asyncio.timeout(delay_s):
                    await self._poked.wait()
            except TimeoutError:
                pass  # the next heartbeat is due

    async def release(self) -> None:
        """Give the Lease up, so that nobody waits for this node; after `run` was cancelled.

        Bounded; a failure is logged, and the node is found dead a little later.
        """
        try:
            async with asyncio.timeout(_RELEASE_S):
                await self._give_up()
        except (ApiError, TimeoutError) as error:
            self._log.warning("heartbeat_release_failed", error=str(error) or "timed out")

    async def _attempt(self, started: float) -> float:
        """Renew once; return the seconds from `started` to the next attempt."""
        try:
            wait_s = await self._renew(started)
        except TimeoutError:
            error = ApiUnavailableError(f"no answer within {self._bound_s:.2f} s")
            self._bound_s = min(2 * self._bound_s, _MAX_BOUND_S)
            self._lease = None  # it may have been written
            return self._failed(error)
        except ApiError as error:
            self._lease = None
            return self._failed(error)
        if wait_s is not None:
            return wait_s
        self._metrics.heartbeat_duration.observe(self._clock.monotonic() - started)
        self._succeeded(started)
        return self._heartbeat_s * (1 + JITTER * (2 * self._rng.random() - 1))

    async def _renew(self, started: float) -> float | None:
        """Write the Lease, reading it first where needed.

        Returns None when it is renewed, or else the seconds after which to look again whether
        whoever holds it is alive.
        """
        refused: ApiError | None = None
        for _ in range(_ATTEMPTS):
            if self._lease is None:
                self._lease = await self._read()
            lease = self._lease
            self._recall(lease)
            if lease.holder not in ("", self._identity):
                wait_s = self._wait_for_rival(lease, started)
                if wait_s is not None:
                    self._lease = None
                    return wait_s
            try:
                self._lease = await self._write(lease)
            except (ConflictError, NotFoundError) as error:
                self._lease = None
                refused = error  # changed or deleted meanwhile, or its namespace does not exist
            else:
                self._rival = None
                return None
        raise ApiUnavailableError(f"the Lease cannot be written: {refused}")

    def _recall(self, lease: Lease) -> None:
        """Go on from what was said before this process: no restart, no boot mends a network."""
        if not self._recalled and self._outlook is not None:
            self._recalled = True
            self._outlook.recall(reach_of(lease, at_any_time=True))

    async def _read(self) -> Lease:
        try:
            async with asyncio.timeout(self._bound_s):
                return await self._store.get()
        except NotFoundError:
            return new_lease(self._node, self._namespace)

    async def _write(self, lease: Lease) -> Lease:
        body = renewed(
            lease,
            node=self._node,
            identity=self._identity,
            terms=Terms(
                heartbeat_s=self._heartbeat_s,
                lease_s=self._lease_s,
                leaving=self._leaving,
                unread=self._unread(),
                reach=Reach.UNSURE if self._outlook is None else self._outlook.reach(),
            ),
            now=self._clock.utcnow(),
        )
        asked_at = self._clock.monotonic()
        async with asyncio.timeout(self._bound_s):
            written = await self._send(body)
        took_s = self._clock.monotonic() - asked_at
        self._bound_s = min(max(_BOUND * self._heartbeat_s, 2 * took_s), _MAX_BOUND_S)
        return written

    def _wait_for_rival(self, lease: Lease, now: float) -> float | None:
        """Return after how long to look again, or None when the rival has fallen silent.

        Raises AlreadyRunningError when it was seen to renew the Lease.
        """
        beat = beat_of(lease)
        if self._rival is None:
            self._rival = (beat.token, now)
            self._log.warning(
                "heartbeat_lease_held",
                holder=lease.holder,
                reason="waiting to see whether another controller uses this node's name",
            )
        token, seen_at = self._rival
        if token != beat.token:
            raise AlreadyRunningError(
                f"node name {self._node!r} is in use by another live controller ({lease.holder}); "
                "give this one another --hostname"
            )
        silent_s = max((HEARTBEATS + JITTER * HEARTBEATS) * beat.heartbeat_s, beat.lease_s)
        left_s = seen_at + silent_s - now
        if left_s <= 0:
            return None
        return min(left_s, beat.heartbeat_s / 2)

    async def _send(self, body: Lease) -> Lease:
        """Write the Lease; remember it for as long as nobody knows whether it was written."""
        exists = bool(body.metadata.resource_version)
        self._unsettled = body
        try:
            written = await (self._store.replace(body) if exists else self._store.create(body))
        except ApiUnavailableError:
            raise
        except ApiError:
            self._unsettled = None
            raise
        self._unsettled = None
        return written

    async def _give_up(self) -> None:
        """Write that nobody holds the Lease, if this node does, or may.

        A heartbeat that was cut short may still be on its way. It has the version that the Lease
        had: another write with that version comes before it, or shows that it was carried out.
        """
        lease = self._unsettled or self._lease
        self._lease = None
        for _ in range(_ATTEMPTS):
            lease = lease or await self._read()
            if lease.holder != self._identity:
                return
            try:
                await self._send(given_up(lease, now=self._clock.utcnow()))
            except (ConflictError, NotFoundError):
                lease = None
                continue
            self._log.info("heartbeat_released")
            return

    def _succeeded(self, started: float) -> None:
        if self.confirmed_at is None:
            self._log.info("heartbeat_started", period_s=self._heartbeat_s)
        elif self._failures:
            self._log.info(
                "heartbeat_recovered",
                attempt=self._failures,
                after_s=round(started - self.confirmed_at, 1),
            )
        self._failures = 0
        self.confirmed_at = started
        self._metrics.heartbeats.labels(result="success").inc()

    def _failed(self, error: ApiError) -> float:
        self._failures += 1
        self._metrics.heartbeats.labels(result="failure").inc()
        report = self._log.warning if self._failures == 1 else self._log.debug
        report("heartbeat_failed", error=str(error), attempt=self._failures)
        delay_s = self._retry.delay_s(self._failures, self._rng.random())
        if isinstance(error, ApiUnavailableError) and error.retry_after_s is not None:
            delay_s = max(delay_s, min(error.retry_after_s, _MAX_RETRY_AFTER * self._heartbeat_s))
        return delay_s
