"""The scheduling loop writes what differs, survives an API that fails, and repeats nothing."""

import asyncio
import itertools
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import replace as replace_fields
from ipaddress import ip_address
from random import Random
from typing import cast

import pytest
from msgspec.structs import replace

from extip.api.conditions import find_condition
from extip.api.core_v1 import DetailedService
from extip.api.ipcontroller_v1 import ASSIGNED, IpClaim, IpClaimSpec, IpClaimStatus, IpNode
from extip.api.meta_v1 import Condition, FieldOwner, FullObjectMeta
from extip.cache.mutation import Overlay
from extip.clock import LoopClock
from extip.errors import ApiUnavailableError, ConflictError, InvalidRequestError, NotFoundError
from extip.guard.policy.reserved import Reserved
from extip.guard.policy.rules import Guard
from extip.kube.client import ApiClient
from extip.log import Logger
from extip.metrics import Metrics
from extip.net.interfaces import IPAddress
from extip.pools.allocator import Allocator
from extip.pools.policy.outcome import Allocation
from extip.scheduling.claim_store import ClaimStore
from extip.scheduling.events import PlacementEvents
from extip.scheduling.failovers import Failovers
from extip.scheduling.inputs import SchedulerInputs
from extip.scheduling.policy.filters import KubernetesNode, NodeFacts
from extip.scheduling.policy.placement import Strategy
from extip.scheduling.policy.snapshot import Snapshot
from extip.scheduling.scheduler import CONCURRENCY, ClaimScheduler
from extip.services.explicit_ips import ExplicitIPs
from extip.services.policy.refusal import Reason
from extip.services.policy.requests import Masks, Owner, Rejection, Request, collect
from tests.fakes.recorder import RecordingLogger
from tests.fakes.tasks import beside
from tests.fakes.virtual_time import run_virtually, virtually

LATENCY_S, WATCH_S = 0.005, 0.02
MASKS = Masks(v4=32, v6=128)
NODE_IPS = frozenset({ip_address("10.0.0.99")})


class WatchedCache(dict[str, IpClaim]):
    """A cache that tells its handlers which claim is another one, as an informer does."""

    def __init__(self):
        super().__init__()
        self.handlers = []

    def __setitem__(self, name, claim):
        super().__setitem__(name, claim)
        self._tell(name)

    def pop(self, name, default=None):
        found = super().pop(name, default)
        self._tell(name)
        return found

    def clear(self):
        for name in list(self):
            self.pop(name)

    def _tell(self, name):
        for handler in self.handlers:
            handler(name)


