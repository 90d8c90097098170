"""The heartbeat: renews the Lease of this node.

Guarantees: the first renewal goes out at once. Each renewal is bounded in time, so that a
connection that hangs costs one heartbeat. After a failure the next attempt comes within a
heartbeat. Of two live controllers with one node name one stops: it finds the other's heartbeats in
its Lease, and raises `AlreadyRunningError`.

Not guaranteed: that a scheduler sees a heartbeat. `confirmed_at` is the time of the last one that
the API server took.

The task `run` owns it; `release` is called after that has ended.
"""

import asyncio
from collections.abc import Callable
from http import HTTPStatus
from random import Random

from extip import log
from extip.api.coordination_v1 import Lease
from extip.backoff import Backoff
from extip.clock import Clock
from extip.election.lease import LeaseStore, LeaseWriter
from extip.errors import (
    AlreadyRunningError,
    ApiError,
    ApiUnavailableError,
    ConflictError,
    NotFoundError,
)
from extip.liveness.lease_content import (
    LeaseContent,
    beat_of,
    given_up,
    new_lease,
    reaches_of,
    renewed,
)
from extip.liveness.policy import HEARTBEATS
from extip.metrics import Metrics
from extip.trigger import Trigger
from extip.uplink.isolation_watch import IsolationWatch
from extip.uplink.policy.isolation import Reachability

JITTER = 0.1
"""Part of a heartbeat by which the next one comes earlier or later, so that nodes differ."""

_BOUND = 0.9
"""Part of a heartbeat that one request may take, until one times out."""

_MAX_BOUND_S = 5.0
"""The longest bound on a request, in seconds. When a request hangs on a cut connection, this is the
delay before the next request finds the connection open again."""

_REFUSED = 0.1
"""A refused renewal (429) is repeated after this part of a heartbeat..."""
_REFUSALS = 20
"""... so often in a row, whatever `Retry-After` says. A server that refuses some of the calls does
no work for them. A node that is silent for too long loses its IPs, which costs it more."""

_MAX_RETRY_AFTER = 0.5
"""The longest `Retry-After` that is respected later, as a part of a heartbeat. API servers always
say one second, and a proxy may say anything."""

_RELEASE_S = 1.0
"""Seconds for the release of the Lease."""

_ATTEMPTS = 4
"""Writes of one renewal: after a conflict the Lease is read and written again."""


