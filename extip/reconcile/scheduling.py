"""Makes every wanted IP sit on a node that may hold it: one pass over all claims, level-triggered.

Runs only while this process leads. A pass plans over everything (`extip.plan.schedule`) and writes
what differs: moves off dead nodes first, then new claims, each a single write; conditions after
that. Our own writes count before the watch shows them, so that no pass undoes or repeats the last.

Every write carries a precondition or creates: a decision that went stale (a frozen leader that
thaws) fails at the API server instead of undoing its successor's. What cannot be written now, for
whatever reason, keeps nothing else waiting.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import inf
from random import Random
from typing import TypeVar

from extip import log
from extip.api.ipcontroller_v1 import IpClaim, ServiceReference
from extip.api.meta_v1 import Condition
from extip.cache.mutation import Overlay
from extip.clock import Clock
from extip.errors import ApiError, ConflictError, NotFoundError
from extip.metrics import Metrics
from extip.plan.assigned import assigned_condition
from extip.plan.backoff import Backoff
from extip.plan.claims import (
    Delete,
    SetServices,
    assignment_patch,
    has_field_owners,
    having,
    metadata_patch,
    services_patch,
    up_somewhere,
)
from extip.plan.cluster import Cluster
from extip.plan.conditions import with_condition
from extip.plan.contest import settle_contests
from extip.plan.desire import Desire, decide
from extip.plan.duplicates import DUPLICATE, is_refused
from extip.plan.guard import Guard, Surroundings, Verdicts
from extip.plan.history import Placed, placed
from extip.plan.link import IPInterface
from extip.plan.placement import Strategy
from extip.plan.requests import Requests
from extip.plan.reserved import Reserved
from extip.plan.schedule import (
    AssignClaim,
    CreateClaim,
    Schedule,
    Write,
    plan_rebalance,
    plan_schedule,
)
from extip.reconcile.put_off import PutOff, is_away
from extip.reconcile.scheduling_ports import AddressAllocator, ClaimStore, Historian
from extip.supervisor import for_each

T = TypeVar("T")

CONCURRENCY = 16
"""Writes at once: more gain little and make each of them slow."""

WRITE_S = 4.0
"""Bound on a write; below lease duration less renew deadline, so that it is over, one way or the
other, before another process may lead."""

_BATCH = 512
"""Writes after which a pass looks again at what has happened meanwhile."""

_LEISURELY = 64
"""Writes in a pass that nothing depends on, such as conditions, when none is more urgent."""

_REBALANCED = 2
"""Claims moved by one step of rebalancing."""

_REBALANCE_S = 0.5
"""Time between two such steps, whatever triggers passes meanwhile: each move does."""

_PUT_OFF_S = 1.0
"""Time after which such writes that failed are tried again."""

_YIELD_S = 0.001
"""Between batches: anything more urgent goes first."""

_RETRY = Backoff(initial_s=0.2, cap_s=15.0)
"""While the API server is away."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SchedulerInputs:
    """Everything that a pass decides over, but the claims themselves."""

    requests: Requests
    reserved: Reserved
    cluster: Cluster
    steady: frozenset[str]
    """Nodes that were alive for long enough to be given claims of others; empty: none are."""


@dataclass(slots=True)
class _Written:
    """What came of writing."""

    done: int = 0
    away: str = ""
    """Why nobody answered; empty when somebody did, be it by refusing."""