class ClaimServer:
    """IpClaims as an API server keeps them; the watch shows changes a little later."""

    def __init__(self):
        self.objects: dict[str, IpClaim] = {}
        self.cache = WatchedCache()
        self.writes: list[tuple[str, str]] = []
        self.tries: list[tuple[str, str]] = []
        self.error = None
        self.refused: set[str] = set()
        """Names of claims that cannot be created or changed."""
        self.held: set[str] = set()
        """Names of claims that cannot be deleted."""
        self.books = False
        """It does not stop to book who owns fields."""
        self.active: Counter[str] = Counter()
        self.most_active: Counter[str] = Counter()
        self._versions = itertools.count(1)

    async def create(self, claim):
        async with self._answering("create", claim):
            if claim.metadata.name in self.objects:
                raise ConflictError("exists")
            if claim.metadata.name in self.refused:
                raise InvalidRequestError("refused")
            owners = (FieldOwner(), FieldOwner())
            return self._store(claim, claim.metadata.labels, claim.spec, owners=owners)

    async def patch(self, claim, patch):
        async with self._answering(verb_of(patch), claim):
            if claim.metadata.name in self.refused:
                raise InvalidRequestError("refused")
            old = self._current(claim, patch)
            labels = {**(old.metadata.labels or {}), **patch["metadata"].get("labels", {})}
            changed = patch.get("spec", {})
            spec = IpClaimSpec(
                cidr=old.spec.cidr,
                node_name=changed.get("nodeName", old.spec.node_name) or "",
                standby=changed.get("standby", old.spec.standby) or "",
                services=changed.get("services", old.spec.services),
            )
            labels = {key: value for key, value in labels.items() if value is not None}
            owners = old.metadata.managed_fields if self.books else None
            annotations = patch["metadata"].get("annotations")
            return self._store(old, labels, spec, old.status.conditions, owners, annotations)

    async def patch_status(self, claim, patch):
        async with self._answering("status", claim):
            old = self._current(claim, patch)
            conditions: tuple[Condition, ...] = patch["status"]["conditions"]
            owners = old.metadata.managed_fields
            return self._store(old, old.metadata.labels, old.spec, conditions, owners)

    def put(self, claim):
        """Have a claim that a person made, in the cache as well."""
        self.objects[claim.metadata.name] = self.cache[claim.metadata.name] = claim

    def report_up(self, cidr):
        """Have a controller say that it has the IP of a claim up."""
        (claim,) = (c for c in self.objects.values() if c.spec.cidr == cidr)
        metadata = replace(claim.metadata, resource_version=str(next(self._versions)))
        status = replace(claim.status, holder=claim.spec.node_name)
        self.put(replace(claim, metadata=metadata, status=status))

    async def delete(self, claim):
        async with self._answering("delete", claim):
            if claim.metadata.name in self.held:
                raise ConflictError("the service is there")
            self._current(claim, {"metadata": {"resourceVersion": claim.metadata.resource_version}})
            del self.objects[claim.metadata.name]
            self._show(claim.metadata.name)

    @asynccontextmanager
    async def _answering(self, verb, claim):
        self.active[verb] += 1
        self.most_active[verb] = max(self.most_active[verb], self.active[verb])
        try:
            await asyncio.sleep(LATENCY_S)
            self.tries.append((verb, claim.metadata.name))
            if self.error is not None:
                raise self.error
            self.writes.append((verb, claim.metadata.name))
            yield
        finally:
            self.active[verb] -= 1

    def _current(self, claim, patch):
        old = self.objects.get(claim.metadata.name)
        if old is None:
            raise NotFoundError("gone")
        if patch["metadata"]["resourceVersion"] != old.metadata.resource_version:
            raise ConflictError("changed")
        return old

    def _store(self, claim, labels, spec, conditions=None, owners=None, annotations=None):
        name = claim.metadata.name
        metadata = FullObjectMeta(
            name=name,
            uid=name,
            labels=labels,
            creation_timestamp=claim.metadata.creation_timestamp,
            annotations=annotations or claim.metadata.annotations,
            resource_version=str(next(self._versions)),
            managed_fields=owners,
        )
        new = IpClaim(metadata=metadata, spec=spec, status=IpClaimStatus(conditions=conditions))
        self.objects[name] = new
        self._show(name)
        return new

    def _show(self, name):
        new = self.objects.get(name)

        def show():
            if new is None:
                self.cache.pop(name, None)
            else:
                self.cache[name] = new

        asyncio.get_running_loop().call_later(WATCH_S, show)


def verb_of(patch):
    """Return what a patch of the object itself is for."""
    fields = {*patch.get("spec", {})}
    return "standby" if fields == {"standby"} else "patch" if fields else "clear"


class NoPools:
    """An allocator without pools."""

    def __init__(self):
        self.forgotten = 0

    def forget(self):
        self.forgotten += 1

    def take_claims(self, changes):
        """Have no use for them."""

    take_explicit = take_claims

    pending = False

    def plan(self, _node_ips):
        return Allocation()

    def due(self, _allocation):
        return {}, None

    def claimed(self, _claim):
        return {}

    async def write(self, one):
        raise AssertionError(one)

    def failed(self, one, error):
        raise AssertionError(one, error)


class Written:
    """The IPs that the services of a world write, for a reader of what has changed."""

    pending = False

    def __init__(self, world):
        self._world = world
        self._told: dict[IPAddress, Request] = {}

    def changes(self, _most):
        before = self._told
        wanted = self._world.requests().wanted
        self._told = {one.ip: (one, owners) for one, owners in wanted.items()}
        ips = before.keys() | self._told.keys()
        return {ip: self._told.get(ip) for ip in ips if self._told.get(ip) != before.get(ip)}

    def forget(self):
        self._told = {}


