"""Makes every wanted IP sit on a node that may hold it: a plan over all claims, level-triggered.

Runs only while this process leads. A pass plans over everything (`extip.plan.schedule`), waits for
nothing, and hands what differs to lanes (`extip.reconcile.lanes`), which write by themselves::

    run
    ├── decide               passes, when something has changed
    ├── lane-moves           claims whose node may not hold them any more
    ├── lane-claims          other changes of claims: new ones, who wants them, what nobody wants
    ├── lane-publication     what services were given, and what pools have left
    └── lane-chores          what is said of claims, and what has time

Moves go before all else, and chores after all else. A write that is on its way counts as made
while the next plan is decided; a plan replaces what was not begun. Our own writes count before the
watch shows them, so that no pass undoes or repeats the last. While writes are made, passes are few.

Every write carries a precondition or creates: a decision that went stale (a frozen leader that
thaws) fails at the API server instead of undoing its successor's. What cannot be written now, for
whatever reason, keeps nothing else waiting.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil, inf
from random import Random
from typing import TypeVar

from extip import log
from extip.api.ipcontroller_v1 import IpClaim, ServiceReference
from extip.cache.mutation import Overlay
from extip.clock import Clock
from extip.metrics import Metrics
from extip.plan.claims import having, up_somewhere
from extip.plan.cluster import Cluster
from extip.plan.contest import settle_contests
from extip.plan.desire import Desire, decide
from extip.plan.guard import Guard, Surroundings, Verdicts
from extip.plan.link import IPInterface
from extip.plan.placement import Strategy
from extip.plan.requests import Requests
from extip.plan.reserved import Reserved
from extip.plan.schedule import AssignClaim, Write, plan_rebalance, plan_schedule
from extip.reconcile.claim_writer import Chore, ClaimWriter, assumed
from extip.reconcile.lanes import Lane, Reach
from extip.reconcile.put_off import PutOff
from extip.reconcile.scheduling_ports import AddressAllocator, ClaimStore, Historian, Publishing
from extip.supervisor import Component, supervise

W = TypeVar("W")

CONCURRENCY = 16
"""Writes of a kind at once: more gain little and make each of them slow."""

_CHORES = 8
"""Writes at once that nothing depends on."""

_REBALANCED = 2
"""Claims moved by one step of rebalancing."""

_REBALANCE_S = 0.5
"""Time between two such steps, whatever triggers passes meanwhile: each move does."""

_REST = 20
"""While claims are written: how many times as long as a pass took until the next one."""

_REST_AT_LEISURE = 4
"""While only chores are."""

_LEAST_REST_S, _MOST_REST_S = 0.02, 1.0

_RETRY_S, _RETRY_AT_LEISURE_S = 15.0, 60.0
"""The longest time after which a write that failed is tried again: of claims, and others."""

_LEAST_APART_S = 0.1
"""Between two passes that are there for writes that failed, at least."""

_TICK_S = 0.001
"""The shortest wait for the time of something."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SchedulerInputs:
    """Everything that a pass decides over, but the claims themselves."""

    requests: Requests
    reserved: Reserved
    cluster: Cluster
    steady: frozenset[str]
    """Nodes that were alive for long enough to be given claims of others; empty: none are."""


