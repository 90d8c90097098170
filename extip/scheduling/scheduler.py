"""Puts every wanted IP on a node that may hold it: one IP at a time, level-triggered.

It runs only while this process leads. A pass compares what there is with what was known, decides
the IPs that are due (`policy.state`), and waits for nothing. It hands the writes to lanes
(`extip.writes.lanes`), which run by themselves::

    run
    ├── decide               passes, when something has changed
    ├── lane-failovers       dead nodes whose standbys take their many claims at once
    ├── lane-moves           claims whose node may not hold them any more
    ├── lane-claims          other changes of claims: creations, services, deletions
    ├── lane-publication     addresses of services, status of pools
    └── lane-chores          conditions of claims, standbys, field owners

Moves are the most urgent writes, chores the least. A decision counts a write that is on its way as
made, and replaces a write that has not begun. Our own writes count before the watch delivers them,
so that no pass undoes or repeats the last one. While writes are made, passes are rare. Many changes
are read, and many IPs decided, in small steps, between which all else on the loop has its turn.

Every write creates an object or carries a precondition. So a stale decision (of a frozen leader
that thaws) fails at the API server, and does not undo a decision of the next leader. A write that
fails delays no other write.
"""

import asyncio
import gc
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from functools import partial
from math import ceil, inf
from random import Random

from extip.api.core_v1 import DetailedService
from extip.api.ipcontroller_v1 import IpClaim
from extip.cache.mutation import Overlay
from extip.clock import Clock
from extip.guard.policy.admission import Admission
from extip.guard.policy.rules import Guard
from extip.metrics import Metrics
from extip.pools.allocator import Allocator
from extip.pools.policy.service_update import AllocationWrite
from extip.scheduling.backlog import Backlog
from extip.scheduling.claim_store import ClaimStore
from extip.scheduling.claim_writer import Chore, ClaimWriter
from extip.scheduling.demand import Demand
from extip.scheduling.events import PlacementEvents
from extip.scheduling.failovers import Failovers, SetFailedOver
from extip.scheduling.inputs import SchedulerInputs
from extip.scheduling.leisure import Leisure
from extip.scheduling.policy.placement import Strategy
from extip.scheduling.policy.schedule import Write
from extip.scheduling.policy.snapshot import Snapshot
from extip.scheduling.policy.state import ScheduleState
from extip.scheduling.reports import DecisionReports
from extip.scheduling.write_reports import WriteReports
from extip.services.explicit_ips import ExplicitIPs
from extip.supervisor import Component, supervise
from extip.trigger import Trigger
from extip.writes.lanes import Lane, LaneContext, ServerContact

CONCURRENCY, _CHORES = 16, 8
"""Writes of a lane at once, and chores. More gain little, and make each of them slow."""

_REST, _REST_AT_LEISURE = 20, 4
"""The rest after a pass, in its durations: while claims are written, and while only chores are."""

_LEAST_REST_S, _MOST_REST_S = 0.02, 1.0

_RETRY_S, _RETRY_AT_LEISURE_S = 15.0, 60.0
"""The longest delay of a failed write, in seconds: of a claim, and of another object."""

_LEAST_APART_S, _MADE_S = 0.1, 0.1
"""Seconds between two passes for failed writes at least; from a chore to the pass after it."""

_TICK_S, _AUDIT_S = 0.001, 5.0
"""Seconds: the shortest wait; the rest after which some decisions are compared with new ones."""

_STEP = 64
"""IPs that are decided at once: a few milliseconds, for which nothing else runs."""

_AnyLane = Lane[SetFailedOver] | Lane[Write] | Lane[AllocationWrite] | Lane[Chore]