class World:
    """The loop, its server, and what it is told."""

    def __init__(self, strategy=Strategy.FAIR, server=None, allocator=None):
        self.server = server or ClaimServer()
        self.moves = []
        self.rejected: list[frozenset[Rejection]] = []
        self.alive = {"n1", "n2", "n3"}
        self.steady: frozenset[str] = frozenset()
        self.refuses: dict[str, frozenset[IPAddress]] = {}
        self.records: dict[str, IpNode] = {}
        self.ips = ()
        self.names = ["web"]
        self.local: dict[str, frozenset[str]] = {}
        self.kubernetes: KubernetesNode | None = None
        self.not_there: list[tuple[str, str]] = []
        self.listed: frozenset[IPAddress] = frozenset()
        self.masks = MASKS
        clock = LoopClock()
        self.claims = Overlay(self.server.cache, clock=clock)
        self.server.cache.handlers.append(self.claims.on_object)
        self.metrics = Metrics("test")
        failovers = Failovers(
            self.records,
            cast("ApiClient", self.server),
            self.server.cache,
            since=lambda _node: float("-inf"),
            clock=clock,
        )
        self.server.cache.handlers.append(failovers.on_claim)
        self.scheduler = ClaimScheduler(
            strategy=strategy,
            guard=Guard(),
            inputs=self.inputs,
            read_nodes=self.read_nodes,
            explicit=cast("ExplicitIPs[DetailedService]", Written(self)),
            allocator=cast("Allocator", allocator or NoPools()),
            claims=self.claims,
            store=cast("ClaimStore", self.server),
            events=cast("PlacementEvents", self),
            failovers=failovers,
            on_admission=lambda admission: self.rejected.append(admission.rejected),
            clock=clock,
            rng=Random(1),  # noqa: S311 - repeatable
            metrics=self.metrics,
        )

    def read_nodes(self, _most):
        return True

    def succeeded_by(self, strategy):
        """Return a world with the same claims and another scheduler."""
        world = World(strategy, self.server)
        world.ips = self.ips
        return world

    def moved(self, claim, node, why):
        self.moves.append((claim.metadata.name, claim.spec.node_name, node, why))

    def contested(self, claim):
        raise AssertionError(claim)

    def taken_over(self, service, claim, by):
        """Take the news; nobody asks for it."""

    def not_served(self, service, claim):
        self.not_there.append((str(service), claim.spec.node_name))

    def requests(self):
        owners = [
            Owner(kind="Service", namespace="default", name=name, uid=name) for name in self.names
        ]
        return collect([(owner, self.ips) for owner in owners], self.masks.parse)

    def inputs(self):
        nodes = tuple(
            NodeFacts(
                name=n,
                alive=n in self.alive,
                refuses=self.refuses.get(n, frozenset()),
                kubernetes=self.kubernetes,
            )
            for n in ("n1", "n2", "n3")
        )
        return SchedulerInputs(
            rejected=replace_fields(self.requests(), wanted={}),
            reserved=Reserved(nodes=NODE_IPS | self.listed, listed=self.listed),
            cluster=Snapshot(
                nodes=nodes,
                registered={node.name: node.name for node in nodes},
                local_endpoints={f"default/{name}": found for name, found in self.local.items()},
            ),
            steady=self.steady,
        )

    async def ask(self, *ips, wait_s=1.0):
        self.ips = ips
        self.scheduler.trigger()
        await asyncio.sleep(wait_s)

    def placed(self):
        return {c.spec.cidr: c.spec.node_name for c in self.server.objects.values()}

    @asynccontextmanager
    async def running(self):
        async with beside(self.scheduler.run()):
            yield self


def assigned(claim):
    """Return the condition that every claim must have by now."""
    condition = find_condition(claim.status.conditions, ASSIGNED)
    assert condition is not None
    return condition


def hand_made(name, node, created):
    """Return a claim of one IP that a person pinned to a node."""
    metadata = FullObjectMeta(
        name=name, uid=name, creation_timestamp=f"2026-01-01T00:00:{created}Z", resource_version="0"
    )
    return IpClaim(metadata=metadata, spec=IpClaimSpec(cidr="10.0.0.1/32", node_name=node))


def ips(count):
    return tuple(f"10.0.{1 + n // 200}.{1 + n % 200}" for n in range(count))


