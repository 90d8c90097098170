"""One write for all claims of a dead node; the claims themselves are assigned after it."""

import asyncio
from collections.abc import Mapping
from contextlib import asynccontextmanager
from random import Random
from typing import cast

from msgspec.structs import replace

from extip.api.ipcontroller_v1 import IpClaim, IpClaimSpec, IpNode, IpNodeStatus
from extip.api.meta_v1 import FullObjectMeta
from extip.api.names import MANAGED_BY, MANAGED_BY_LABEL
from extip.clock import LoopClock
from extip.errors import ApiError, InvalidRequestError
from extip.kube.client import ApiClient
from extip.scheduling.failovers import (
    ACTS_AFTER_S,
    EACH_S,
    LEAST,
    MOST,
    PATCHED_AFTER_S,
    PATIENCE_S,
    Failovers,
)
from extip.scheduling.policy.filters import NodeFacts
from extip.scheduling.policy.schedule import AssignClaim, Decided, Schedule, SetWithdrawn
from extip.scheduling.policy.snapshot import Snapshot
from extip.writes.lanes import LaneContext, ServerContact
from tests.fakes.tasks import beside
from tests.fakes.virtual_time import virtually

LATENCY_S = 0.01
NODES = ("n1", "n2", "n3")


def claim(name: str, node: str = "n1", *, standby: str = "n2", generation: int = 3) -> IpClaim:
    labels = {MANAGED_BY_LABEL: MANAGED_BY}
    return IpClaim(
        metadata=FullObjectMeta(name=name, labels=labels, generation=generation),
        spec=IpClaimSpec(cidr="10.0.0.1/32", node_name=node, standby=standby),
    )


def record(name: str, failed_over: Mapping[str, int] | None = None) -> IpNode:
    named = None if failed_over is None else dict(failed_over)
    return IpNode(
        metadata=FullObjectMeta(name=name, resource_version="7"),
        status=IpNodeStatus(failed_over=named),
    )


def many(count: int = LEAST) -> list[IpClaim]:
    return [claim(f"c{number:02}") for number in range(count)]


def leave(claims: list[IpClaim], node: str = "n2") -> list[AssignClaim]:
    return [AssignClaim(claim=one, node=node, why="it is dead") for one in claims]


class World:
    """Failovers over an API server that keeps IpNodes."""

    def __init__(self) -> None:
        self.records = {name: record(name) for name in NODES}
        self.dead = {"n1"}
        self.back: set[str] = set()
        self.unknown: frozenset[str] = frozenset()
        self.claims: dict[str, IpClaim] = {}
        self.patches: list[tuple[str, object]] = []
        self.error: ApiError | None = None
        self.prunes = False
        self.latency_s = LATENCY_S
        self.passes = 0
        self.cached: dict[str, IpClaim] = {}
        self.written: dict[str, IpClaim] = {}
        """Claims of which the API server has another version than the decisions assume."""
        self.since: dict[str, float] = dict.fromkeys(NODES, -ACTS_AFTER_S)
        self.failovers = Failovers(
            self.records,
            cast("ApiClient", self),
            self.cached,
            since=self.since.get,
            clock=LoopClock(),
        )
        context = LaneContext(
            contact=ServerContact(lambda: None, LoopClock()),
            again=lambda _delay_s: None,
            clock=LoopClock(),
            rng=Random(1),  # noqa: S311 - repeatable
        )
        self.lane = self.failovers.begin(context, self._trigger)

    def _trigger(self) -> None:
        self.passes += 1

    async def patch(
        self, _kind: object, patch: dict[str, dict[str, object]], *, name: str, subresource: str
    ) -> IpNode:
        await asyncio.sleep(self.latency_s)
        assert subresource == "status"
        assert patch["metadata"] == {"resourceVersion": "7"}
        if self.error is not None:
            raise self.error
        named = cast("dict[str, int] | None", patch["status"]["failedOver"])
        self.patches.append((name, named))
        written = record(name, None if self.prunes else named)
        self.records[name] = written
        return written

    def snapshot(self) -> Snapshot:
        facts = tuple(
            NodeFacts(name=name, alive=name not in self.dead, back=name in self.back)
            for name in NODES
        )
        return Snapshot(nodes=facts, unknown=self.unknown)

    def decide(self, writes: list[AssignClaim]) -> None:
        """Take decisions, and do what a pass does after all of them."""
        self.claims |= {write.claim.metadata.name: write.claim for write in writes}
        schedule = Schedule(writes=tuple(writes), waiting={}, in_the_way={})
        decided = Decided(claims=(), schedule=schedule, before=frozenset())
        self.failovers.gather(decided, self.snapshot())
        self.step()

    def deliver(self) -> None:
        """Bring the cache up to date."""
        for name in {**self.cached, **self.claims}:
            new = self.written.get(name) or self.claims.get(name)
            if new is None:
                del self.cached[name]
            elif self.cached.get(name) is not new:
                self.cached[name] = new
            else:
                continue
            self.failovers.on_claim(name)

    def step(self) -> list[tuple[str, str]]:
        self.deliver()
        found = self.failovers.step(self.claims, self.snapshot())
        return [(one.claim.metadata.name, one.node) for one in found]

    def held(self, writes: list[AssignClaim]) -> int:
        return sum(self.failovers.holds_back(write) for write in writes)

    @asynccontextmanager
    async def running(self):
        async with beside(self.lane.run()):
            yield self


