"""Keeps the interface carrying exactly the wanted addresses: observe, plan, apply.

One key, the interface: whatever happened (a service changed, an address was removed by hand, the
link went down, netlink events were lost), the answer is one pass over everything. A burst of
triggers is one pass. Nothing is added or deleted before every input is known; when inputs are
lost later (the API server is away), the last known wish stands and lifetimes are still refreshed.

The owner task is `AddressReconciler.run`; the other methods may be called from any task of the
same loop. A pass may be cancelled at any point: the next one starts from what the kernel says.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace

from extip import log
from extip.clock import Clock
from extip.errors import LinkError, LinkNotFoundError
from extip.metrics import Metrics
from extip.plan.addresses import removals
from extip.plan.desire import Desire
from extip.plan.link import (
    Change,
    ChangeResult,
    IPAddress,
    IPInterface,
    Link,
    Operation,
)
from extip.plan.move_pace import MovePace
from extip.plan.repairs import Repairs
from extip.reconcile.change_book import ChangeBook
from extip.reconcile.change_results import GONE, is_done, without
from extip.reconcile.observe import AddressObserver, Gate, OpenGate, Policy, View
from extip.reconcile.ports import AddressTable, Announcer, Fence, LinkTable
from extip.reconcile.presence import Presence
from extip.reconcile.secondaries import SecondariesGuard

_RETRY_S = 0.25
"""First retry after a pass failed; doubled each time, never slower than the resync."""

_REST, _LONGEST_REST = 3.0, 12.0
"""A pass is followed by a rest this many times as long as it took, twice as many when it follows
another at once, and so on: one pass answers a whole storm of changes, and one for each of them
would take the processor from whoever makes them."""

_MAX_REST_S = 0.1

_NO_HEARTBEAT = "without a heartbeat that the API server took, addresses are left to their lifetime"

_UNSEEN = 2 / 3
"""Within this share of its lifetime no address can have run out, since it was refreshed in it."""

_OVERDUE, _SLOWEST_PASS_S = 1.5, 15.0
"""A loop hangs when no pass ended in so many times the longest that one rests, and in so many
seconds: on a busy node thousands of addresses take some."""

_STOOD_STILL = "this process stood still in the middle of a pass; another one follows"


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What a pass came to."""

    problem: str
    """What is still in the way; empty when the interface is right."""
    holding: bool = False
    """All went well, but nobody knows yet what is wanted."""

    @property
    def result(self) -> str:
        """Return the label of the metric."""
        return "holding" if self.holding else "failure" if self.problem else "success"


@dataclass(slots=True)
class _Applied:
    """How far the changes of a pass came."""

    began: float
    """When the pass did: what is wanted, and what is there, were looked up after that."""
    lifetime_s: int
    """What addresses were given last."""
    failures: list[ChangeResult] = field(default_factory=list)
    late: bool = False
    """Not everything was tried: what the pass rested on may not be so any more."""