@virtually
async def test_whoever_leads_no_more_forgets_what_was_allocated():
    pools = NoPools()
    world = World(allocator=pools)
    for ended in (1, 2):
        async with world.running():
            await world.ask(*ips(1))
            assert pools.forgotten == ended - 1
        assert pools.forgotten == ended


@virtually
async def test_whoever_led_once_collects_no_changes_of_claims_on_standby():
    """They would become ever more: nobody takes them until it leads again."""
    world = World()
    async with world.running():
        await world.ask(*ips(3))
    for number in range(100):
        world.server.cache[f"c{number}"] = hand_made(f"c{number}", "n1", "01")
        world.server.cache.pop(f"c{number}")
    assert world.claims.changes() == dict(world.server.cache), "some that are gone were kept"
    world.claims.forget()
    async with world.running():
        await world.ask(*ips(4))
        assert len(world.placed()) == 4
        assert not [verb for verb, _ in world.server.writes if verb == "delete"]


@virtually
async def test_a_claim_that_is_deleted_before_the_watch_has_our_last_write_is_made_again():
    """The list after the break does not have it, and nothing else happens."""
    async with World().running() as world:
        server, show = world.server, world.server._show
        broken: list[str] = []
        await world.ask(*ips(1), wait_s=0.1)
        server.report_up(f"{ips(1)[0]}/32")
        server._show = broken.append
        for _ in range(1000):
            await asyncio.sleep(0.01)
            if ("standby", *broken) in server.writes:
                break
        server.objects.clear()
        server._show = show
        server.cache.clear()
        await asyncio.sleep(60)
        assert len(world.placed()) == 1


@virtually
async def test_a_claim_that_is_up_stays_when_a_node_object_lists_its_ip():
    """A kubelet lists what it finds; an IP that is up nowhere yet is the node's."""
    async with World().running() as world:
        up, down = ips(2)
        await world.ask(up, down, wait_s=1.5)
        world.server.report_up(f"{up}/32")
        world.listed = frozenset(map(ip_address, (up, down)))
        await world.ask(up, down, "10.0.0.99")
        assert set(world.placed()) == {f"{up}/32"}
        refused = {r.text: r.refusal.reason for r in world.rejected[-1]}
        assert refused == {down: Reason.NODE, "10.0.0.99": Reason.NODE}
        await world.ask(down)
        assert world.placed() == {}


@virtually
async def test_each_claim_is_created_assigned_in_one_write_and_then_explained():
    async with World().running() as world:
        await world.ask(*ips(6), wait_s=1.5)
        assert sorted(world.placed().values()) == ["n1", "n1", "n2", "n2", "n3", "n3"]
        assert [verb for verb, _ in world.server.writes].count("create") == 6
        assert [verb for verb, _ in world.server.writes].count("patch") == 0
        for claim in world.server.objects.values():
            condition = assigned(claim)
            assert (condition.status, condition.message) == ("True", f"to {claim.spec.node_name}")
        await asyncio.sleep(5)
        done = len(world.server.writes)
        world.scheduler.trigger()
        await asyncio.sleep(5)
        assert len(world.server.writes) == done, "wrote again what was right"
        verbs = [verb for verb, _ in world.server.writes]
        assert (verbs.count("standby"), verbs.count("clear")) == (6, 0), "one write does both"
        assert not any(c.metadata.managed_fields for c in world.server.objects.values())


@virtually
async def test_a_new_claim_is_left_to_its_node_at_first():
    """Of two writes to a claim at once, one fails, and is made anew after a read."""
    async with World().running() as world:
        await world.ask("10.0.0.1", wait_s=0.1)
        world.server.report_up("10.0.0.1/32")
        await asyncio.sleep(0.3)
        assert [verb for verb, _ in world.server.tries] == ["create"]
        await asyncio.sleep(3)
        assert sorted(verb for verb, _ in world.server.tries) == ["create", "standby", "status"]
        (claim,) = world.server.objects.values()
        assert assigned(claim).message == f"to {claim.spec.node_name}"