@virtually
async def test_many_claims_of_a_dead_node_fail_over_by_one_write_and_are_assigned_after_it():
    async with World().running() as world:
        writes = leave(many())
        world.decide(writes)
        assert world.held(writes) == LEAST, "before the write is answered"
        await asyncio.sleep(2 * LATENCY_S)
        assert world.patches == [("n1", {f"c{number:02}": 3 for number in range(LEAST)})]
        assert world.held(writes) == LEAST
        assert world.failovers.busy
        before = world.passes
        await asyncio.sleep(PATCHED_AFTER_S)
        assert world.passes > before
        assert world.held(writes) == 0
        assert not world.failovers.busy


@virtually
async def test_the_more_claims_fail_over_the_longer_their_standbys_are_left_alone():
    """Each patch is an event for a standby that is busy with the others."""
    count = 100 * LEAST
    async with World().running() as world:
        writes = leave(many(count))
        world.decide(writes)
        await asyncio.sleep(PATCHED_AFTER_S + 0.9 * EACH_S * count)
        assert world.held(writes) == count
        before = world.passes
        await asyncio.sleep(0.2 * EACH_S * count)
        assert world.passes > before
        assert world.held(writes) == 0


@virtually
async def test_few_claims_are_assigned_at_once():
    async with World().running() as world:
        writes = leave(many(LEAST - 1))
        world.decide(writes)
        assert world.held(writes) == 0
        await asyncio.sleep(1)
        assert world.patches == []


@virtually
async def test_claims_that_go_elsewhere_or_leave_a_living_node_are_assigned_at_once():
    async with World().running() as world:
        elsewhere = leave([claim(f"x{number}") for number in range(LEAST)], "n3")
        alive = leave([claim(f"y{number}", "n3") for number in range(LEAST)])
        world.decide([*elsewhere, *alive])
        assert world.held([*elsewhere, *alive]) == 0
        world.unknown = frozenset({"n1"})
        late = leave(many())
        world.decide(late)
        assert world.held(late) == 0
        await asyncio.sleep(1)
        assert world.patches == []


@virtually
async def test_a_claim_that_is_decided_otherwise_before_the_write_is_not_named():
    async with World().running() as world:
        writes = leave(many(LEAST + 1))
        decided = Schedule(writes=tuple(writes), waiting={}, in_the_way={})
        world.failovers.gather(
            Decided(claims=(), schedule=decided, before=frozenset()), world.snapshot()
        )
        world.decide(leave([writes[0].claim], "n3"))
        await asyncio.sleep(2 * LATENCY_S)
        ((_, named),) = world.patches
        assert "c00" not in cast("dict[str, int]", named)


@virtually
async def test_where_the_write_fails_each_claim_is_assigned_at_once():
    async with World().running() as world:
        world.error = InvalidRequestError("a webhook says no")
        writes = leave(many())
        world.decide(writes)
        await asyncio.sleep(2 * LATENCY_S)
        assert world.held(writes) == 0


