"""Runs components while this process holds a lease, and only then.

::

    LeaderElector.run
    ├── acquire   try, wait, try again
    └── keep      renew; beside it, while the lease is held:
        └── ...   the leading components

Guarantees: leadership ends at the renew deadline at the latest, also when the API server hangs;
when it ends, the leading components are cancelled *and awaited* before anything else happens; the
lease is given back only after that. So, as long as no write of theirs outlives its cancellation by
more than lease duration less renew deadline, two processes never write as leaders at once.

Not guaranteed: that a write which was on its way when leadership ended is not carried out. It must
carry a precondition (a resourceVersion) where that could harm. `LeaderElector.leading` may be
asked right before a write: after a process was frozen and thawed it is false at once.

A candidate that should be the only one (`sole`) takes part as all others do, so two such ones never
act at once either. But when another one is seen to be alive it objects: in its own log, and by a
word on the lease that whoever leads repeats in its own.

One task, `run`, owns it; it ends only by cancellation or by an error of a leading component.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf
from random import Random
from typing import Protocol

from extip import log
from extip.api.coordination_v1 import Lease
from extip.api.meta_v1 import FullObjectMeta
from extip.clock import Clock
from extip.errors import (
    ApiError,
    ApiUnavailableError,
    ConfigurationError,
    ConflictError,
    NotFoundError,
)
from extip.metrics import Metrics
from extip.plan.election import (
    Observation,
    Step,
    held,
    next_step,
    observe,
    released,
    rival_of,
    wanted,
)
from extip.supervisor import Component, run_beside

_RELEASE_S = 1.0
"""Bound on giving the lease back."""

_OBJECT_S = 60.0
"""How often a candidate that should be the only one says that it is not."""

_DEFER = 2.5
"""Retry periods for which such a candidate leaves a lease that was another's to others: more than a
standby takes to try again."""

JITTER = 1.2
"""The wait between two tries to acquire is stretched by up to this factor more, at random; the
renew deadline must leave room for a retry that late."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """How long is what; seconds. The defaults are those of all Kubernetes components."""

    lease_duration_s: float = 15.0
    """Others may take the lease when they have seen no change for so long."""
    renew_deadline_s: float = 10.0
    """A leader that could not renew for so long stops leading."""
    retry_period_s: float = 2.0
    """Between two tries."""

    def __post_init__(self) -> None:
        """Raise ConfigurationError for values under which two could lead at once, or nobody."""
        if self.retry_period_s <= 0:
            raise ConfigurationError("--leader-elect-retry-period must be longer than nothing")
        if self.renew_deadline_s <= JITTER * self.retry_period_s:
            raise ConfigurationError(
                f"--leader-elect-renew-deadline must be longer than {JITTER} times "
                "--leader-elect-retry-period"
            )
        if self.lease_duration_s <= self.renew_deadline_s:
            raise ConfigurationError(
                "--leader-elect-lease-duration must be longer than --leader-elect-renew-deadline"
            )


class Lock(Protocol):
    """One Lease at the API server; every call raises `ApiError`."""

    async def get(self) -> Lease:
        """Return it. Raises NotFoundError."""

    async def create(self, lease: Lease) -> Lease:
        """Create it. Raises ConflictError when it exists."""

    async def replace(self, lease: Lease) -> Lease:
        """Replace it. Raises ConflictError when it has another resourceVersion by now."""


class LeaderElector:
    """One candidate."""

    def __init__(  # noqa: PLR0913 - a composition of ports and plain values
        self,
        lock: Lock,
        *,
        name: str,
        namespace: str,
        identity: str,
        timing: Timing,
        clock: Clock,
        rng: Random,
        metrics: Metrics,
        sole: bool = False,
        reached: Callable[[], None] = lambda: None,
        answered: Callable[[], None] = lambda: None,
    ) -> None:
        """`identity` must be this process's alone, and never be used again by a later one.

        `sole`: there should be no other candidate, and standbys of others come first. `answered` is
        called when the API server answers, `reached` when it does so again after it did not.
        """
        self._lock = lock
        self._name = name
        self._namespace = namespace
        self._identity = identity
        self._timing = timing
        self._clock = clock
        self._rng = rng
        self._metrics = metrics
        self._sole = sole
        self._reached = reached
        self._answered = answered
        self._log = log.get_logger("elector").bind(lease=f"{namespace}/{name}")
        self._seen: Observation | None = None
        self._unsettled: Lease | None = None
        """A write of the lease that may have been carried out, or still be."""
        self._renewed_at: float | None = None
        self._failing = False
        self._rival = ""
        """What the lease said last of whoever wanted it, too."""
        self._objected_at: float | None = None
        """When this candidate last said that there is another; None if there is none."""
        self._unsaid = False
        """The lease does not have it yet."""

    @property
    def leading(self) -> bool:
        """Whether the lease is held and its renew deadline has not passed."""
        return self._renewed_at is not None and self._clock.monotonic() < self._deadline()

    @property
    def holder(self) -> str:
        """Who holds the lease as far as known, empty for nobody; it may be dead."""
        return "" if self._seen is None else self._seen.holder

    async def run(self, leading: Callable[[], Sequence[Component]] = tuple) -> None:
        """Acquire, run what `leading` returns until the lease is lost, and begin again.

        `leading` is called each time leadership begins. When cancelled, or when a leading
        component fails, the lease is given back; also when it is not known yet that it was taken.
        """
        while True:
            lost = ""
            try:
                await self._acquire()
                lost = await run_beside(leading(), self._keep)
            finally:
                self._renewed_at = None
                self._metrics.leading.labels(self._name).set(0)
                if not lost:
                    await self._release()
            self._log.warning("leadership_lost", reason=lost)

    async def _acquire(self) -> None:
        """Return once the lease is held."""
        period_s = self._timing.retry_period_s
        while True:
            started = self._clock.monotonic()
            if await self._attempt(bound_s=self._timing.renew_deadline_s):
                self._renewed_at, self._objected_at = started, None
                self._metrics.leading.labels(self._name).set(1)
                self._log.info("leadership_acquired", holder=self._identity)
                return
            delay_s = period_s * (1 + JITTER * self._rng.random())
            if self._seen is not None and self._seen.holder:
                # No later than when a silent holder's lease runs out, but not all at once.
                free_at = self._seen.expires_at + self._patience_s()
                left_s = max(0.0, free_at - self._clock.monotonic())
                delay_s = min(delay_s, left_s + period_s * (0.1 + 0.2 * self._rng.random()))
            await self._clock.sleep(delay_s)

    async def _keep(self) -> str:
        """Renew the lease until it is lost; return why."""
        timing = self._timing
        while True:
            left_s = self._deadline() - self._clock.monotonic()
            await self._clock.sleep(min(timing.retry_period_s, left_s))
            started = self._clock.monotonic()
            left_s = self._deadline() - started
            if left_s <= 0:
                return f"not renewed for {timing.renew_deadline_s:g} s"
            # A call that hangs leaves time for another one, on a new connection.
            bound_s = min(left_s, max(timing.retry_period_s, timing.renew_deadline_s / 3))
            if await self._attempt(bound_s=bound_s):
                if not self.leading:
                    return "the renewal came too late"
                self._renewed_at = started
            elif self.holder != self._identity:
                return f"taken by {self.holder}" if self.holder else "given away"

    async def _attempt(self, *, bound_s: float) -> bool:
        """Try to take or renew the lease once, within a bound; return whether it is ours now."""
        failure = ""
        try:
            async with asyncio.timeout(bound_s):
                ours = await self._write()
        except TimeoutError:
            ours, failure = False, f"no answer within {bound_s:.1f} s"
        except ApiError as error:
            ours, failure = False, str(error)
        if not failure:
            self._answered()
        result = "failure" if failure else "held" if ours else "waiting"
        self._metrics.lease_renewals.labels(result=result).inc()
        if bool(failure) != self._failing:
            self._failing = bool(failure)
            if failure:
                self._log.warning("lease_unreachable", error=failure)
            else:
                self._log.info("lease_reachable")
                self._reached()
        return ours

    async def _write(self) -> bool:
        """Write what was last seen, renewed; where that is out of date, read and decide again."""
        if self._seen is not None and self.holder == self._identity:
            try:
                await self._put(self._seen.lease)
            except (ConflictError, NotFoundError):
                pass  # it was changed or deleted: look
            else:
                return True
        try:
            self._see(await self._lock.get())
        except NotFoundError:
            self._seen = None
        try:
            if self._seen is None:
                metadata = FullObjectMeta(name=self._name, namespace=self._namespace)
                await self._put(Lease(metadata=metadata))
            elif self._next_step(self._seen) is Step.WAIT:
                await self._object(self._seen)
                return False
            else:
                await self._put(self._seen.lease)
        except ConflictError:
            return False  # somebody else was quicker: who, the next look will tell
        return True

    def _next_step(self, seen: Observation) -> Step:
        now = self._clock.monotonic()
        return next_step(seen, self._identity, now, patience_s=self._patience_s())

    def _patience_s(self) -> float:
        return 0.0 if self._objected_at is None else _DEFER * self._timing.retry_period_s

    async def _object(self, seen: Observation) -> None:
        """Where there should be no other, say that one is active: here, and on the lease."""
        now = self._clock.monotonic()
        due = self._objected_at is None or now >= self._objected_at + _OBJECT_S
        if self._sole and due and seen.renewed:
            self._objected_at, self._unsaid = now, True
            self._log.error(
                "another_scheduler_active",
                holder=seen.holder,
                reason="without --leader-elect there may be only one: this one decides nothing "
                "until that one has ended; stop one of them, or run all with --leader-elect",
            )
        if self._unsaid:
            lease = wanted(seen.lease, self._identity, now=self._clock.utcnow())
            self._see(await self._lock.replace(lease))
            self._unsaid = False

    async def _put(self, lease: Lease) -> None:
        self._see(
            await self._send(
                held(lease, self._identity, self._timing.lease_duration_s, now=self._clock.utcnow())
            )
        )

    async def _send(self, body: Lease) -> Lease:
        """Write the lease; remember it for as long as nobody knows whether it was written."""
        exists = bool(body.metadata.resource_version)
        self._unsettled = body
        try:
            written = await (self._lock.replace(body) if exists else self._lock.create(body))
        except ApiUnavailableError:
            raise
        except ApiError:
            self._unsettled = None
            raise
        self._unsettled = None
        return written

    def _see(self, lease: Lease) -> None:
        before = self.holder
        self._seen = observe(self._seen, lease, self._clock.monotonic())
        if self.holder not in (before, self._identity):
            self._log.info("leader_changed", holder=self.holder)
        rival, self._rival = self._rival, rival_of(lease)
        if self._rival not in ("", rival) and self.leading:
            self._log.warning(
                "another_scheduler_refused",
                holder=self._rival.partition(" ")[0],
                reason="it was started without --leader-elect and waits until this one has ended",
            )

    def _deadline(self) -> float:
        """Return when leadership ends unless it is renewed; counted from before the renewal."""
        if self._renewed_at is None:
            return -inf
        return self._renewed_at + self._timing.renew_deadline_s

    async def _release(self) -> None:
        """Give the lease back, within a bound; what is not given back runs out by itself."""
        try:
            async with asyncio.timeout(_RELEASE_S):
                await self._give_back()
        except (ApiError, TimeoutError) as error:
            self._log.warning("lease_release_failed", error=str(error) or "timed out")

    async def _give_back(self) -> None:
        """Write that nobody holds the lease, if this candidate does, or may.

        A write that was cut short may still be on its way. It has the version that the lease had:
        another write with that version comes before it, or shows that it was carried out.
        """
        lease = self._unsettled
        if lease is None and self._seen is not None and self.holder == self._identity:
            lease = self._seen.lease
        while lease is not None:
            try:
                self._see(await self._send(released(lease, now=self._clock.utcnow())))
            except (ConflictError, NotFoundError):  # perhaps by a write that was cut short
                self._see(lease := await self._lock.get())
                lease = lease if lease.holder == self._identity else None
            else:
                self._log.info("lease_released")
                return