@virtually
async def test_a_dead_nodes_claims_move_many_at_once_and_with_a_reason():
    async with World().running() as world:
        await world.ask(*ips(300), wait_s=3)
        before = world.placed()
        world.server.writes.clear()
        world.alive = {"n1", "n3"}
        world.scheduler.trigger()
        await asyncio.sleep(100 / CONCURRENCY * LATENCY_S + 0.05)
        assert "n2" not in world.placed().values()
        moved = {cidr for cidr, node in before.items() if node == "n2"}
        assert {cidr for cidr, node in world.placed().items() if before[cidr] != node} == moved
        assert all("no heartbeats" in why for *_, why in world.moves)
        await asyncio.sleep(3)
        patches = [name for verb, name in world.server.writes if verb == "patch"]
        assert len(patches) == len(moved)
        assert world.server.most_active["patch"] == CONCURRENCY


@virtually
async def test_refused_ips_get_no_claim():
    async with World().running() as world:
        await world.ask("10.0.0.99", "127.0.0.1", "10.0.0.1")
        assert set(world.placed()) == {"10.0.0.1/32"}
        assert {r.text for r in world.rejected[-1]} == {"10.0.0.99", "127.0.0.1"}


@virtually
async def test_nobody_eligible_is_said_in_the_claim():
    world = World()
    world.alive = set()
    async with world.running():
        await world.ask("10.0.0.1")
        (claim,) = world.server.objects.values()
        condition = assigned(claim)
        assert (condition.status, condition.reason) == ("False", "NoEligibleNode")
        assert "no heartbeats" in condition.message
        world.alive = {"n2"}
        world.scheduler.trigger()
        await asyncio.sleep(1)
        assert set(world.placed().values()) == {"n2"}


@virtually
async def test_an_api_server_that_fails_is_asked_again_with_patience():
    async with World().running() as world:
        world.server.error = ApiUnavailableError("no answer")
        await world.ask(*ips(3), wait_s=60)
        world.server.error = None
        await asyncio.sleep(30)
        assert len(world.placed()) == 3


@pytest.mark.parametrize("error", [ConflictError("changed"), NotFoundError("gone")])
def test_a_stale_decision_is_no_hot_loop(error):
    async def scenario():
        async with World().running() as world:
            world.server.error = error
            passes = len(world.rejected)
            await world.ask("10.0.0.1", wait_s=10)
            assert len(world.rejected) - passes < 150
            world.server.error = None
            await asyncio.sleep(1)
            assert len(world.placed()) == 1

    run_virtually(scenario())


@virtually
async def test_rebalances_gently_when_nothing_else_is_to_do():
    world = World()
    world.alive = {"n1", "n2"}
    async with world.running():
        await world.ask(*ips(60), wait_s=3)
        world.alive = {"n1", "n2", "n3"}
        world.scheduler.trigger()
        await asyncio.sleep(5)
        assert "n3" not in world.placed().values()
        world.steady = frozenset(world.alive)
        world.scheduler.trigger()
        for _ in range(20):  # each move is seen by the watch, as is much else
            world.scheduler.trigger()
            await asyncio.sleep(0.1)
        assert 6 <= list(world.placed().values()).count("n3") <= 10, "a few a second"
        await asyncio.sleep(10)
        assert sorted(map(list(world.placed().values()).count, world.alive)) == [20, 20, 20]


@virtually
async def test_while_services_go_one_after_the_other_no_other_ip_moves_to_and_fro():
    """Loads are uneven between two deletions, and even in the end."""
    world = World()
    async with world.running():
        await world.ask(*ips(30), wait_s=3)
        world.steady = frozenset(world.alive)
        placed = sorted(world.placed().items(), key=lambda one: (one[1], one[0]))
        for gone in range(1, 25):  # 8 of each node, node by node
            rest = [cidr for number, (cidr, _) in enumerate(placed) if number % 10 >= 8]
            left = placed[:10][gone:8] + placed[10:20][max(gone - 8, 0) : 8]
            left += placed[20:][max(gone - 16, 0) : 8]
            await world.ask(*(c.partition("/")[0] for c in (*rest, *dict(left))), wait_s=0.2)
        await asyncio.sleep(10)
        assert len(world.placed()) == 6
        assert world.moves == []


@virtually
async def test_loads_become_even_also_where_services_come_and_go_all_the_time():
    world = World()
    world.alive = {"n1", "n2"}
    async with world.running():
        await world.ask(*ips(30), wait_s=3)
        world.alive = {"n1", "n2", "n3"}
        world.steady = frozenset(world.alive)
        for number in range(30):
            await world.ask(*ips(30 + number % 2), wait_s=1)
        assert min(map(list(world.placed().values()).count, world.alive)) >= 10