@virtually
async def test_an_older_definition_that_drops_the_field_is_not_asked_again_for_a_while():
    async with World().running() as world:
        world.prunes = True
        writes = leave(many())
        world.decide(writes)
        await asyncio.sleep(2 * LATENCY_S)
        assert world.held(writes) == 0
        world.decide(writes)
        assert world.held(writes) == 0
        await asyncio.sleep(700)
        world.decide(writes)
        assert world.held(writes) == LEAST


@virtually
async def test_the_node_is_cleared_when_each_claim_names_its_new_node():
    async with World().running() as world:
        world.decide(leave(many()))
        await asyncio.sleep(1)
        world.step()
        await asyncio.sleep(1)
        assert len(world.patches) == 1
        for name, one in world.claims.items():
            moved = replace(one.spec, node_name="n2")
            world.claims[name] = replace(one, spec=moved)
        world.step()
        await asyncio.sleep(2 * LATENCY_S)
        assert world.patches[1:] == [("n1", None)]
        world.step()
        await asyncio.sleep(1)
        assert len(world.patches) == 2


@virtually
async def test_a_claim_that_has_failed_over_changes_in_no_other_way():
    """Its next generation would be its former node's again, which is dead."""
    world = World()
    world.records["n1"] = record("n1", {"a": 3})
    world.failovers.on_record("n1")
    assert world.failovers.holds_back(SetWithdrawn(claim("a"), withdrawn=True))
    assert not world.failovers.holds_back(SetWithdrawn(claim("b"), withdrawn=True))
    assert not world.failovers.holds_back(SetWithdrawn(claim("a", generation=4), withdrawn=True))


@virtually
async def test_a_standby_that_dies_with_what_it_took_gives_it_up():
    world = World()
    world.records["n1"] = record("n1", {"a": 3, "b": 3})
    world.failovers.on_record("n1")
    world.claims = {"a": claim("a"), "b": claim("b", standby="n3")}
    assert world.step() == []
    world.dead = {"n1", "n2"}
    assert world.step() == [("a", "")]
    world.unknown = frozenset({"n2"})
    assert world.step() == []


@virtually
async def test_a_node_that_is_heard_again_before_the_write_is_left_alone():
    async with World().running() as world:
        writes = leave(many())
        schedule = Schedule(writes=tuple(writes), waiting={}, in_the_way={})
        world.failovers.gather(
            Decided(claims=(), schedule=schedule, before=frozenset()), world.snapshot()
        )
        world.dead = set()
        world.step()
        await asyncio.sleep(1)
        assert world.patches == []


@virtually
async def test_the_node_is_not_cleared_while_a_write_of_a_claim_is_on_its_way():
    """It may fail. Then the standby would let go, and the claim would be nobody's."""
    async with World().running() as world:
        world.decide(leave(many()))
        await asyncio.sleep(1)
        world.written = dict(world.claims)
        for name, one in world.claims.items():
            world.claims[name] = replace(one, spec=replace(one.spec, node_name="n2"))
        world.step()
        await asyncio.sleep(1)
        assert len(world.patches) == 1
        world.written.clear()
        world.step()
        await asyncio.sleep(1)
        assert world.patches[1:] == [("n1", None)]


@virtually
async def test_claims_that_nobody_else_may_have_are_given_back_to_a_node_that_is_back():
    world = World()
    world.records["n1"] = record("n1", {"a": 3})
    world.failovers.on_record("n1")
    world.claims = {"a": claim("a")}
    assert world.step() == []
    world.back = {"n1"}
    assert world.step() == [("a", "")]


@virtually
async def test_a_node_that_is_back_waits_so_long_for_a_claim_that_cannot_be_written():
    async with World().running() as world:
        world.records["n1"] = record("n1", {"a": 3})
        world.failovers.on_record("n1")
        world.claims = {"a": claim("a")}
        world.back = {"n1"}
        world.step()
        await asyncio.sleep(PATIENCE_S - 1)
        world.step()
        assert world.patches == []
        before = world.passes
        await asyncio.sleep(2)
        assert world.passes > before
        world.step()
        await asyncio.sleep(1)
        assert world.patches == [("n1", None)]