class Publisher:
    """The heartbeat of one node."""

    def __init__(  # noqa: PLR0913 - a composition of parts and plain values
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
        """`identity` is that of the network namespace, not of the process (`extip.net.identity`).

        So a restarted controller goes on at once. Only a controller elsewhere has to wait until it
        is certain that its name is not in use. `lease_s` is the time after a renewal for which this
        node may hold its IPs, in seconds; 0 stands for two heartbeats. `unread` tells whether this
        node cannot read its claims.
        """
        self._store = store
        self._writer = LeaseWriter(store)
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
        self._uplink: IsolationWatch | None = None
        self._restored = False
        self._triggered = Trigger()
        self._lease: Lease | None = None
        self._rival: tuple[str, float] | None = None
        self._failures = 0
        self.confirmed_at: float | None = None
        """The time at which the last successful renewal was sent, on the clock's monotonic
        timeline; None before the first one."""

    def age_s(self) -> float | None:
        """Return the age of `confirmed_at` in seconds; None before the first renewal."""
        return None if self.confirmed_at is None else self._clock.monotonic() - self.confirmed_at

    def problem(self) -> str:
        """Return for how long no heartbeat was taken; empty when that is not for long.

        A readiness check.
        """
        age_s = self.age_s()
        if age_s is None:
            return "no heartbeat yet"
        late = age_s > 3 * self._heartbeat_s + 1.0
        return f"the last heartbeat was {age_s:.0f} s ago" if late else ""

    def report_reachability(self, uplink: IsolationWatch) -> None:
        """Report the reachability with each heartbeat; call it before `run`."""
        self._uplink = uplink

    def trigger(self) -> None:
        """Send a heartbeat at once, since its content has changed."""
        self._triggered.set()

    def leave(self, reason: str) -> None:
        """Report at once, and with all later heartbeats, that this node is about to stop."""
        self._leaving = reason
        self._triggered.set()

    async def run(self) -> None:
        """Renew until cancelled. Raises AlreadyRunningError when the node's name is taken."""
        while True:
            self._triggered.clear()
            started = self._clock.monotonic()
            delay_s = await self._attempt(started)
            least_s = self._heartbeat_s / 10  # also after an attempt that took long
            now = self._clock.monotonic()
            delay_s = max(least_s, started + delay_s - now)
            if self._uplink is not None:
                self._uplink.expect_heartbeat(now + delay_s)
            await self._triggered.wait_at_most(delay_s)

    async def release(self) -> None:
        """Give the Lease up, so that the scheduler need not wait; after `run` was cancelled.

        It takes at most `_RELEASE_S`. A failure is logged; the scheduler then finds the node dead
        a little later.
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
            if not _is_refused(error):
                self._lease = None
            return self._failed(error)
        if wait_s is not None:
            return wait_s
        self._metrics.heartbeat_duration.observe(self._clock.monotonic() - started)
        self._succeeded(started)
        return self._heartbeat_s * (1 + JITTER * (2 * self._rng.random() - 1))

    async def _renew(self, started: float) -> float | None:
        """Write the Lease; read it first where it is not known.

        Return None after a renewal. Else another controller holds it. Return the seconds until the
        next look whether that one lives.
        """
        refused: ApiError | None = None
        for _ in range(_ATTEMPTS):
            if self._lease is None:
                self._lease = await self._read()
            lease = self._lease
            self._restore(lease)
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

    def _restore(self, lease: Lease) -> None:
        """Begin with the reported reachability: a restart or a boot does not mend a network."""
        if not self._restored and self._uplink is not None:
            self._restored = True
            self._uplink.restore(reaches_of(lease, at_any_time=True))

    async def _read(self) -> Lease:
        try:
            async with asyncio.timeout(self._bound_s):
                return await self._store.get()
        except NotFoundError:
            return new_lease(self._node, self._namespace)

    async def _write(self, lease: Lease) -> Lease:
        uplink = self._uplink
        body = renewed(
            lease,
            node=self._node,
            identity=self._identity,
            terms=LeaseContent(
                heartbeat_s=self._heartbeat_s,
                lease_s=self._lease_s,
                leaving=self._leaving,
                unread=self._unread(),
                reachability=Reachability.UNSURE if uplink is None else uplink.reachability(),
                links={} if uplink is None else uplink.reports(),
            ),
            now=self._clock.utcnow(),
        )
        asked_at = self._clock.monotonic()
        async with asyncio.timeout(self._bound_s):
            written = await self._writer.write(body)
        took_s = self._clock.monotonic() - asked_at
        self._bound_s = min(max(_BOUND * self._heartbeat_s, 2 * took_s), _MAX_BOUND_S)
        return written

    def _wait_for_rival(self, lease: Lease, now: float) -> float | None:
        """Return the seconds until the next look; None when the other controller is silent.

        Raises AlreadyRunningError when it has renewed the Lease.
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

    async def _give_up(self) -> None:
        """Write an empty holder, if this node holds the Lease, or may hold it."""
        known, self._lease = self._lease, None
        try:
            _, written = await self._writer.give_up(
                known, self._identity, lambda lease: given_up(lease, now=self._clock.utcnow())
            )
        except NotFoundError:
            return
        if written:
            self._log.info("heartbeat_released")

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
        if _is_refused(error) and self._failures <= _REFUSALS:
            return _REFUSED * self._heartbeat_s
        delay_s = self._retry.delay_s(self._failures, self._rng.random())
        if isinstance(error, ApiUnavailableError) and error.retry_after_s is not None:
            delay_s = max(delay_s, min(error.retry_after_s, _MAX_RETRY_AFTER * self._heartbeat_s))
        return delay_s


def _is_refused(error: ApiError) -> bool:
    """Whether the server did not carry it out, since it has too much to do."""
    return error.status == HTTPStatus.TOO_MANY_REQUESTS