@virtually
async def test_what_must_move_does_not_wait_for_what_may():
    world = World()
    world.alive = {"n1", "n2"}
    async with world.running():
        await world.ask(*ips(60), wait_s=3)
        world.alive = {"n1", "n2", "n3"}
        world.steady = frozenset(world.alive)
        world.scheduler.trigger()
        await asyncio.sleep(0.1)
        world.alive = {"n2", "n3"}
        world.scheduler.trigger()
        await asyncio.sleep(0.2)
        assert "n1" not in world.placed().values()


@virtually
async def test_first_alive_keeps_all_together():
    async with World(Strategy.FIRST_ALIVE).running() as world:
        await world.ask(*ips(9))
        (node,) = set(world.placed().values())
        world.alive -= {node}
        world.scheduler.trigger()
        await asyncio.sleep(1)
        (other,) = set(world.placed().values())
        assert other != node


@virtually
async def test_first_alive_brings_together_what_was_spread_before_it_gently():
    world = World()
    async with world.running():
        await world.ask(*ips(30), wait_s=3)
        assert set(world.placed().values()) == world.alive
    world = world.succeeded_by(Strategy.FIRST_ALIVE)
    async with world.running():
        world.scheduler.trigger()
        await asyncio.sleep(30)
        assert set(world.placed().values()) == world.alive, "rebalancing is off, or not due yet"
        world.steady = frozenset(world.alive)
        for _ in range(10):
            world.scheduler.trigger()
            await asyncio.sleep(0.1)
        assert 12 <= list(world.placed().values()).count("n1") <= 16, "a few a second"
        await asyncio.sleep(10)
        assert set(world.placed().values()) == {"n1"}
        assert len(world.moves) == 20


@virtually
async def test_two_claims_of_one_ip_that_people_pinned_apart_one_is_refused_in_its_condition():
    world = World()
    for name, node, created in (("hand-a", "n1", "01"), ("hand-b", "n2", "02")):
        world.server.put(hand_made(name, node, created))
    async with world.running():
        for _ in range(2):  # the watch tells of what was written
            world.scheduler.trigger()
            await asyncio.sleep(1)
        told = {name: assigned(c) for name, c in world.server.objects.items()}
        assert (told["hand-a"].status, told["hand-a"].message) == ("True", "to n1")
        assert (told["hand-b"].status, told["hand-b"].reason) == ("False", "DuplicateAddress")
        assert told["hand-b"].message == "claim hand-a holds the same IP"
        shown = world.server.writes
        assert shown.index(("status", "hand-b")) < shown.index(("patch", "hand-b")), "its label"
        world.alive = {"n2", "n3"}
        world.scheduler.trigger()
        await asyncio.sleep(2)
        told = {name: assigned(c).status for name, c in world.server.objects.items()}
        assert told == {"hand-a": "False", "hand-b": "True"}
        assert {n: c.spec.node_name for n, c in world.server.objects.items()} == {
            "hand-a": "n1",
            "hand-b": "n2",
        }


@virtually
async def test_what_cannot_be_written_keeps_nothing_else_waiting():
    world = World()
    world.alive = {"n1", "n2"}
    world.server.refused = {"10-0-1-1-32"}
    async with world.running():
        await world.ask(*ips(41), wait_s=5)
        claims = world.server.objects.values()
        assert len(claims) == 40
        assert all(assigned(claim).status == "True" for claim in claims)
        world.alive = {"n1", "n2", "n3"}
        world.steady = frozenset(world.alive)
        world.scheduler.trigger()
        await asyncio.sleep(10)
        assert list(world.placed().values()).count("n3") >= 13


@virtually
async def test_moves_that_are_refused_keep_no_others_waiting_and_are_told_once():
    world = World()
    world.alive = {"n1", "n2"}
    logger = RecordingLogger()
    world.scheduler._write_reports._log = cast("Logger", logger)
    async with world.running():
        await world.ask(*ips(40), wait_s=5)
        world.server.refused = {"10-0-1-1-32", "10-0-1-2-32"}
        world.server.writes.clear()
        world.alive = {"n1", "n2", "n3"}
        world.steady = frozenset(world.alive)
        world.scheduler.trigger()
        await asyncio.sleep(300)
        assert list(world.placed().values()).count("n3") >= 13
        assert logger.events().count("writes_failed") <= 1
        tries = [name for verb, name in world.server.tries if name in world.server.refused]
        assert len(tries) < 100