@virtually
async def test_the_newest_version_of_the_node_is_cleared_though_our_answer_came_later():
    async with World().running() as world:
        newer = record("n1", {"a": 3})
        old = replace(newer, metadata=replace(newer.metadata, resource_version="6"))
        world.records["n1"] = old
        world.failovers.on_record("n1")
        world.records["n1"] = newer  # no handler was told yet
        world.step()
        await asyncio.sleep(1)
        assert world.patches == [("n1", None)]


@virtually
async def test_the_node_is_not_cleared_while_the_watch_is_behind_the_writes_before_its_death():
    """Their standbys were just written: the cache has an earlier version of each claim."""
    async with World().running() as world:
        writes = leave(many())
        for write in writes:
            one = write.claim
            meta = replace(one.metadata, generation=one.metadata.generation - 1)
            world.written[meta.name] = replace(one, metadata=meta)
        world.decide(writes)
        await asyncio.sleep(2 * LATENCY_S)
        world.step()
        await asyncio.sleep(2 * LATENCY_S)
        ((_, named),) = world.patches
        assert len(cast("dict[str, int]", named)) == LEAST
        assert world.held(writes) == LEAST
        world.written.clear()
        for name, one in world.claims.items():
            world.claims[name] = replace(one, spec=replace(one.spec, node_name="n2"))
        world.step()
        await asyncio.sleep(2 * LATENCY_S)
        assert world.patches[1:] == [("n1", None)]


@virtually
async def test_a_write_that_is_not_answered_delays_the_claims_no_longer():
    """The API server may be slow, and another write may be in its way."""
    async with World().running() as world:
        writes = leave(many())
        world.latency_s = 3.0
        world.decide(writes)
        await asyncio.sleep(PATCHED_AFTER_S / 2)
        assert world.held(writes) == LEAST
        before = world.passes
        await asyncio.sleep(PATCHED_AFTER_S)
        assert world.passes > before
        assert world.held(writes) == 0
        world.error = InvalidRequestError("too late")
        await asyncio.sleep(5)
        world.error, world.latency_s = None, LATENCY_S
        world.decide(writes)
        assert world.held(writes) == LEAST, "a later death begins anew"


@virtually
async def test_a_standby_that_was_away_a_moment_ago_is_not_named_for_its_claims():
    """It waits until the claims themselves name it, since its watches may tell of the past."""
    async with World().running() as world:
        world.since["n2"] = LoopClock().monotonic() - ACTS_AFTER_S + 1
        del world.since["n3"]  # the scheduler has never heard of it
        late = leave([claim(f"x{number}") for number in range(LEAST)])
        unknown = leave([claim(f"y{number}", standby="n3") for number in range(LEAST)], "n3")
        world.decide([*late, *unknown])
        assert world.held([*late, *unknown]) == 0, "they are assigned at once"
        await asyncio.sleep(1)
        assert world.patches == []
        world.decide(late)
        assert world.held(late) == LEAST


@virtually
async def test_a_claim_that_is_given_to_another_node_than_its_standby_does_not_wait():
    """Its standby died just after it was named. Nobody else brings the IP up meanwhile."""
    async with World().running() as world:
        writes = leave(many())
        world.decide(writes)
        gathered = leave([writes[0].claim], "n3")
        assert world.held(gathered) == 0
        await asyncio.sleep(2 * LATENCY_S)
        world.failovers.on_record("n1")
        assert world.held(writes) == LEAST
        assert world.held(leave([write.claim for write in writes], "n3")) == 0


@virtually
async def test_another_leadership_waits_as_long_for_a_node_that_is_back():
    async with World().running() as world:
        world.records["n1"] = record("n1", {"a": 3})
        world.failovers.on_record("n1")
        world.claims = {"a": claim("a")}
        world.back = {"n1"}
        world.step()
        await asyncio.sleep(PATIENCE_S + 1)
        world.failovers.forget()
        world.step()
        await asyncio.sleep(1)
        assert world.patches == []


@virtually
async def test_the_claims_that_do_not_fit_an_ipnode_are_assigned_at_once():
    async with World().running() as world:
        writes = leave(many(MOST + 1))
        world.decide(writes)
        assert world.held(writes) == MOST
        await asyncio.sleep(2 * LATENCY_S)
        ((_, named),) = world.patches
        assert len(cast("dict[str, int]", named)) == MOST