class AddressReconciler:
    """The loop that owns the addresses of one interface."""

    def __init__(  # noqa: PLR0913 - a composition of ports
        self,
        policy: Policy,
        *,
        observer: AddressObserver,
        links: LinkTable,
        table: AddressTable,
        announcer: Announcer,
        fence: Fence,
        decided: Callable[[Desire], None],
        gate: Gate | None = None,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self._policy = policy
        self._observer = observer
        self._protect = SecondariesGuard(links, link=policy.iface).protect
        self._table = table
        self._presence = Presence(announcer, name=policy.iface, metrics=metrics)
        self._fence = fence
        self._tell = decided
        self._gate: Gate = gate or OpenGate()
        self._clock = clock
        self._metrics = metrics
        self._book = ChangeBook(link=policy.iface, clock=clock, metrics=metrics)
        self._log = log.get_logger("addresses").bind(link=policy.iface)
        self._triggered = asyncio.Event()
        self._repairs = Repairs(slowest_s=policy.resync_s)
        self._moves = MovePace(slowest_s=policy.resync_s)
        self._refresh_due = 0.0
        self._extends = True
        self._resync_due = 0.0
        self._passed_at: float | None = None
        self._seen_at = 0.0
        self._given_s = 0
        self._problem = "no pass over the interface yet"

    @property
    def link(self) -> Link | None:
        """The interface as of the last pass; None while it is missing."""
        return self._presence.link

    def own_addresses(self) -> Sequence[IPInterface]:
        """Return the node's own addresses on the interface, in use as of the last pass.

        Neither external IPs nor link-local ones.
        """
        return self._presence.own

    @property
    def up(self) -> frozenset[IPAddress]:
        """External IPs on the interface as of the last pass."""
        return self._presence.up

    def trigger(self) -> None:
        """Ask for a pass soon; many calls before it are one."""
        self._triggered.set()

    def uses(self, link_index: int) -> bool:
        """Return whether this is the index that the interface had at the last pass."""
        return self.link is not None and self.link.index == link_index

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
        every_s = min(self._policy.refresh_s, self._policy.resync_s)
        if age_s <= min(self._policy.ttl_s, max(_OVERDUE * every_s, _SLOWEST_PASS_S)):
            return ""
        return f"no pass over the interface for {age_s:.0f} s"

    async def run(self) -> None:
        """Pass over the interface whenever something may have changed; until cancelled.

        Raises FatalError when the kernel refuses for want of a capability.
        """
        failures, rest = 0, _REST
        self._passed_at = self._clock.monotonic()
        while True:
            self._triggered.clear()
            started = self._clock.monotonic()
            failures = 0 if await self._attempt() else failures + 1
            took_s = self._clock.monotonic() - started
            await self._clock.sleep(min(rest * took_s, _MAX_REST_S))
            rest = min(2 * rest, _LONGEST_REST) if self._triggered.is_set() else _REST
            now = self._clock.monotonic()
            delay_s = min(self._refresh_due, self._resync_due) - now
            if failures:
                delay_s = min(
                    self._policy.refresh_s, self._policy.resync_s, _RETRY_S * 2 ** min(failures, 10)
                )
            repair_at = self._repairs.next_at(now)
            if repair_at is not None:
                delay_s = min(delay_s, repair_at - now)
            try:
                async with asyncio.timeout(max(0.0, delay_s)):
                    await self._triggered.wait()
            except TimeoutError:
                continue

    async def release(self) -> bool:
        """Delete every address with our mark; called after `run` was cancelled.

        Returns whether all went; whatever is left ends with its lifetime. Raises LinkError when
        the kernel fails.
        """
        observed = await self._table.dump()
        deletes = removals(a for a in observed if a.ours)
        left = 0
        async for results in self._table.apply(deletes, ttl_s=self._policy.ttl_s):
            self._book.count(results)
            left += sum(not is_done(result) for result in results)
        self._log.info("addresses_released", count=len(deletes) - left)
        return not left

    async def _attempt(self) -> bool:
        """Make a pass; return whether there is no reason to try again soon."""
        started = self._clock.monotonic()
        try:
            outcome = await self._pass(started)
        except LinkNotFoundError:
            outcome = _Outcome(f"interface {self._policy.iface} does not exist; waiting for it")
            self._presence.set_link(None)
            self._gate.rest()
        except LinkError as error:
            outcome = _Outcome(str(error))
        self._passed_at = self._clock.monotonic()
        self._metrics.reconcile_duration.observe(self._passed_at - started)
        self._metrics.reconciles.labels(result=outcome.result).inc()
        if outcome.problem != self._problem:
            self._problem = outcome.problem
            if outcome.holding:
                self._log.info("addresses_held", addresses=len(self.up), reason=outcome.problem)
            elif outcome.problem:
                self._log.warning("reconcile_failed", reason=outcome.problem)
            else:
                self._log.info("reconcile_succeeded", addresses=len(self.up))
        return outcome.holding or not outcome.problem

    async def _pass(self, now: float) -> "_Outcome":
        """Make the interface right, as far as can be."""
        if now >= self._resync_due:
            self._observer.forget()  # a resync takes nothing on trust
            self._resync_due = now + self._policy.resync_s
        lifetime_s, yielded = self._fence.lifetime_s(), self._fence.yielded()
        refresh = now >= self._refresh_due or (lifetime_s > 0 and not self._extends)
        self._extends = lifetime_s > 0
        view = await self._observer.observe(refresh=refresh, extend=self._extends, yielded=yielded)
        undisturbed = view.link == self.link
        self._presence.see(view)
        up = self.up
        expected = yielded if self._extends else up
        ran_out = self._may_have_run_out(now)
        self._notice_losses(
            view, now if undisturbed and not ran_out else None, expected=expected, ran_out=ran_out
        )
        self._presence.found(view.plan.up, wanted=view.desire is not None)
        possible = without(self._moves.paced(view.plan.changes, now), self._repairs.held(now))
        admitted = self._gate.admit(
            replace(view, plan=replace(view.plan, changes=tuple(possible))), up=up
        )
        changes = await self._protect(admitted.plan.changes, known=view.link)
        applied = await self._apply(changes, _Applied(now, lifetime_s))
        failures, lifetime_s = applied.failures, applied.lifetime_s
        if lifetime_s:
            self._given_s = lifetime_s
        failed = any(f.change.operation is Operation.REFRESH for f in failures)
        if refresh and not failed and not applied.late:
            refresh_s = self._policy.refresh_s
            self._refresh_due = now + min(refresh_s, lifetime_s / 3 or refresh_s)
        if applied.late:
            self._triggered.set()
            return _Outcome(self._book.failing(failures) or _STOOD_STILL)
        problem = self._book.failing(failures) or view.problem or self._describe_fights(now)
        if view.desire is None or admitted.desire is None:
            return _Outcome(problem or "what services want is not known yet", holding=not problem)
        if not self._extends:
            return _Outcome(problem or _NO_HEARTBEAT, holding=not problem)
        self._tell(admitted.desire)
        self._metrics.addresses_wanted.set(admitted.desire.possible)
        return _Outcome(problem)

    async def _apply(self, changes: Sequence[Change], applied: _Applied) -> _Applied:
        """Make the changes, announce each batch as it comes up.

        Lifetimes follow the fence from batch to batch.
        """
        done: list[Change] = []
        waiting = deque(changes)
        while waiting:
            if self._extends:
                applied.lifetime_s = min(applied.lifetime_s, self._fence.lifetime_s())
            timely = self._timely(waiting, applied)
            async for results in self._table.apply(timely, ttl_s=applied.lifetime_s):
                done += self._take(results, applied)
        await self._book.made(done)
        return applied

    def _timely(self, waiting: deque[Change], applied: _Applied) -> Iterator[Change]:
        """Take changes off the front for as long as they may be made with the lifetime at hand.

        Those that came too late are dropped. This process may have been frozen between any two of
        them, so that additions are another node's by now, and refreshes would bring back what ran
        out. Removals are right at any time.
        """
        while waiting:
            if waiting[0].operation is not Operation.DELETE:
                lifetime_s = self._fence.lifetime_s()
                if self._is_late(waiting[0].operation, applied) or lifetime_s <= 0:
                    applied.late = True
                    waiting.popleft()
                    continue
                if lifetime_s < applied.lifetime_s:
                    return
            yield waiting.popleft()

    def _is_late(self, operation: Operation, applied: _Applied) -> bool:
        limit_s = _UNSEEN * self._policy.ttl_s
        if operation in (Operation.ADD, Operation.MOVE):
            limit_s = min(limit_s, self._fence.trust_s)
        return self._clock.monotonic() - applied.began > limit_s

    def _take(self, results: Sequence[ChangeResult], applied: _Applied) -> list[Change]:
        """Take note of a batch; return what was added, deleted or moved."""
        done = [
            r.change for r in results if not r.errno and r.change.operation is not Operation.REFRESH
        ]
        if self._is_late(Operation.ADD, applied):
            adding = (Operation.ADD, Operation.MOVE)
            applied.late |= any(c.operation in adding for c in done)  # is it there still?
        else:
            self._presence.announce([c.interface.ip for c in done if c.operation is Operation.ADD])
        deleted = {
            r.change.interface.ip
            for r in results
            if r.change.operation is Operation.DELETE and r.errno in GONE
        }
        self._presence.withdraw(deleted)
        applied.failures += [r for r in results if r.errno and not is_done(r)]
        self._book.count(results)
        return done

    def _may_have_run_out(self, now: float) -> bool:
        """Return whether the last look, when all was refreshed in time, is too long ago to tell."""
        before, self._seen_at = self._seen_at, now
        return self._clock.monotonic() - before > _UNSEEN * self._given_s

    def _notice_losses(
        self, view: View, now: float | None, *, expected: Collection[IPAddress], ran_out: bool
    ) -> None:
        """Log addresses that were up, are still wanted, and are gone by somebody else's hand.

        `now` is None when the interface changed as well, or this process stood still: then the
        kernel itself may have dropped them, which is no reason to put them back any later. Neither
        is what was `expected` to go.
        """
        reason = "this process stood still, and they ran out" if ran_out else "removed from outside"
        lost = self.up - view.plan.up
        if lost and view.desire is not None:
            still = {interface.ip for interface in view.desire.wanted}.difference(expected)
            gone = sorted(lost & still, key=str)
            for ip in gone if now is None else self._repairs.lost(gone, now):
                self._log.warning("address_lost", address=str(ip), reason=reason)
        self._presence.withdraw(lost)

    def _describe_fights(self, now: float) -> str:
        contested = self._repairs.contested(now)
        if not contested:
            return ""
        return (
            f"another program keeps removing addresses, first {min(contested, key=str)}; they are "
            f"put back ever more slowly, in the end every {self._policy.resync_s:g} s"
        )