def assert_never_apart(server):
    """Assert that the claims of each IP, as the server has them, name one node."""
    nodes: dict[str, set[str]] = {}
    for claim in server.objects.values():
        if claim.spec.node_name:
            nodes.setdefault(claim.spec.cidr.split("/")[0], set()).add(claim.spec.node_name)
    assert all(len(found) == 1 for found in nodes.values()), nodes


@virtually
async def test_a_replaced_claim_that_cannot_be_deleted_is_with_its_successor():
    world = World()
    world.alive = {"n1", "n2"}
    async with world.running():
        await world.ask(*ips(12), wait_s=5)
        world.masks = Masks(v4=24, v6=128)
        world.server.held = set(world.server.objects)
        await world.ask(*ips(12), wait_s=5)
        assert len(world.server.objects) == 24
        world.alive = {"n1", "n2", "n3"}
        world.steady = frozenset(world.alive)
        world.scheduler.trigger()
        await asyncio.sleep(20)
        assert_never_apart(world.server)
        world.alive = {"n2", "n3"}
        world.scheduler.trigger()
        await asyncio.sleep(5)
        assert_never_apart(world.server)
        assert set(world.placed().values()) == {"n2", "n3"}
        world.server.held.clear()
        await asyncio.sleep(30)
        assert len(world.server.objects) == 12


@virtually
async def test_a_claim_that_gives_way_to_one_made_by_hand_goes_to_its_node_first():
    world = World()
    world.alive = {"n1"}
    async with world.running():
        await world.ask("10.0.1.1")
        world.alive = {"n1", "n2"}
        world.server.held = set(world.server.objects)
        meta = FullObjectMeta(name="mine", uid="m", resource_version="0", labels={"ipnode": "n2"})
        mine = IpClaim(metadata=meta, spec=IpClaimSpec(cidr="10.0.1.1/24", node_name="n2"))
        world.server.objects["mine"] = world.server.cache["mine"] = mine
        world.scheduler.trigger()
        await asyncio.sleep(5)
        assert_never_apart(world.server)
        world.server.held.clear()
        await asyncio.sleep(5)
        assert set(world.server.objects) == {"mine"}


@virtually
async def test_a_claim_whose_service_is_still_there_is_kept_and_the_rest_goes_on():
    async with World().running() as world:
        await world.ask(*ips(3))
        world.server.held = {"10-0-1-1-32"}
        world.server.writes.clear()
        await world.ask("10.0.1.2", "10.0.1.9", wait_s=60)
        assert set(world.placed()) == {"10.0.1.1/32", "10.0.1.2/32", "10.0.1.9/32"}
        assert all(assigned(claim) for claim in world.server.objects.values())
        tries = world.server.writes.count(("delete", "10-0-1-1-32"))
        assert 10 < tries < 80, "asks again, and not in a hot loop"
        world.server.held.clear()
        await asyncio.sleep(2)
        assert set(world.placed()) == {"10.0.1.2/32", "10.0.1.9/32"}


@virtually
async def test_a_new_mask_that_cannot_be_written_leaves_the_old_claim():
    async with World().running() as world:
        await world.ask("10.0.1.1")
        world.masks = Masks(v4=24, v6=128)
        world.server.refused = {"10-0-1-1-24"}
        await world.ask("10.0.1.1", wait_s=30)
        before = world.placed()
        assert set(before) == {"10.0.1.1/32"}
        world.server.refused.clear()
        await asyncio.sleep(30)
        assert world.placed() == {"10.0.1.1/24": before["10.0.1.1/32"]}