class ClaimScheduler:
    """The loop that creates, assigns, moves and deletes claims."""

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
        self._store = store
        self._historian = historian
        self._tell = decided
        self._clock = clock
        self._rng = rng
        self._metrics = metrics
        self._log = log.get_logger("scheduling")
        self._triggered = asyncio.Event()
        self._placed: dict[str, Placed] = {}
        self._cleared: set[str] = set()
        self._said: set[str] = set()
        self._not_served: frozenset[tuple[str, str, ServiceReference]] = frozenset()
        self._put_off = PutOff(clock=clock, rng=rng)
        self._in_vain = 0
        self._problem = ""
        self._rebalance_at = -inf

    def trigger(self) -> None:
        """Ask for a pass soon; many calls before it are one."""
        self._triggered.set()

    def retry(self) -> None:
        """Try at once what was put off: the API server is back."""
        self._put_off.clear()
        self._in_vain = 0
        self.trigger()

    async def run(self) -> None:
        """Pass over the claims whenever something may have changed; until cancelled."""
        self._claims.forget()
        self._placed.clear()  # another may have led meanwhile
        self._put_off.clear()
        self._in_vain = 0
        while True:
            self._triggered.clear()
            again_s = await self._pass()
            try:
                async with asyncio.timeout(again_s):
                    await self._triggered.wait()
            except TimeoutError:
                continue

    async def _pass(self) -> float | None:
        """Write what differs; return when to look again without a trigger, None for never."""
        inputs = self._inputs()
        if inputs is None:
            return None
        claims = list(self._claims.current().values())
        allocation = self._allocator.plan(claims, inputs.requests, inputs.reserved.single())
        requests = settle_contests(allocation.extend(inputs.requests), having(claims))
        kept = up_somewhere(claims, inputs.reserved.listed)
        self._verdicts = self._verdicts.within(Surroundings(reserved=inputs.reserved, kept=kept))
        desire = decide(requests, self._verdicts)
        self._tell(replace(desire, doubtful=frozenset()))  # who has those up tells of them
        wanted = {interface: requests.wanted[interface] for interface in desire.wanted}
        schedule = plan_schedule(
            wanted, claims, inputs.cluster, self._strategy, pools=allocation.pools()
        )
        self._tell_of(schedule.in_the_way)
        self._tell_not_served(claims, schedule.not_served)
        put_off = self._put_off.names()
        due = [write for write in schedule.writes if write.claim.metadata.name not in put_off]
        written = await self._write_all(due[:_BATCH])
        self._in_vain = self._in_vain + 1 if written.away and not written.done else 0
        self._settled(written.away)
        if written.done:
            return _YIELD_S
        again_s = self._put_off.next_s()
        if self._in_vain:
            again_s = _RETRY.delay_s(self._in_vain, self._rng.random())
        if self._in_vain > 1:
            return again_s
        # What cannot be written now keeps nothing else waiting.
        again_s = _sooner(again_s, await self._allocator.publish(allocation))
        for leisurely in (
            partial(self._write_conditions, claims, schedule),
            self._clear_field_owners,
            partial(self._rebalance, claims, inputs),
        ):
            if more_s := await leisurely():
                return _sooner(again_s, more_s)
        return again_s

    def _tell_of(self, in_the_way: Mapping[str, IPInterface]) -> None:
        """Say once of each claim that has the name of another IP's."""
        self._said &= in_the_way.keys()
        for name in sorted(in_the_way.keys() - self._said):
            self._said.add(name)
            ip = str(in_the_way[name].ip)
            reason = "this claim has its name and another cidr; delete or rename it"
            self._log.warning("claim_name_taken", claim=name, address=ip, reason=reason)

    def _tell_not_served(
        self, claims: Sequence[IpClaim], found: Mapping[str, tuple[ServiceReference, ...]]
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

    async def _rebalance(self, claims: Sequence[IpClaim], inputs: SchedulerInputs) -> float | None:
        """Move a few claims to where the strategy wants them, when nothing else is to do."""
        if not inputs.steady:
            return None
        wait_s = self._rebalance_at - self._clock.monotonic()
        if wait_s > 0:
            return wait_s
        moves = plan_rebalance(
            claims,
            inputs.cluster,
            steady=inputs.steady,
            limit=_REBALANCED,
            strategy=self._strategy,
            fixed=self._put_off.names(),
        )
        if moves:
            self._rebalance_at = self._clock.monotonic() + _REBALANCE_S
        written = await self._write_all(moves)
        if written.away and not written.done:
            self._rebalance_at += _PUT_OFF_S
        return _REBALANCE_S if moves else None

    async def _write_all(self, writes: Sequence[Write]) -> _Written:
        written = _Written()

        async def write(one: Write) -> None:
            name = one.claim.metadata.name
            try:
                async with asyncio.timeout(WRITE_S):
                    await self._write(one)
            except (ConflictError, NotFoundError) as error:
                self._log.debug("decision_was_stale", error=str(error))
                self._put_off.stale(name)
            except ApiError as error:
                if is_away(error):
                    written.away = written.away or str(error)
                else:
                    self._put_off.refused(name, error)
            except TimeoutError:
                written.away = written.away or f"no answer within {WRITE_S:.0f} s"
            else:
                written.done += 1
                self._put_off.done(name)

        await for_each(writes, write, limit=CONCURRENCY)
        return written

    async def _write(self, write: Write) -> None:
        match write:
            case CreateClaim(claim=claim):
                self._claims.wrote(await self._store.create(claim))
                self._log.info(
                    "claim_created", claim=claim.metadata.name, node=claim.spec.node_name
                )
            case AssignClaim(claim=claim, node=node, why=why):
                patched = await self._store.patch(claim, assignment_patch(claim, node))
                self._claims.wrote(patched)
                if node == claim.spec.node_name:
                    self._log.info("claim_labelled", claim=claim.metadata.name, node=node)
                    return
                self._placed[claim.metadata.name] = placed(
                    node, before=claim.spec.node_name, why=why, now=self._now()
                )
                self._log.info(
                    "claim_assigned",
                    claim=claim.metadata.name,
                    node=node,
                    before=claim.spec.node_name,
                    reason=why,
                )
                self._historian.moved(claim, node, why)
                self._metrics.claims_moved.inc()
            case SetServices(claim=claim):
                self._claims.wrote(await self._store.patch(claim, services_patch(write)))
            case Delete(claim=claim):
                await self._store.delete(claim)
                self._claims.deleted(claim)
                self._placed.pop(claim.metadata.name, None)
                self._cleared.discard(claim.metadata.uid)
                self._log.info("claim_deleted", claim=claim.metadata.name)

    async def _write_conditions(
        self, claims: Sequence[IpClaim], schedule: Schedule
    ) -> float | None:
        """Say of each claim where it was put or why it waits; return when to go on with it."""
        stale = [
            (claim, condition)
            for claim in claims
            if (
                condition := assigned_condition(
                    claim, schedule, past=self._placed.get(claim.metadata.name)
                )
            )
        ]

        # First what brings an IP up, or down, that may be on another node as well.
        stale.sort(key=lambda one: one[1].reason != DUPLICATE and not is_refused(one[0]))

        async def write(one: tuple[IpClaim, Condition]) -> IpClaim:
            claim, condition = one
            conditions = with_condition(claim.status.conditions, condition, now=self._now())
            patch = {"metadata": metadata_patch(claim), "status": {"conditions": conditions}}
            return await self._store.patch_status(claim, patch)

        return await self._at_leisure(stale, write)

    async def _clear_field_owners(self) -> float | None:
        """Have the API server forget who owns fields; return when to go on with it.

        Only a write of the whole object does that, not one of its status (Kubernetes 1.20 at
        least). It has time, but is worth it before many claims have to move at once. Each claim
        is tried once: whoever books owners again, or a server that does not listen, has the last
        word.
        """
        claims = self._claims.current().values()  # as this very pass may have left them
        booked = [c for c in claims if has_field_owners(c) and c.metadata.uid not in self._cleared]

        async def write(claim: IpClaim) -> IpClaim:
            written = await self._store.patch(claim, {"metadata": metadata_patch(claim)})
            self._cleared.add(claim.metadata.uid)
            return written

        return await self._at_leisure(booked, write)

    async def _at_leisure(
        self, pending: Sequence[T], write: Callable[[T], Awaitable[IpClaim]]
    ) -> float | None:
        """Write some of what nothing depends on; return when to go on, None when all was tried."""
        failed = False

        async def attempt(one: T) -> None:
            nonlocal failed
            try:
                async with asyncio.timeout(WRITE_S):
                    self._claims.wrote(await write(one))
            except (ApiError, TimeoutError) as error:
                self._log.debug("write_put_off", error=str(error))
                failed = True

        await for_each(pending[:_LEISURELY], attempt, limit=CONCURRENCY // 2)
        if failed:
            return _PUT_OFF_S
        return _YIELD_S if len(pending) > _LEISURELY else None

    def _now(self) -> str:
        return self._clock.utcnow().strftime("%Y-%m-%dT%H:%M:%SZ")

    def _settled(self, away: str) -> None:
        """Log trouble once when it begins and once when it is over."""
        count, refused = self._put_off.problem()
        problem = away or refused
        if problem and not self._problem:
            self._log.warning("writes_failed", count=max(count, 1), error=problem)
        elif self._problem and not problem:
            self._log.info("writes_succeeded")
        self._problem = problem


def _sooner(*delays_s: float | None) -> float | None:
    return min((delay_s for delay_s in delays_s if delay_s is not None), default=None)
