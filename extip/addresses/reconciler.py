"""Keeps exactly the wanted addresses on the selected interfaces: observe, plan, apply.

It has one key, all of them. A service may have changed, an address may have been removed by hand,
the link may have gone down, or netlink events may be lost: the answer is one pass over everything.
A burst of triggers causes one pass.

Guarantees: no address is added or deleted before every input is known. While inputs are lost (the
API server is away), the last admission stands and lifetimes are still refreshed. It does not
guarantee when another program's change is undone: see `policy.readd_backoff`.

The owner task is `AddressReconciler.run`; the other methods may be called from any task of the same
loop. A pass may be cancelled at any point: the next one starts from what the kernel says.
"""

import contextlib
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, replace

from extip import log
from extip.addresses.applier import Applied, ChangeApplier
from extip.addresses.apply_log import ApplyLog
from extip.addresses.apply_results import is_done, without
from extip.addresses.links_in_use import LinkParts, LinksInUse
from extip.addresses.local_addresses import LocalAddresses
from extip.addresses.losses import Losses
from extip.addresses.observation import (
    AddressObserver,
    AddressOptions,
    NodeObservation,
    Observation,
)
from extip.addresses.policy.changes import removals
from extip.addresses.policy.move_pace import MovePace
from extip.addresses.ports import AddressTable, Fencing, LinkTable
from extip.addresses.secondaries import SecondariesGuard
from extip.clock import Clock
from extip.errors import LinkError, LinkNotFoundError
from extip.guard.policy.admission import Admission
from extip.metrics import Metrics
from extip.net.interfaces import IPAddress, Link, Operation
from extip.net.link_monitor import Notice, NoticeKind
from extip.trigger import Trigger

_RETRY_S = 0.25
"""Seconds until the first retry of a failed pass; doubled each time, up to the resync interval."""

_REST, _LONGEST_REST = 3.0, 12.0
"""A pass is followed by a rest of this many times its duration. The factor doubles while passes
follow one another at once. One pass answers a whole storm of changes; one pass per change would
take the processor from the programs that make them."""

_MAX_REST_S = 0.1

_NO_HEARTBEAT = "without a heartbeat that the API server took, addresses are left to their lifetime"

_OVERDUE, _SLOWEST_PASS_S = 1.5, 15.0
"""The loop hangs when no pass ended in `_OVERDUE` times its longest interval, and in these seconds.
On a busy node a pass over thousands of addresses takes seconds."""

_NOT_KNOWN = "what services want is not known yet"

_STOOD_STILL = "this process stood still in the middle of a pass; another one follows"


_Up = Sequence[frozenset[IPAddress]]  # the external IPs on each interface after the last pass


@dataclass(frozen=True, slots=True)
class _Outcome:
    """The result of a pass."""

    problem: str
    """The reason why the interface is not right; empty when it is."""
    holding: bool = False
    """The pass succeeded, but the inputs are not known."""

    @property
    def result(self) -> str:
        """Return the label of the metric."""
        return "holding" if self.holding else "failure" if self.problem else "success"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Terms:
    """The conditions of one pass, fixed when it begins."""

    now: float
    lifetime_s: int
    """How long addresses may live, as fencing has it; 0 when none may be added or refreshed."""
    yielded: Collection[IPAddress]
    """IPs that were left to another station."""
    refresh: bool
    """The lifetimes of present addresses start anew."""
    up: frozenset[IPAddress]
    """External IPs on any interface after the last pass."""

    @property
    def extend(self) -> bool:
        """Return whether addresses may be added and refreshed."""
        return self.lifetime_s > 0


async def _nothing() -> None:
    """Do nothing."""