@virtually
async def test_a_claim_that_another_node_has_is_told_before_all_others():
    world = World()

    def pinned(name, ip, node):
        labels = {"ipnode": node}
        meta = FullObjectMeta(name=name, uid=name, resource_version="0", labels=labels)
        claim = IpClaim(metadata=meta, spec=IpClaimSpec(cidr=f"{ip}/32", node_name=node))
        world.server.objects[name] = world.server.cache[name] = claim

    for number, ip in enumerate(ips(300)):
        pinned(f"a-{number}", ip, "n1")
    pinned("z-1", "10.0.9.9", "n1")
    pinned("z-2", "10.0.9.9", "n2")
    async with world.running():
        await asyncio.sleep(5)
    assert assigned(world.server.objects["z-2"]).reason == "DuplicateAddress"
    told = [name for verb, name in world.server.writes if verb == "status"]
    assert len(told) == 302
    assert "z-2" in told[:CONCURRENCY]


@virtually
async def test_a_pinned_claim_gets_its_label_and_no_move_is_told():
    world = World()
    metadata = FullObjectMeta(name="mine", uid="u", resource_version="0")
    pinned = IpClaim(metadata=metadata, spec=IpClaimSpec(cidr="10.0.9.9/32", node_name="n2"))
    world.server.objects["mine"] = world.server.cache["mine"] = pinned
    async with world.running():
        await world.ask()
        world.alive = {"n1", "n3"}
        world.scheduler.trigger()
        await asyncio.sleep(1)
    claim = world.server.objects["mine"]
    assert (claim.spec.node_name, claim.metadata.labels) == ("n2", {"ipnode": "n2"})
    assert world.moves == []
    assert assigned(claim).message == "to n2"


@virtually
async def test_a_server_that_goes_on_to_book_owners_of_fields_is_asked_once_for_each_claim():
    async with World().running() as world:
        world.server.books = True
        await world.ask(*ips(100))
        await asyncio.sleep(60)
        verbs = [verb for verb, _ in world.server.writes]
        assert (verbs.count("standby"), verbs.count("clear")) == (100, 0)


def test_a_service_without_an_endpoint_where_its_ip_is_is_told_so_once():
    async def main():
        world = World()
        world.names, world.kubernetes = ["a", "b", "c"], KubernetesNode()
        world.local = {"a": frozenset({"n2"}), "b": frozenset({"n3"})}
        async with world.running():
            await world.ask("10.0.0.1")
            await world.ask("10.0.0.1")
            world.local = {"a": frozenset({"n2", "n3"}), "b": frozenset({"n3"})}
            await world.ask("10.0.0.1")
            world.local = {"a": frozenset({"n2"}), "b": frozenset({"n3"})}
            await world.ask("10.0.0.1")
        assert world.not_there == [("default/b", "n2"), ("default/a", "n3")]
        (claim,) = world.server.objects.values()
        condition = find_condition(claim.status.conditions, ASSIGNED)
        assert condition is not None
        assert condition.message.startswith("to n3, which has no ready endpoint of default/a")

    run_virtually(main())


def drift(world):
    return world.metrics.registry.get_sample_value("extip_scheduler_drift_total")


@virtually
async def test_decisions_at_rest_are_compared_with_new_ones_and_mended():
    world = World()
    async with world.running():
        await world.ask(*ips(100), wait_s=60)
        assert drift(world) == 0
        name = "10-0-1-7-32"
        claim = world.server.objects[name]
        strayed = replace(claim, spec=replace(claim.spec, node_name="nowhere"))
        world.server.put(strayed)
        world.scheduler._state._claims[name] = strayed  # as if the change had been overlooked
        await asyncio.sleep(60)
        assert drift(world) == 1
        assert world.placed()["10.0.1.7/32"] in world.alive
        await asyncio.sleep(60)
        assert drift(world) == 1


@virtually
async def test_decisions_are_not_compared_while_writes_are_made():
    """What is compared lags behind what is written, and nothing has been overlooked."""
    written = asyncio.Event()

    class Slow(ClaimServer):
        async def patch_status(self, claim, patch):
            await written.wait()
            return await super().patch_status(claim, patch)

    world = World(server=Slow())
    world.steady = frozenset(world.alive)
    async with world.running():
        await world.ask("10.0.0.1", wait_s=0.1)
        ((name, claim),) = world.server.objects.items()
        world.scheduler._state._claims[name] = replace(claim, spec=IpClaimSpec(cidr="10.0.0.1/32"))
        await asyncio.sleep(0.6)
        assert drift(world) == 0
        written.set()
        await asyncio.sleep(60)
        assert drift(world) == 0
        assert assigned(world.server.objects[name]).status == "True"
