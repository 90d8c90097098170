"""Runs components while this process holds a lease, and only then.

::

    LeaderElector.run
    ├── acquire   try, wait, try again
    └── keep      renew; beside it, while the lease is held:
        └── ...   the leading components

Guarantees: leadership ends at the renew deadline at the latest, also when the API server hangs. At
its end the leading components are cancelled *and awaited*; after that the lease is released. No
write outlives its cancellation by more than lease duration minus renew deadline. So two processes
never write as leaders at the same time.

Not guaranteed: that a write which was on its way at the end of leadership is not made. It must
carry a precondition (a resourceVersion) where it could harm. A component may ask
`LeaderElector.leading` right before a write: it is False at once in a process that was frozen and
thawed.

A candidate that should be the only one (`sole`) takes part like all others, so two of them never
act at the same time. But when another candidate lives, it objects: in its own log, and by a note on
the lease, which the leader repeats in its log.

The task `run` owns it. It ends only by cancellation, or by an error of a leading component.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf
from random import Random

from extip import log
from extip.api.coordination_v1 import Lease
from extip.api.meta_v1 import FullObjectMeta
from extip.clock import Clock
from extip.election.lease import LeaseStore, LeaseWriter
from extip.election.policy import (
    ObservedRecord,
    Step,
    held_by,
    next_step,
    observe,
    released,
    rival_of,
    with_rival,
)
from extip.errors import (
    ApiError,
    ConfigurationError,
    ConflictError,
    NotFoundError,
)
from extip.metrics import Metrics
from extip.supervisor import Component, run_beside

_RELEASE_S = 1.0
"""Seconds for the release of the lease."""

_OBJECT_S = 60.0
"""Seconds between two objections of a candidate that should be the only one."""

_DEFER = 2.5
"""Retry periods for which such a candidate leaves another holder's lease to others. A standby tries
again within that time."""

JITTER = 1.2
"""The wait between two attempts to acquire is longer by up to this factor, at random. The renew
deadline must leave room for such a late retry."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """The timers of an election, in seconds. The defaults are those of Kubernetes components."""

    lease_duration_s: float = 15.0
    """Other candidates may take the lease after so long without a change."""
    renew_deadline_s: float = 10.0
    """A leader without a renewal for so long stops leading."""
    retry_period_s: float = 2.0
    """The time between two attempts."""

    def __post_init__(self) -> None:
        """Raise ConfigurationError for values with which two could lead at once, or none."""
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


class LeaderElector:
    """One candidate."""

    def __init__(  # noqa: PLR0913 - a composition of parts and plain values
        self,
        store: LeaseStore,
        *,
        name: str,
        namespace: str,
        identity: str,
        timing: Timing,
        clock: Clock,
        rng: Random,
        metrics: Metrics,
        sole: bool = False,
        on_recovery: Callable[[], None] = lambda: None,
        on_answer: Callable[[float], None] = lambda _took_s: None,
    ) -> None:
        """`identity` must be this process's alone, and never be used again by a later one.

        `sole`: there should be no other candidate, and standbys of others come first.
        `on_answer` is called with the seconds that an answer of the API server took, `on_recovery`
        at its first answer after it gave none.
        """
        self._store = store
        self._writer = LeaseWriter(store)
        self._name = name
        self._namespace = namespace
        self._identity = identity
        self._timing = timing
        self._clock = clock
        self._rng = rng
        self._metrics = metrics
        self._sole = sole
        self._on_recovery = on_recovery
        self._on_answer = on_answer
        self._log = log.get_logger("elector").bind(lease=f"{namespace}/{name}")
        self._seen: ObservedRecord | None = None
        self._renewed_at: float | None = None
        self._failing = False
        self._rival = ""
        """The last note of a rival on the lease."""
        self._objected_at: float | None = None
        """The time of this candidate's last objection; None without another candidate."""
        self._unsaid = False
        """The lease does not have the objection yet."""

    @property
    def leading(self) -> bool:
        """Whether the lease is held and its renew deadline has not passed."""
        return self._renewed_at is not None and self._clock.monotonic() < self._deadline()

    @property
    def holder(self) -> str:
        """The holder of the lease at the last read, alive or dead; empty for none."""
        return "" if self._seen is None else self._seen.holder

    async def run(self, leading: Callable[[], Sequence[Component]] = tuple) -> None:
        """Acquire the lease, run the components of `leading` until it is lost, and begin again.

        `leading` is called at each begin of leadership. After a cancellation, or a failure of a
        leading component, the lease is released; also when it is not certain that it was taken.
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
                # Not after the end of a silent holder's lease, and not all candidates at once.
                free_at = self._seen.expires_at + self._patience_s()
                left_s = max(0.0, free_at - self._clock.monotonic())
                delay_s = min(delay_s, left_s + period_s * (0.1 + 0.2 * self._rng.random()))
            await self._clock.sleep(delay_s)

    async def _keep(self) -> str:
        """Renew the lease until it is lost; return the reason."""
        timing = self._timing
        while True:
            left_s = self._deadline() - self._clock.monotonic()
            await self._clock.sleep(min(timing.retry_period_s, left_s))
            started = self._clock.monotonic()
            left_s = self._deadline() - started
            if left_s <= 0:
                return f"not renewed for {timing.renew_deadline_s:g} s"
            # A call that hangs leaves time for another call on a new connection.
            bound_s = min(left_s, max(timing.retry_period_s, timing.renew_deadline_s / 3))
            if await self._attempt(bound_s=bound_s):
                if not self.leading:
                    return "the renewal came too late"
                self._renewed_at = started
            elif self.holder != self._identity:
                return f"taken by {self.holder}" if self.holder else "given away"

    async def _attempt(self, *, bound_s: float) -> bool:
        """Take or renew the lease once, within `bound_s`; return whether it is ours now."""
        failure, began = "", self._clock.monotonic()
        try:
            async with asyncio.timeout(bound_s):
                ours = await self._write()
        except TimeoutError:
            ours, failure = False, f"no answer within {bound_s:.1f} s"
        except ApiError as error:
            ours, failure = False, str(error)
        if not failure:
            self._on_answer(self._clock.monotonic() - began)
        result = "failure" if failure else "held" if ours else "waiting"
        self._metrics.lease_renewals.labels(result=result).inc()
        if bool(failure) != self._failing:
            self._failing = bool(failure)
            if failure:
                self._log.warning("lease_unreachable", error=failure)
            else:
                self._log.info("lease_reachable")
                self._on_recovery()
        return ours

    async def _write(self) -> bool:
        """Renew the lease as last seen; when that is out of date, read it and decide again."""
        if self._seen is not None and self.holder == self._identity:
            try:
                await self._put(self._seen.lease)
            except (ConflictError, NotFoundError):
                pass  # it was changed or deleted: read it
            else:
                return True
        if not await self._read():
            return False
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
            return False  # another candidate was quicker; the next read tells its name
        return True

    async def _read(self) -> bool:
        """Read the lease; return False when it is gone, and its holder may lead yet.

        That one makes it anew.
        """
        try:
            self._see(await self._store.get())
        except NotFoundError:
            if self._seen is not None and self._next_step(self._seen) is Step.WAIT:
                return False
            self._seen = None
        return True

    def _next_step(self, seen: ObservedRecord) -> Step:
        now = self._clock.monotonic()
        return next_step(seen, self._identity, now, patience_s=self._patience_s())

    def _patience_s(self) -> float:
        return 0.0 if self._objected_at is None else _DEFER * self._timing.retry_period_s

    async def _object(self, seen: ObservedRecord) -> None:
        """Report another active candidate, where there should be none: here and on the lease."""
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
            lease = with_rival(seen.lease, self._identity, now=self._clock.utcnow())
            self._see(await self._store.replace(lease))
            self._unsaid = False

    async def _put(self, lease: Lease) -> None:
        duration_s, now = self._timing.lease_duration_s, self._clock.utcnow()
        self._see(await self._writer.write(held_by(lease, self._identity, duration_s, now=now)))

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
        """Return the end of leadership without a renewal; it counts from before the last call."""
        if self._renewed_at is None:
            return -inf
        return self._renewed_at + self._timing.renew_deadline_s

    async def _release(self) -> None:
        """Release the lease, within a bound; a lease that is not released expires by itself."""
        try:
            async with asyncio.timeout(_RELEASE_S):
                await self._give_back()
        except (ApiError, TimeoutError) as error:
            self._log.warning("lease_release_failed", error=str(error) or "timed out")

    async def _give_back(self) -> None:
        """Write an empty holder, if this candidate holds the lease, or may hold it."""
        seen = self._seen
        known = None if seen is None or self.holder != self._identity else seen.lease
        if known is None and self._writer.unsettled is None:
            return
        lease, written = await self._writer.give_up(
            known, self._identity, lambda lease: released(lease, now=self._clock.utcnow())
        )
        self._see(lease)
        if written:
            self._log.info("lease_released")