class ClaimScheduler:
    """Decides which claims are created, assigned, moved and deleted, and has it written."""

    def __init__(  # noqa: PLR0913 - a composition of ports
        self,
        *,
        strategy: Strategy,
        guard: Guard,
        inputs: Callable[[], SchedulerInputs | None],
        allocator: AddressAllocator,
        claims: Overlay[IpClaim],
        store: ClaimStore,
        historian: Historian,
        decided: Callable[[Desire], None],
        clock: Clock,
        rng: Random,
        metrics: Metrics,
    ) -> None:
        self._strategy = strategy
        self._verdicts = Verdicts(guard, Surroundings())
        self._inputs = inputs
        self._allocator = allocator
        self._claims = claims
        self._historian = historian
        self._tell = decided
        self._metrics = metrics
        self._clock = clock
        self._log = log.get_logger("scheduling")
        self._triggered = asyncio.Event()
        self._hurried = asyncio.Event()
        self._said: set[str] = set()
        self._not_served: frozenset[tuple[str, str, ServiceReference]] = frozenset()
        self._problem = ""
        self._away = False
        self._rebalance_at = -inf
        self._took_s = 0.0
        self._writer = ClaimWriter(
            claims=claims, store=store, historian=historian, clock=clock, rng=rng, metrics=metrics
        )
        self._reach = reach = Reach(self._back)

        def put_off(longest_s: float = _RETRY_S) -> PutOff:
            return PutOff(clock=clock, rng=rng, longest_s=longest_s)

        self._moves: Lane[Write] = Lane(
            "moves",
            self._write,
            places=CONCURRENCY,
            reach=reach,
            put_off=put_off(),
            made=self._claim_written,
            again=self._look_in,
        )
        self._changes: Lane[Write] = Lane(
            "claims",
            self._write,
            places=CONCURRENCY,
            reach=reach,
            put_off=put_off(),
            made=self._claim_written,
            again=self._look_in,
            behind=lambda: self._moves.waiting,
        )
        self._publication: Lane[Publishing] = Lane(
            "publication",
            allocator.write,
            places=CONCURRENCY,
            reach=reach,
            put_off=put_off(_RETRY_AT_LEISURE_S),
            made=self.trigger,
            again=self._look_in,
            failed=allocator.failed,
            behind=lambda: self._moves.waiting,
        )
        self._chores: Lane[Chore] = Lane(
            "chores",
            self._writer.do,
            places=_CHORES,
            reach=reach,
            put_off=put_off(_RETRY_AT_LEISURE_S),
            made=self.trigger,
            again=self._look_in,
            behind=lambda: self._writing() or self._publication.waiting,
        )

    def trigger(self) -> None:
        """Ask for a pass soon; many calls before it are one."""
        self._triggered.set()

    def hurry(self) -> None:
        """Ask for a pass at once: which nodes may hold claims has changed."""
        self._hurried.set()
        self.trigger()

    def answered(self) -> None:
        """Take note that the API server has answered something else."""
        self._reach.answered()

    def retry(self) -> None:
        """Try at once what was put off: the API server is back."""
        for lane in self._lanes():
            lane.put_off.clear()
        self.hurry()

    def _back(self) -> None:
        for lane in self._lanes():
            lane.put_off.hasten()
        self.trigger()

    async def run(self) -> None:
        """Decide and write whenever something may have changed; until cancelled.

        Then no write is on its way any more.
        """
        self._claims.forget()
        self._writer.forget()
        self._allocator.forget()
        for lane in self._lanes():
            lane.reset()
        lanes = [Component(f"lane-{lane.name}", lane.run) for lane in self._lanes()]
        try:
            await supervise([Component("decide", self._decide), *lanes])
        finally:
            for lane in self._lanes():
                self._metrics.writes_failing.labels(lane.name).set(0)

    async def _decide(self) -> None:
        while True:
            self._triggered.clear()
            self._hurried.clear()
            began = self._clock.monotonic()
            again_s = self._pass()
            self._took_s = self._clock.monotonic() - began
            await self._rest()
            try:
                async with asyncio.timeout(again_s):
                    await self._triggered.wait()
            except TimeoutError:
                continue

    async def _rest(self) -> None:
        """Leave the time to the writes, while there are any, unless a pass is urgent."""
        if not any(lane.busy for lane in self._lanes()):
            return
        rest_s = self._took_s * (_REST if self._writing() else _REST_AT_LEISURE)
        try:
            async with asyncio.timeout(min(max(rest_s, _LEAST_REST_S), _MOST_REST_S)):
                await self._hurried.wait()
        except TimeoutError:
            pass

    def _pass(self) -> float | None:
        """Decide what is to be written; return when to look again without a trigger, or None."""
        inputs = self._inputs()
        if inputs is None:
            return None
        known = self._claims.current()
        allocation = self._allocator.plan(
            list(known.values()), inputs.requests, inputs.reserved.single()
        )
        requests = settle_contests(allocation.extend(inputs.requests), having(known.values()))
        kept = up_somewhere(known.values(), inputs.reserved.hearsay())
        self._verdicts = self._verdicts.within(Surroundings(reserved=inputs.reserved, kept=kept))
        desire = decide(requests, self._verdicts)
        self._tell(replace(desire, doubtful=frozenset()))  # who has those up tells of them
        wanted = {interface: requests.wanted[interface] for interface in desire.wanted}
        claims = assumed(
            known, (*self._changes.in_flight.values(), *self._moves.in_flight.values())
        )
        schedule = plan_schedule(
            wanted, claims, inputs.cluster, self._strategy, pools=allocation.pools()
        )
        self._tell_of(schedule.in_the_way)
        self._tell_not_served(known.values(), schedule.not_served)
        writes, contested_s = self._writer.due(schedule.writes)
        self._offer_claims(writes)
        publications, statuses_s = self._allocator.due(allocation)
        self._publication.offer(publications)
        chores = self._writer.chores(known.values(), schedule)
        self._chores.offer({name: one for name, one in chores.items() if not self._is_held(name)})
        rebalance_s = self._rebalance(claims, inputs)
        self._settled()
        return _soonest(statuses_s, rebalance_s, contested_s)

    def _offer_claims(self, writes: Sequence[Write]) -> None:
        """Hand over what a plan has, one write for each claim: the most urgent one."""
        moves: dict[str, Write] = {}
        changes: dict[str, Write] = {}
        for write in writes:
            name = write.claim.metadata.name
            is_move = isinstance(write, AssignClaim) and write.node != write.claim.spec.node_name
            if name not in moves and name not in changes:
                (moves if is_move else changes)[name] = write
        self._moves.offer(moves)
        self._changes.offer(
            {name: one for name, one in changes.items() if name not in self._moves.in_flight}
        )

    def _tell_of(self, in_the_way: Mapping[str, IPInterface]) -> None:
        """Say once of each claim that has the name of another IP's."""
        self._said &= in_the_way.keys()
        for name in sorted(in_the_way.keys() - self._said):
            self._said.add(name)
            ip = str(in_the_way[name].ip)
            reason = "this claim has its name and another cidr; delete or rename it"
            self._log.warning("claim_name_taken", claim=name, address=ip, reason=reason)

    def _tell_not_served(
        self, claims: Iterable[IpClaim], found: Mapping[str, tuple[ServiceReference, ...]]
    ) -> None:
        """Say of each service that it has no endpoint where its IP is: once for each node."""
        now = {
            (claim.metadata.name, claim.spec.node_name, service): claim
            for claim in claims
            for service in found.get(claim.metadata.name, ())
        }
        for key in sorted(now.keys() - self._not_served):
            self._historian.not_served(key[2], now[key])
        self._not_served = frozenset(now)

    def _rebalance(self, claims: Sequence[IpClaim], inputs: SchedulerInputs) -> float | None:
        """Move a few claims to where the strategy wants them, when nothing else is to do."""
        if not inputs.steady:
            return None
        if any(lane.busy for lane in self._lanes()):
            return _REBALANCE_S
        wait_s = self._rebalance_at - self._clock.monotonic()
        if wait_s > 0:
            return wait_s
        contested = self._writer.waiting()
        moves = plan_rebalance(
            claims,
            inputs.cluster,
            steady=inputs.steady,
            limit=_REBALANCED,
            strategy=self._strategy,
            fixed=self._moves.unavailable() | self._changes.unavailable() | contested.keys(),
        )
        for move in moves:
            self._changes.want(move.claim.metadata.name, move)
        if not moves:
            return min(contested.values(), default=None)
        self._rebalance_at = self._clock.monotonic() + _REBALANCE_S
        return _REBALANCE_S

    def _is_held(self, claim: str) -> bool:
        return self._moves.has(claim) or self._changes.has(claim)

    async def _write(self, write: Write) -> None:
        """Write to a claim; services that have an address by it are told of it next."""
        claim = await self._writer.write(write)
        if claim is not None:
            for name, one in self._allocator.claimed(claim).items():
                self._publication.want(name, one)

    def _claim_written(self) -> None:
        """Look again: soon, and at once when no more is to be written."""
        self.trigger()
        if not self._writing():
            self._hurried.set()

    def _look_in(self, delay_s: float) -> None:
        """Look again when a write that failed may be tried again; one pass for many of them."""
        loop = asyncio.get_running_loop()
        apart_s = max(_LEAST_APART_S, _REST_AT_LEISURE * self._took_s)
        loop.call_at(apart_s * ceil((loop.time() + delay_s) / apart_s), self.trigger)

    def _writing(self) -> bool:
        return self._moves.busy or self._changes.busy

    def _lanes(self) -> "tuple[Lane[Write], Lane[Write], Lane[Publishing], Lane[Chore]]":
        return self._moves, self._changes, self._publication, self._chores

    def _settled(self) -> None:
        """Log trouble once when it begins and once when it is over."""
        count, problem = 0, ""
        for lane in self._lanes():
            failing, error = lane.put_off.problem()
            self._metrics.writes_failing.labels(lane.name).set(failing)
            count, problem = count + failing, problem or error
        if self._reach.away != self._away:
            self._away = self._reach.away
            if self._away:
                self._log.warning("nothing_answered", error=problem)
            else:
                self._log.info("answered_again")
        if problem and not self._problem:
            self._log.warning("writes_failed", count=count, error=problem)
        elif self._problem and not problem:
            self._log.info("writes_succeeded")
        self._problem = problem


def _soonest(*delays_s: float | None) -> float | None:
    """Return the shortest delay, but no shorter than what the loop's clock can tell apart."""
    known = [delay_s for delay_s in delays_s if delay_s is not None]
    return max(_TICK_S, min(known)) if known else None