class AddressReconciler:
    """The loop that owns the addresses of the selected interfaces."""

    def __init__(  # noqa: PLR0913 - a composition of parts
        self,
        options: AddressOptions,
        *,
        observer: AddressObserver,
        links: LinkTable,
        table: AddressTable,
        in_use: LinksInUse,
        fencing: Fencing,
        triggered: Trigger,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        """Compose; `triggered` is set by whoever has a reason for a pass."""
        self._options = options
        self._observer = observer
        name = str(options.links)
        self._protect = SecondariesGuard(links, link=name).protect
        self._table = table
        self._in_use = in_use
        self._fencing = fencing
        self._handlers: list[Callable[[Admission], None]] = []
        self._clock = clock
        self._metrics = metrics
        self._apply_log = ApplyLog(link=name, clock=clock, metrics=metrics)
        self._applier = ChangeApplier(
            table,
            in_use=in_use,
            fencing=fencing,
            apply_log=self._apply_log,
            ttl_s=options.ttl_s,
            clock=clock,
        )
        self._log = log.get_logger("addresses").bind(link=name)
        self._triggered = triggered
        self._losses = Losses(link=name, slowest_s=options.resync_s, clock=clock)
        self._moves: dict[str, MovePace] = {}
        """By the name of the interface."""
        self._refresh_due = 0.0
        self._extended = True
        self._resync_due = 0.0
        self._passed_at: float | None = None
        self._problem = "no pass over the interface yet"
        self.on_released: Callable[[], Awaitable[None]] = _nothing
        """Awaited at the end of `release`, when no address is left."""

    def add_handler(self, handler: Callable[[Admission], None]) -> None:
        """Have `handler` called with the admission of each pass that ends well."""
        self._handlers.append(handler)

    def on_notice(self, notice: Notice) -> None:
        """Take a notice of the kernel; make a pass unless it is about what does not matter."""
        match notice.kind:
            case NoticeKind.ADDRESS_CHANGED | NoticeKind.ADDRESS_REMOVED:
                self._triggered.set()
            case NoticeKind.ROUTE_CHANGED:
                self._observer.forget()
            case NoticeKind.OVERRUN:
                self._observer.forget()
                self._triggered.set()
            case NoticeKind.LINK_CHANGED if self._concerns(notice.link):
                # The kernel drops the routes of an interface that goes down, unsaid.
                self._observer.forget()
                self._triggered.set()
            case NoticeKind.LINK_CHANGED:
                pass

    def _concerns(self, link: Link | None) -> bool:
        """Whether a change of this interface matters; those of pods come and go all the time."""
        return (
            link is None
            or self._options.links.concerns(link)
            or self._in_use.knows(link.index)  # it may have got another name since
        )

    def problem(self) -> str:
        """Return why the last pass did not succeed; empty when it did (a readiness check)."""
        return self._problem

    def stuck(self) -> str:
        """Return why the loop seems to hang; empty when it turns (a liveness check).

        A loop that made no pass during a whole address lifetime has lost its addresses already. A
        restart is due before that, but not for a pass that is merely slow.
        """
        if self._passed_at is None:
            return ""
        age_s = self._clock.monotonic() - self._passed_at
        every_s = min(self._options.refresh_s, self._options.resync_s)
        if age_s <= min(self._options.ttl_s, max(_OVERDUE * every_s, _SLOWEST_PASS_S)):
            return ""
        return f"no pass over the interface for {age_s:.0f} s"

    async def run(self) -> None:
        """Pass over the interface whenever something may have changed; until cancelled.

        Raises FatalError when this process lacks a capability.
        """
        failures, rest = 0, _REST
        self._passed_at = self._clock.monotonic()
        while True:
            self._triggered.clear()
            started = self._clock.monotonic()
            failures = 0 if await self._attempt() else failures + 1
            took_s = self._clock.monotonic() - started
            # Triggers of this rest are answered by one pass, after it.
            await self._clock.sleep(min(rest * took_s, _MAX_REST_S))
            rest = min(2 * rest, _LONGEST_REST) if self._triggered.is_set() else _REST
            now = self._clock.monotonic()
            delay_s = min(self._refresh_due, self._resync_due) - now
            if failures:
                delay_s = min(
                    self._options.refresh_s,
                    self._options.resync_s,
                    _RETRY_S * 2 ** min(failures, 10),
                )
            readd_at = self._losses.backoff.next_at(now)
            if readd_at is not None:
                delay_s = min(delay_s, readd_at - now)
            await self._triggered.wait_at_most(delay_s)

    async def release(self) -> bool:
        """Delete every address with our mark; return whether all of them went.

        Call it after `run` was cancelled. An address that is left ends with its lifetime. Raises
        LinkError when the kernel fails.
        """
        observed = await self._table.dump()
        due = removals(a for a in observed if a.ours)
        deletes = await self._protect(due)
        left = len(due) - len(deletes)
        async for results in self._table.apply(deletes, ttl_s=self._options.ttl_s):
            self._apply_log.count(results)
            left += sum(not is_done(result) for result in results)
        self._log.info("addresses_released", count=len(due) - left)
        if not left:
            await self.on_released()
        return not left

    async def _attempt(self) -> bool:
        """Make a pass; return whether the next one may wait for its time."""
        started = self._clock.monotonic()
        try:
            outcome = await self._pass(started)
        except LinkNotFoundError as error:
            only = self._options.links.only
            missing = f"interface {only} does not exist; waiting for it" if only else str(error)
            outcome = _Outcome(missing)
            await self._lose_all(started)
        except LinkError as error:
            outcome = _Outcome(str(error))
        self._passed_at = self._clock.monotonic()
        self._metrics.reconcile_duration.observe(self._passed_at - started)
        self._metrics.reconciles.labels(result=outcome.result).inc()
        if outcome.problem != self._problem:
            self._problem = outcome.problem
            if outcome.holding:
                self._log.info(
                    "addresses_held", addresses=len(self._in_use.up), reason=outcome.problem
                )
            elif outcome.problem:
                self._log.warning("reconcile_failed", reason=outcome.problem)
            else:
                self._log.info("reconcile_succeeded", addresses=len(self._in_use.up))
        return outcome.holding or not outcome.problem

    async def _lose_all(self, now: float) -> None:
        """Take note that no interface is selected, and leave no IP on one: nobody watches it."""
        self._in_use.lose_all()
        with contextlib.suppress(LinkError):  # the next attempt comes soon
            left = await self._protect(await self._observer.left_behind())
            await self._applier.apply(left, began=now, lifetime_s=0)

    async def _pass(self, now: float) -> _Outcome:
        """Make the interfaces right, as far as possible: observe, plan, apply."""
        terms = self._begin(now)
        observation = await self._observer.observe(
            refresh=terms.refresh, extend=terms.extend, yielded=terms.yielded, up=terms.up
        )
        self._losses.observed(now)
        self._in_use.follow(observation)
        parts = [self._in_use.of(one.link.name) for one in observation.on]
        before = [part.local.up for part in parts]
        for one, part in zip(observation.on, parts, strict=True):
            self._take_stock(one, part.local, terms)
        admitted = self._filter_changes(observation, parts, before, terms)
        links = [one.link for one in observation.on]
        changes = await self._protect(admitted.plan.changes, known=links)
        applied = await self._applier.apply(changes, began=now, lifetime_s=terms.lifetime_s)
        for planned, after, part in zip(observation.on, admitted.on, parts, strict=True):
            part.local.withdraw(planned.plan.up - after.plan.up)  # by our own hand: no loss
        self._schedule_refresh(applied, terms)
        return self._conclude(admitted, applied, terms)

    def _begin(self, now: float) -> _Terms:
        """Fix the conditions of a pass."""
        if now >= self._resync_due:
            self._observer.forget()  # a resync reads everything anew
            self._resync_due = now + self._options.resync_s
        lifetime_s = self._fencing.lifetime_s()
        # Addresses that were left to their lifetime may be about to run out.
        may_again = lifetime_s > 0 and not self._extended
        self._extended = lifetime_s > 0
        return _Terms(
            now=now,
            lifetime_s=lifetime_s,
            yielded=self._fencing.yielded(),
            refresh=now >= self._refresh_due or may_again,
            up=self._in_use.up,
        )

    def _take_stock(self, observation: Observation, local: LocalAddresses, terms: _Terms) -> None:
        """Record an interface and the external IPs on it; log those that somebody removed."""
        undisturbed = observation.link == local.link
        local.see(observation)
        # What may not be refreshed ends with its lifetime.
        expected = terms.yielded if terms.extend else local.up
        self._losses.notice(observation, local, expected=expected, undisturbed=undisturbed)
        local.found(observation.plan.up, wanted=observation.admission is not None)

    def _filter_changes(
        self, observation: NodeObservation, parts: Sequence[LinkParts], up: _Up, terms: _Terms
    ) -> NodeObservation:
        """Return it without the changes that have to wait; an IP `up` elsewhere is new here."""
        waiting = self._losses.backoff.waiting(terms.now)
        admitted = []
        names = [one.link.name for one in observation.on]
        self._moves = {n: self._moves.get(n) or MovePace(self._options.resync_s) for n in names}
        for one, part, here in zip(observation.on, parts, up, strict=True):
            paced = self._moves[one.link.name].paced(one.plan.changes, terms.now)
            possible = without(paced, waiting)
            one = replace(one, plan=replace(one.plan, changes=tuple(possible)))  # noqa: PLW2901
            admitted.append(part.prober.admit(one, up=here))
        return replace(observation, on=tuple(admitted))

    def _schedule_refresh(self, applied: Applied, terms: _Terms) -> None:
        """Set when the lifetimes start anew next; after a failure the last time stands."""
        self._losses.given(applied.lifetime_s)
        failed = any(f.change.operation is Operation.REFRESH for f in applied.failures)
        if terms.refresh and not failed and not applied.late:
            refresh_s = self._options.refresh_s
            self._refresh_due = terms.now + min(refresh_s, applied.lifetime_s / 3 or refresh_s)

    def _conclude(self, admitted: NodeObservation, applied: Applied, terms: _Terms) -> _Outcome:
        """Return the outcome of a pass; hand the admission on when all inputs were known."""
        failing = self._apply_log.log_failures(applied.failures)
        if applied.late:
            self._triggered.set()
            return _Outcome(failing or _STOOD_STILL)
        problem = failing or admitted.problem or self._losses.backoff.describe(terms.now)
        admission = admitted.admission
        if admission is None:
            return _Outcome(problem or _NOT_KNOWN, holding=not problem)
        if not terms.extend:
            return _Outcome(problem or _NO_HEARTBEAT, holding=not problem)
        for handler in self._handlers:
            handler(admission)
        self._metrics.addresses_wanted.set(admission.possible)
        return _Outcome(problem)