class ClaimScheduler:
    """Decides which claims are created, assigned, moved and deleted, and writes the changes."""

    def __init__(  # noqa: PLR0913 - a composition of parts
        self,
        *,
        strategy: Strategy,
        guard: Guard,
        inputs: Callable[[], SchedulerInputs | None],
        read_nodes: Callable[[int], bool],
        explicit: ExplicitIPs[DetailedService],
        allocator: Allocator,
        claims: Overlay[IpClaim],
        store: ClaimStore,
        events: PlacementEvents,
        failovers: Failovers,
        on_admission: Callable[[Admission], None],
        explicit_masks: AbstractSet[int] = frozenset(),
        clock: Clock,
        rng: Random,
        metrics: Metrics,
    ) -> None:
        """Compose; `read_nodes` reads some of the changed nodes, and tells whether that was all."""
        self._strategy = strategy
        self._inputs = inputs
        self._read_nodes = read_nodes
        self._allocator = allocator
        self._claims = claims
        self._state = ScheduleState(strategy)
        self._new_demand = partial(
            Demand,
            explicit,
            allocator,
            guard=guard,
            on_admission=on_admission,
            claims_of=lambda ip: self._state.claims_of(ip),  # noqa: PLW0108 - the state of now
        )
        self._demand = self._new_demand()
        self._metrics = metrics
        self._clock = clock
        self._triggered = Trigger()
        self._hurried = Trigger()
        self._knows_all = False
        """Whether all IPs were found since this process leads."""
        self._starting = True
        """Whether a leadership begins: not all IPs are decided yet."""
        self._took_s = 0.0
        self._writer = ClaimWriter(
            claims=claims,
            store=store,
            events=events,
            explicit_masks=explicit_masks,
            clock=clock,
            rng=rng,
            metrics=metrics,
        )
        self._reports = DecisionReports(events)
        self._landed: list[IpClaim] = []
        """The claims whose writes have ended since the last pass, made or not."""
        self._contact = ServerContact(self._back, clock)
        self._write_reports = WriteReports(self._contact, metrics)
        lanes = LaneContext(contact=self._contact, again=self._look_in, clock=clock, rng=rng)
        self._failovers = failovers
        failovers.begin(lanes, self.trigger_at_once)
        self._moves: Lane[Write] = Lane(
            "moves",
            self._write,
            lanes,
            places=CONCURRENCY,
            longest_s=_RETRY_S,
            made=self._claim_written,
        )
        self._changes: Lane[Write] = Lane(
            "claims",
            self._write,
            lanes,
            places=CONCURRENCY,
            longest_s=_RETRY_S,
            made=self._claim_written,
            behind=lambda: self._moves.waiting,
        )
        self._publication: Lane[AllocationWrite] = Lane(
            "publication",
            allocator.write,
            lanes,
            places=CONCURRENCY,
            longest_s=_RETRY_AT_LEISURE_S,
            made=partial(self._triggered.set_later, _MADE_S),
            failed=allocator.failed,
            behind=lambda: self._moves.waiting,
        )
        self._chores: Lane[Chore] = Lane(
            "chores",
            self._do,
            lanes,
            places=_CHORES,
            longest_s=_RETRY_AT_LEISURE_S,
            made=partial(self._triggered.set_later, _MADE_S),
            behind=lambda: self._writing() or self._publication.waiting,
        )
        self._leisure = Leisure(
            self._writer,
            moves=self._moves,
            changes=self._changes,
            chores=self._chores,
            busy=self._busy,
            clock=clock,
        )
        self._backlog = Backlog(
            self._writer,
            moves=self._moves,
            changes=self._changes,
            chores=self._chores,
            holds_back=failovers.holds_back,
            metrics=metrics,
        )

    def trigger(self) -> None:
        """Ask for a pass soon; many calls before it count as one."""
        self._triggered.set()

    def trigger_at_once(self) -> None:
        """Ask for a pass at once: the set of nodes that may hold claims has changed."""
        self._hurried.set()
        self.trigger()

    def answered(self, took_s: float) -> None:
        """Count an answer of the API server to another request."""
        self._contact.answered(took_s)

    def retry(self) -> None:
        """End every wait of a failed write: the API server is back."""
        for lane in self._lanes():
            lane.backoff.clear()
        self.trigger_at_once()

    def _back(self) -> None:
        for lane in self._lanes():
            lane.backoff.hasten()
        self.trigger()

    async def run(self) -> None:
        """Decide and write after each change, until cancelled.

        After that no write is on its way any more, and everything is forgotten.
        """
        lanes = [Component(f"lane-{lane.name}", lane.run) for lane in self._lanes()]
        try:
            await supervise([Component("decide", self._decide), *lanes])
        finally:
            self._forget()

    def _forget(self) -> None:
        """Forget everything: another process may lead meanwhile, and on standby nobody reads it."""
        self._claims.forget()
        self._writer.forget()
        self._demand.forget()
        self._demand = self._new_demand()
        self._state = ScheduleState(self._strategy)
        self._leisure.forget()
        self._backlog.forget()
        self._failovers.forget()
        self._landed.clear()
        self._knows_all, self._starting = False, True
        for lane in self._lanes():
            lane.reset()
            self._metrics.writes_failing.labels(lane.name).set(0)

    async def _decide(self) -> None:
        while True:
            self._triggered.clear()
            self._hurried.clear()
            began = self._clock.monotonic()
            again_s = await self._pass()
            self._took_s = self._clock.monotonic() - began
            if again_s == 0:
                await self._clock.sleep(0)
                continue
            await self._rest()
            await self._wait(inf if again_s is None else again_s)

    async def _wait(self, longest_s: float) -> None:
        """Wait for a trigger, and audit at rest: while writes are made, decisions differ."""
        until = self._clock.monotonic() + longest_s
        while (left_s := until - self._clock.monotonic()) > 0:
            if await self._triggered.wait_at_most(min(left_s, _AUDIT_S)):
                return
            if left_s > _AUDIT_S and not self._busy():
                self._backlog.audit(self._state, _STEP)

    async def _rest(self) -> None:
        """Leave the processor to the writes, unless a pass is urgent."""
        if not self._busy():
            return
        rest_s = self._took_s * (_REST if self._writing() else _REST_AT_LEISURE)
        await self._hurried.wait_at_most(min(max(rest_s, _LEAST_REST_S), _MOST_REST_S))

    async def _pass(self) -> float | None:
        """Make one pass; return the seconds until the next one without a trigger, or None."""
        await self._take_claims()
        inputs = await self._find_wants()
        if inputs is None:
            return None
        self._state.take_snapshot(inputs.cluster)
        for claim in self._landed:
            self._state.touch_claim(claim)
        self._landed.clear()
        await self._decide_due(inputs.cluster)
        if not self._state.pending:
            self._backlog.prepare(self._failovers.step(self._state.claims, inputs.cluster))
        for _ in self._backlog.look_again(_STEP):
            await self._between_steps()
        contested_s = self._backlog.contested_s()
        service_updates, statuses_s = self._allocator.due(self._demand.allocation)
        self._publication.offer(service_updates)
        leisure_s = self._leisure.step(self._state, inputs)
        self._write_reports.report(self._lanes())
        if self._state.pending or self._demand.pending:
            return 0.0
        self._starting = False
        waits = statuses_s, leisure_s, contested_s, self._claims.next_s()
        waits_s = [s for s in waits if s is not None]
        return max(_TICK_S, min(waits_s)) if waits_s else None

    async def _take_claims(self) -> None:
        """Take the claims that have changed, in steps. Each reader's dicts grow in other ones."""
        more = True
        while more:
            changes = self._claims.changes(_STEP)
            self._state.take_claims(self._backlog.assume(changes, self._claims.get))
            if more := self._claims.pending:
                await self._between_steps()
            self._allocator.take_claims(changes)

    async def _find_wants(self) -> SchedulerInputs | None:
        """Find in steps which IPs are wanted: all of them at first, then until a node changes.

        Return the inputs of the last step; None when there are none.
        """
        while (inputs := await self._read()) is not None:
            self._state.take_wants(self._demand.step(inputs, _STEP))
            pending = self._demand.pending
            self._knows_all |= not pending
            if not pending or (self._knows_all and self._hurried.is_set()):
                self._demand.report()
                return inputs
            await self._between_steps()
        return None

    async def _read(self) -> SchedulerInputs | None:
        while not self._read_nodes(_STEP):
            await self._between_steps()
        return self._inputs()

    async def _decide_due(self, cluster: Snapshot) -> None:
        """Decide the due IPs in steps, the most urgent first."""
        while (decided := self._state.decide(_STEP)) is not None:
            self._failovers.gather(decided, cluster)
            self._backlog.take(decided)
            self._reports.report_not_served(decided)
            self._reports.report_names(self._state.in_the_way)
            if not self._state.pending or self._hurried.is_set():  # the news may be more urgent
                return
            await self._between_steps()

    async def _between_steps(self) -> None:
        """Let everything else on the loop have its turn.

        What the first passes of a leadership make lives long. The garbage collector looks at it
        once: to do so again and again would hold the loop ever longer.
        """
        if self._starting:
            gc.collect(1)
            gc.freeze()
        await self._clock.sleep(0)

    async def _write(self, write: Write) -> None:
        """Write to a claim, then to the services that get an address by it."""
        try:
            claim = await self._writer.write(write)
        finally:
            self._landed.append(write.claim)
        if claim is not None:
            for name, one in self._allocator.claimed(claim).items():
                self._publication.revise(name, one, first=True)
        else:
            self._reports.report_deleted(write.claim, self._state.claims_of)

    async def _do(self, chore: Chore) -> None:
        try:
            await self._writer.do(chore)
        finally:
            self._landed.append(chore.claim)

    def _claim_written(self) -> None:
        """Ask for a pass soon, or at once after the last write."""
        self.trigger()
        if not self._writing():
            self._hurried.set()

    def _look_in(self, delay_s: float) -> None:
        """Ask for a pass at the end of a failed write's wait: one pass for many of them."""
        loop = asyncio.get_running_loop()
        apart_s = max(_LEAST_APART_S, _REST_AT_LEISURE * self._took_s)
        loop.call_at(apart_s * ceil((loop.time() + delay_s) / apart_s), self.trigger)

    def _writing(self) -> bool:
        return self._moves.busy or self._changes.busy

    def _busy(self) -> bool:
        return self._failovers.busy or any(lane.busy for lane in self._lanes())

    def _lanes(self) -> "tuple[_AnyLane, ...]":
        lanes = self._moves, self._changes, self._publication, self._chores
        return self._failovers.lane, *lanes
