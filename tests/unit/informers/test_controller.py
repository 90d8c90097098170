"""What a controller wants on its interface, whatever the API server and its watches do."""

import asyncio
from collections import deque
from contextlib import asynccontextmanager
from ipaddress import ip_address
from random import Random
from typing import cast

import msgspec
import pytest

from extip.api.apiextensions_v1 import (
    CustomResourceDefinition,
    CustomResourceDefinitionStatus,
)
from extip.api.core_v1 import Node
from extip.api.ipcontroller_v1 import (
    IpClaim,
    IpClaimSpec,
    IpClaimStatus,
    IpNode,
    IpNodeStatus,
)
from extip.api.meta_v1 import Condition, FullObjectMeta
from extip.api.names import MANAGED_BY, MANAGED_BY_LABEL
from extip.api.resources import CUSTOM_RESOURCE_DEFINITIONS, IP_NODES, SERVICE_CIDRS
from extip.cache.listwatch import EventType, Page, WatchEvent
from extip.claims.policy.assignment import SETTLED_S
from extip.clock import LoopClock
from extip.definitions.kinds import Kinds
from extip.definitions.orphans import PATIENCE_S
from extip.errors import (
    ApiAccessError,
    ApiError,
    ApiUnavailableError,
    ExpiredError,
    NotFoundError,
)
from extip.informers.controller import ClaimInputs
from extip.kube.client import EVERYTHING, ApiClient
from extip.kube.events import EventRecorder
from extip.metrics import Metrics
from extip.services.policy.requests import Masks
from tests.fakes.interfaces import ETH0
from tests.fakes.tasks import beside
from tests.fakes.virtual_time import jump, run_virtually

TRUST_S = 4.0
HANDOVER_S = 5.0


class Api:
    """Claims, with watches by label that may lag behind or be cut off."""

    server_time_s = None

    def __init__(self):
        self.claims: dict[str, IpClaim] = {}
        self.nodes: dict[str, IpNode] = {}
        self.on_node_read = None
        """Called when an IpNode is read, which takes half a second then."""
        self.node_lag_s = 0.01
        """The delay of the watch of IpNodes."""
        self.revision = 10
        self.away = False
        self.lag_s = {"ipnode": 0.01, "ip-previous-node": 0.02, "ip-standby-node": 0.01}
        self.streams: list[_Stream] = []
        self.node_streams: list[asyncio.Queue[WatchEvent[IpNode]]] = []
        self.refusal: ApiError | None = None
        """The answer to new watches."""
        self.silent_about_kinds = False
        self.definition_reads = 0
        self.known: dict[str, asyncio.Event] = {}
        """Kinds that may be listed, by name; all by default."""
        self.listed: list[str] = []
        """Kinds of nodes that were listed."""
        self.definition: CustomResourceDefinition | None = CustomResourceDefinition(
            metadata=FullObjectMeta(uid="first")
        )

    async def addresses(self):
        return ("192.0.2.1",)

    def lister_watcher(self, resource, *, label_selector=""):
        if label_selector:
            return _Claims(self, label_selector)
        if resource is IP_NODES:
            self.known.setdefault(resource.plural, _happened())
            return _IpNodes(self)
        known = self.known.setdefault(resource.plural, _happened())
        return _Nodes(lambda: self.listed.append(resource.plural), known)

    def select(self, selector):
        key, value = selector.split("=")
        return tuple(c for c in self.claims.values() if (c.metadata.labels or {}).get(key) == value)

    async def list(self, resource, scope=EVERYTHING, *, resource_version="", limit=0):
        await asyncio.sleep(0.01)
        if self.away:
            raise ApiUnavailableError("away")
        if limit:
            return Page(items=(), resource_version=str(self.revision))
        if resource is SERVICE_CIDRS:
            raise NotFoundError("an old server", status=404)
        return Page(items=self.select(scope.label_selector), resource_version=str(self.revision))

    async def get(self, resource, *, name, namespace=""):
        await asyncio.sleep(0.01)
        if self.away:
            raise ApiUnavailableError("away")
        if resource is CUSTOM_RESOURCE_DEFINITIONS:
            self.definition_reads += 1
            if self.silent_about_kinds:
                raise ApiUnavailableError("no answer")
            if self.definition is None:
                raise NotFoundError("no such definition", status=404)
            return self.definition
        if resource is IP_NODES and self.on_node_read is not None:
            self.on_node_read()
            await asyncio.sleep(0.5)
        known = self.nodes if resource is IP_NODES else self.claims
        if name not in known:
            raise NotFoundError("gone", status=404)
        return known[name]

    # What people and schedulers do.

    def put(  # noqa: PLR0913
        self,
        name,
        node,
        *,
        ip="10.0.0.1",
        previous="",
        standby="",
        holder="",
        told=None,
        managed=False,
        generation=1,
    ):
        self.revision += 1
        labels = {"ipnode": node} | ({"ip-previous-node": previous} if previous else {})
        labels |= {"ip-standby-node": standby} if standby else {}
        labels |= {MANAGED_BY_LABEL: MANAGED_BY} if managed else {}
        up = Condition(type="Up", status="True") if holder else None
        conditions = tuple(condition for condition in (up, told) if condition is not None)
        before = self.claims.get(name)
        self.claims[name] = IpClaim(
            metadata=FullObjectMeta(
                name=name,
                resource_version=str(self.revision),
                labels=labels,
                generation=generation,
            ),
            spec=IpClaimSpec(cidr=f"{ip}/32", node_name=node, standby=standby),
            status=IpClaimStatus(conditions=conditions or None, holder=holder),
        )
        self.deliver(name, before, self.claims[name])

    def fail_over(self, node, **generations):
        """Name claims of a dead node that their standbys take; none, when each names its node."""
        self.revision += 1
        self.nodes[node] = IpNode(
            metadata=FullObjectMeta(name=node, resource_version=str(self.revision)),
            status=IpNodeStatus(failed_over=generations or None),
        )
        event = WatchEvent(EventType.MODIFIED, self.nodes[node])
        for stream in self.node_streams:
            asyncio.get_running_loop().call_later(self.node_lag_s, stream.put_nowait, event)

    def delete(self, name):
        self.revision += 1
        self.deliver(name, self.claims.pop(name), None)

    def deliver(self, name, before, after):
        for stream in self.streams:
            was, now = stream.selects(before), stream.selects(after)
            if now:
                stream.send(WatchEvent(EventType.MODIFIED, after))
            elif was:
                version = str(self.revision)
                meta = msgspec.structs.replace(before.metadata, resource_version=version)
                gone = msgspec.structs.replace(before, metadata=meta)
                stream.send(WatchEvent(EventType.DELETED, gone))

    def silence(self):
        """Let open streams fall silent, and nobody know."""
        for stream in self.streams:
            stream.lag_s = 1e9

    def end_watches(self, why=None):
        for stream in list(self.streams):
            stream.pending.append(why or ApiUnavailableError("ended"))
            stream.wake.set()

    def cut(self):
        self.away = True
        for stream in list(self.streams):
            stream.pending.append(ApiUnavailableError("cut"))
            stream.wake.set()


class _Stream:
    def __init__(self, api, selector):
        self.key, self.value = selector.split("=")
        self.lag_s = api.lag_s[self.key]
        self.pending: deque[WatchEvent[IpClaim] | ApiError] = deque()
        self.wake = asyncio.Event()

    def selects(self, claim):
        return claim is not None and (claim.metadata.labels or {}).get(self.key) == self.value

    def send(self, event):
        asyncio.get_running_loop().call_later(self.lag_s, self._arrive, event)

    def _arrive(self, event):
        self.pending.append(event)
        self.wake.set()

    def __aiter__(self):
        return self

    async def __anext__(self):
        while not self.pending:
            self.wake.clear()
            await self.wake.wait()
        event = self.pending.popleft()
        if isinstance(event, Exception):
            raise event
        return event


class _Claims:
    def __init__(self, api, selector):
        self.api, self.selector = api, selector

    async def list(self, *, resource_version):
        await asyncio.sleep(0.01)
        if self.api.away:
            raise ApiUnavailableError("away")
        return Page(items=self.api.select(self.selector), resource_version=str(self.api.revision))

    @asynccontextmanager
    async def watch(self, *, resource_version, timeout_s):
        await asyncio.sleep(0.01)
        if self.api.away:
            raise ApiUnavailableError("away")
        if self.api.refusal is not None:
            raise self.api.refusal
        stream = _Stream(self.api, self.selector)
        for claim in self.api.select(self.selector):
            stream.pending.append(WatchEvent(EventType.MODIFIED, claim))
        self.api.streams.append(stream)
        try:
            yield stream
        finally:
            self.api.streams.remove(stream)


def _happened():
    event = asyncio.Event()
    event.set()
    return event


class _Nodes:
    def __init__(self, on_list, known):
        self._on_list = on_list
        self._known = known

    async def list(self, *, resource_version):
        self._on_list()
        await self._known.wait()
        return Page(items=(), resource_version="1")

    @asynccontextmanager
    async def watch(self, *, resource_version, timeout_s):
        yield _Silence()


class _IpNodes:
    def __init__(self, api):
        self.api = api

    async def list(self, *, resource_version):
        self.api.listed.append("ipnodes")
        await self.api.known["ipnodes"].wait()
        return Page(items=tuple(self.api.nodes.values()), resource_version=str(self.api.revision))

    @asynccontextmanager
    async def watch(self, *, resource_version, timeout_s):
        stream: asyncio.Queue[WatchEvent[IpNode]] = asyncio.Queue()
        self.api.node_streams.append(stream)
        yield _Queued(stream)


class _Queued:
    def __init__(self, queue):
        self.queue = queue

    def __aiter__(self):
        return self

    async def __anext__(self):
        return await self.queue.get()


class _Silence:
    def __aiter__(self):
        return self

    async def __anext__(self) -> WatchEvent[Node]:
        await asyncio.get_running_loop().create_future()
        raise AssertionError("nothing ever happens to nodes")


class World:
    """The inputs of node n1, its heartbeat, and an interface that does what is wanted."""

    def __init__(self):
        self.api = Api()
        self.beating = True
        self.paused = False
        self.isolated = False
        self.up: frozenset[str] = frozenset()
        self.history: list[frozenset[str]] = []
        client, clock, metrics = cast("ApiClient", self.api), LoopClock(), Metrics("test")
        self.events = EventRecorder(client, clock=clock, metrics=metrics)
        self.kinds = Kinds(client, self.events, clock=clock, rng=Random(1), metrics=metrics)  # noqa: S311
        self.inputs = ClaimInputs(
            client,
            node="n1",
            links=ETH0,
            masks=Masks(),
            cache_valid_s=TRUST_S,
            cache_valid_at_most_s=TRUST_S,
            handover_s=HANDOVER_S,
            isolated=lambda _ip: self.isolated,
            is_up=lambda ip: str(ip) in self.up,
            kinds=self.kinds,
            on_change=self.apply,
            clock=clock,
            rng=Random(2),  # noqa: S311 - jitter
            metrics=metrics,
        )
        self.kinds.add_handler(self.inputs.wake)

    def now(self):
        return asyncio.get_running_loop().time()

    def apply(self):
        current = self.inputs.current()
        if current is None or self.paused:
            return
        self.up = frozenset(str(interface.ip) for interface in current.requests.wanted)
        if not self.history or self.history[-1] != self.up:
            self.history.append(self.up)
        self.inputs.drain_wait.trigger()

    async def beat(self):
        while True:
            if self.beating and not self.api.away:
                self.inputs.on_heartbeat(self.now())
            await asyncio.sleep(1)

    async def passes(self):
        while True:
            await asyncio.sleep(0.5)
            self.apply()

    @asynccontextmanager
    async def running(self):
        components = [component.run for component in self.inputs.components()]
        async with beside(*(run() for run in (*components, self.beat, self.passes))):
            await asyncio.sleep(1)
            yield self


def play(scenario):
    async def main():
        world = World()
        world.api.put("a", "n1")
        async with world.running():
            assert world.up == {"10.0.0.1"}
            await scenario(world)

    run_virtually(main())


@pytest.mark.parametrize("kind", ["nodes", "ipnodes"])
def test_nothing_comes_up_before_it_is_known_which_addresses_nodes_have(kind):
    """It could be the address of one of them."""

    async def main():
        world = World()
        known = world.api.known[kind]
        known.clear()
        world.api.put("a", "n1")
        async with world.running():
            await asyncio.sleep(30)
            assert world.inputs.current() is None
            assert world.up == frozenset()
            known.set()
            await asyncio.sleep(1)
            assert world.up == {"10.0.0.1"}

    run_virtually(main())


def test_nodes_are_not_read_for_claims_of_the_scheduler():
    """It has looked at them, and each of them changes every few minutes."""

    async def main():
        world = World()
        known = world.api.known["nodes"]
        known.clear()
        world.api.put("a", "n1", managed=True)
        async with world.running():
            assert world.up == {"10.0.0.1"}
            assert world.api.listed == ["ipnodes"]
            assert world.inputs.problem() == ""
            world.api.put("mine", "n1", ip="10.0.0.2")
            await asyncio.sleep(1)
            assert world.api.listed == ["ipnodes", "nodes"]
            assert "nodes" in world.inputs.problem()
            assert world.up == {"10.0.0.1"}  # 10.0.0.2 may be the address of a node
            world.api.put("more", "n1", ip="10.0.0.3", managed=True)
            await asyncio.sleep(0.1)
            assert world.up == {"10.0.0.1", "10.0.0.3"}
            world.api.put("a", "n2", previous="n1", holder="n2", managed=True)
            await asyncio.sleep(0.1)
            assert world.up == {"10.0.0.3"}  # and nothing else waits for that
            known.set()
            await asyncio.sleep(0.1)
            assert world.up == {"10.0.0.2", "10.0.0.3"}

    run_virtually(main())


def test_a_claim_made_by_hand_fails_over_without_waiting_for_nodes():
    """All survivors list them at that moment; the former holder had judged it."""

    async def main():
        world = World()
        known = world.api.known["nodes"]
        known.clear()
        world.api.put("a", "n1", managed=True)
        async with world.running():
            world.api.put("mine", "n1", ip="10.0.0.2", previous="n2", holder="n2")
            await asyncio.sleep(0.1)
            assert world.up == {"10.0.0.1", "10.0.0.2"}
            assert world.api.listed == ["ipnodes", "nodes"]
            known.set()  # from now on it is compared with them
            await asyncio.sleep(0.1)
            assert world.up == {"10.0.0.1", "10.0.0.2"}
            assert world.inputs.problem() == ""

    run_virtually(main())


def freeze(seconds):
    jump(seconds)


def test_a_claim_whose_label_and_node_disagree_is_not_ours():
    async def scenario(world):
        world.api.claims["a"] = msgspec.structs.replace(
            world.api.claims["a"], spec=IpClaimSpec(cidr="10.0.0.1/32", node_name="n2")
        )
        world.api.revision += 1
        meta = msgspec.structs.replace(world.api.claims["a"].metadata, resource_version="99")
        world.api.claims["a"] = msgspec.structs.replace(world.api.claims["a"], metadata=meta)
        world.api.deliver("a", None, world.api.claims["a"])
        await asyncio.sleep(HANDOVER_S + 1)
        assert world.up == frozenset()

    play(scenario)


def test_a_move_is_handed_over():
    async def scenario(world):
        world.api.put("a", "n2", previous="n1")
        await asyncio.sleep(2)
        assert world.up == {"10.0.0.1"}
        assert not world.inputs.together().claims
        world.api.put("a", "n2", previous="n1", holder="n2")
        await asyncio.sleep(0.1)
        assert world.up == frozenset()
        await asyncio.sleep(10)
        assert world.history == [{"10.0.0.1"}, frozenset()]

    play(scenario)


def test_a_node_that_nobody_hears_keeps_nothing_for_the_next_holder():
    """There is no gap to avoid, and when its network is mended two would answer."""

    async def scenario(world):
        world.isolated = True
        world.api.put("a", "n2", previous="n1")
        await asyncio.sleep(0.1)
        assert world.up == frozenset()

    play(scenario)


def test_a_move_whose_second_watch_is_late():
    async def scenario(world):
        for stream in world.api.streams:
            stream.lag_s = 0.4 if stream.key == "ip-previous-node" else 0.01
        world.api.put("a", "n2", previous="n1")
        await asyncio.sleep(2)
        assert world.up == {"10.0.0.1"}

    play(scenario)


def test_away_and_back_again_without_a_flap():
    async def scenario(world):
        world.api.put("a", "n2", previous="n1")
        await asyncio.sleep(0.1)
        world.api.put("a", "n1", previous="n2")
        await asyncio.sleep(20)
        assert world.history == [{"10.0.0.1"}]

    play(scenario)


def test_an_outage_changes_nothing_and_news_come_soon_after():
    async def scenario(world):
        world.api.cut()
        await asyncio.sleep(60)
        assert world.up == {"10.0.0.1"}
        world.api.claims.pop("a")
        world.api.put("a", "n1")
        world.api.put("b", "n1", ip="10.0.0.2")
        world.api.away = False
        await asyncio.sleep(3)
        assert world.up == {"10.0.0.1", "10.0.0.2"}
        assert world.history == [{"10.0.0.1"}, {"10.0.0.1", "10.0.0.2"}]

    play(scenario)


def test_what_was_moved_in_an_outage_is_not_handed_over():
    """Others went on without this node: it is in the way."""

    async def scenario(world):
        world.api.cut()
        await asyncio.sleep(30)
        world.api.put("a", "n2", previous="n1")
        world.api.away = False
        await asyncio.sleep(2)
        assert world.up == frozenset()

    play(scenario)


def test_what_the_watch_takes_away_goes_while_heartbeats_fail():
    async def scenario(world):
        world.beating = False
        await asyncio.sleep(30)
        world.api.put("a", "n2", previous="n1")
        await asyncio.sleep(0.1)
        assert world.up == frozenset()

    play(scenario)


def test_nothing_new_comes_up_while_only_the_watch_works():
    """The node may count as dead: what it is given now may be taken away before it is told."""

    async def scenario(world):
        world.api.away = True
        await asyncio.sleep(30)
        world.api.put("b", "n1", ip="10.0.0.2")
        await asyncio.sleep(2)
        assert world.up == {"10.0.0.1"}
        world.api.away = False
        await asyncio.sleep(2)
        assert world.up == {"10.0.0.1", "10.0.0.2"}

    play(scenario)


def test_a_loss_that_was_read_before_the_watch_tells_is_not_handed_over():
    async def scenario(world):
        for stream in world.api.streams:
            stream.lag_s = 3.0
        world.api.away = True
        await asyncio.sleep(30)
        world.paused = True  # a long pass over the interface
        world.api.put("a", "n2", previous="n1")
        world.api.away = False
        await asyncio.sleep(3.2)
        world.paused = False
        world.apply()
        assert world.up == frozenset()

    play(scenario)


def test_after_a_standstill_nothing_is_wanted_before_the_claims_are_read():
    async def scenario(world):
        world.api.put("a", "n2", previous="n1")  # not delivered before the standstill
        freeze(TRUST_S + 10)
        assert world.inputs.current() is None
        await asyncio.sleep(1)
        assert world.up == frozenset()
        assert world.history == [{"10.0.0.1"}, frozenset()]

    play(scenario)


def test_drain_ends_when_everything_is_up_elsewhere():
    async def scenario(world):
        waiting = asyncio.ensure_future(world.inputs.drain_wait.wait())
        await asyncio.sleep(1)
        world.api.put("a", "n2", previous="n1")
        await asyncio.sleep(1)
        assert not waiting.done()
        world.api.put("a", "n2", previous="n1", holder="n2")
        await asyncio.sleep(0.1)
        assert waiting.done()

    play(scenario)


def test_a_watch_that_tells_of_the_past_brings_no_claim_back():
    """The watch of former claims was opened again first, and has shown the claim elsewhere."""

    async def scenario(world):
        await asyncio.sleep(1)
        past = world.inputs.claims.store["a"]
        world.api.put("a", "n2", previous="n1", holder="n2")
        await asyncio.sleep(1)
        assert world.up == set()
        world.inputs.claims.store.put(past)
        world.inputs._on_claim("a")
        await asyncio.sleep(1)
        assert world.up == set()
        world.api.put("a", "n1", previous="n2", holder="n2")  # it really came back
        await asyncio.sleep(1)
        assert world.up == {"10.0.0.1"}

    play(scenario)


def test_a_claim_whose_move_a_restored_etcd_does_not_know_is_taken_again():
    """The watch of own claims lists the older state first, that of former claims later."""

    async def scenario(world):
        await asyncio.sleep(1)
        past = world.inputs.claims.store["a"]
        world.api.put("a", "n2", previous="n1", holder="n2")
        await asyncio.sleep(1)
        assert world.up == set()
        world.api.claims["a"] = past
        world.inputs.claims.store.put(past)
        world.inputs._on_claim("a")
        assert world.up == set()
        world.api.end_watches(ExpiredError("etcd was restored"))
        await asyncio.sleep(5)
        assert world.up == {"10.0.0.1"}

    play(scenario)


def test_drain_can_be_given_up():
    async def scenario(world):
        waiting = asyncio.ensure_future(world.inputs.drain_wait.wait())
        await asyncio.sleep(1)
        world.inputs.drain_wait.give_up()
        await asyncio.sleep(0)
        await waiting

    play(scenario)


IP = ip_address("10.0.0.1")


def test_whose_an_ip_is_is_asked_for():
    async def scenario(world):
        assert await world.inputs.is_ours(IP)
        assert not await world.inputs.is_ours(ip_address("10.0.0.9"))
        assert world.up == {"10.0.0.1"}

    play(scenario)


def test_the_ip_of_a_claim_that_the_scheduler_refused_is_given_up_at_once():
    """Another claim holds it, on a node that this one cannot see."""

    async def scenario(world):
        told = Condition(type="Assigned", status="False", reason="DuplicateAddress", message="b")
        world.api.put("a", "n1", told=told)
        await asyncio.sleep(0.1)
        assert world.up == frozenset()
        assert not await world.inputs.is_ours(IP)

    play(scenario)


@pytest.mark.parametrize("deleted", [False, True])
def test_a_claim_that_turns_out_to_have_left_is_not_handed_over(deleted):
    """Its new holder was heard: this node is in the way, whatever its watch will tell."""

    async def scenario(world):
        for stream in world.api.streams:
            stream.lag_s = 5.0
        if deleted:
            world.api.delete("a")
        else:
            world.api.put("a", "n2", previous="n1")
        await asyncio.sleep(0.1)
        assert world.up == {"10.0.0.1"}
        assert not await world.inputs.is_ours(IP)
        assert world.up == frozenset()
        assert not world.inputs.leaving()
        await asyncio.sleep(20)
        assert world.history == [{"10.0.0.1"}, frozenset()]

    play(scenario)


def test_an_ip_between_two_holders_is_leaving():
    async def scenario(world):
        world.api.put("a", "n2", previous="n1")
        await asyncio.sleep(0.5)
        assert world.inputs.leaving() == {IP}
        assert not await world.inputs.is_ours(IP)
        world.api.put("a", "n2", previous="n1", holder="n2")
        await asyncio.sleep(0.5)
        assert not world.inputs.leaving()

    play(scenario)


@pytest.mark.parametrize(("count", "lists"), [(3, False), (100, True)])
def test_a_few_claims_are_read_one_by_one_and_many_by_a_list(count, lists):
    async def scenario(world):
        for n in range(count):
            world.api.put(f"c{n}", "n1", ip=f"10.0.1.{n}")
        await asyncio.sleep(1)
        before = len(world.inputs.together().claims)
        assert before >= count
        scopes = []
        listed = world.api.list

        async def noted(resource, scope=EVERYTHING, *, resource_version=""):
            scopes.append(scope.label_selector)
            return await listed(resource, scope, resource_version=resource_version)

        world.api.list = noted
        world.inputs.freshness.invalidate()
        await asyncio.sleep(TRUST_S)
        assert world.inputs.freshness.is_fresh()
        assert ("ipnode=n1" in scopes) == lists
        assert len(world.inputs.together().claims) == before

    play(scenario)


def test_a_claim_that_a_dead_stream_missed_comes_up_once_that_is_doubted():
    async def scenario(world):
        await asyncio.sleep(5)
        world.api.silence()
        world.api.put("b", "n1", ip="10.0.0.2")
        await asyncio.sleep(3)
        assert world.up == {"10.0.0.1"}
        world.inputs.doubt(world.now() - 2)
        await asyncio.sleep(3)
        assert world.up == {"10.0.0.1", "10.0.0.2"}

    play(scenario)


# The kind ends, and comes back.


def delete_kind(api):
    """Its objects go first, once the definition has a deletion timestamp."""
    meta = msgspec.structs.replace(api.definition.metadata, deletion_timestamp="now")
    api.definition = msgspec.structs.replace(api.definition, metadata=meta)
    for name in list(api.claims):
        api.delete(name)


def bring_back(api):
    established = Condition(type="Established", status="True")
    api.definition = CustomResourceDefinition(
        metadata=FullObjectMeta(uid="second"),
        status=CustomResourceDefinitionStatus(conditions=(established,)),
    )


def test_claims_that_vanish_with_their_kind_stay_up_and_come_back_without_a_flap():
    async def scenario(world):
        delete_kind(world.api)
        await asyncio.sleep(2)
        world.api.definition = None
        await asyncio.sleep(600)
        assert world.inputs.held() == ("10.0.0.1/32",)
        assert "deleted" in world.kinds.problem()
        world.api.put("b", "n1", ip="10.0.0.2")
        bring_back(world.api)
        await asyncio.sleep(5)
        world.api.put("a", "n1")
        await asyncio.sleep(120)
        assert world.history == [{"10.0.0.1"}, {"10.0.0.1", "10.0.0.2"}]
        assert world.inputs.held() == ()
        assert world.kinds.problem() == ""

    play(scenario)


def test_a_claim_that_comes_back_on_another_node_is_handed_over():
    async def scenario(world):
        delete_kind(world.api)
        await asyncio.sleep(10)
        bring_back(world.api)
        await asyncio.sleep(3)
        world.api.put("a", "n2")
        await asyncio.sleep(2.5)
        assert world.up == {"10.0.0.1"}
        world.api.put("a", "n2", holder="n2")
        await asyncio.sleep(1)
        assert world.up == set()

    play(scenario)


def test_a_claim_that_nobody_makes_again_goes_after_a_while():
    async def scenario(world):
        delete_kind(world.api)
        await asyncio.sleep(600)
        bring_back(world.api)
        await asyncio.sleep(PATIENCE_S - 5)
        assert world.up == {"10.0.0.1"}
        await asyncio.sleep(20)
        assert world.up == set()

    play(scenario)


def test_a_reading_without_the_kind_takes_nothing_away():
    """After a silence the claims are read anew: then all of them are missing."""

    async def scenario(world):
        world.beating = False
        await asyncio.sleep(2 * TRUST_S)
        delete_kind(world.api)
        world.beating = True
        await asyncio.sleep(60)
        assert world.history == [{"10.0.0.1"}]
        assert await world.inputs.is_ours(ip_address("10.0.0.1"))

    play(scenario)


def test_a_deleted_claim_of_a_kind_that_stands_goes_as_fast_as_ever():
    async def scenario(world):
        world.api.delete("a")
        await asyncio.sleep(0.2)
        assert world.up == set()

    play(scenario)


def test_a_claim_that_was_moved_goes_though_nobody_tells_of_its_kind():
    """It is seen with its next node: that is no kind that ends, and two would have the IP."""

    async def scenario(world):
        world.api.silent_about_kinds = True
        world.api.put("a", "n2", previous="n1", holder="n2")
        await asyncio.sleep(1)
        assert world.up == set()
        world.api.put("a", "n1", previous="n2")
        await asyncio.sleep(1)
        assert world.up == {"10.0.0.1"}
        world.api.put("a", "n2", previous="n1")
        await asyncio.sleep(1)
        assert world.up == {"10.0.0.1"}, "until the next node has it up"
        await asyncio.sleep(HANDOVER_S)
        assert world.up == set()

    play(scenario)


def test_a_watch_of_claims_that_is_refused_is_told_at_once_and_other_trouble_later():
    async def scenario(world):
        assert world.inputs.unread() == ""
        world.api.refusal = ApiAccessError("RBAC does not allow it", status=403)
        world.api.end_watches()
        await asyncio.sleep(1)
        assert "RBAC" in world.inputs.unread()
        assert world.up == {"10.0.0.1"}
        world.api.refusal = None
        await asyncio.sleep(90)
        assert world.inputs.unread() == ""
        world.api.refusal = ApiUnavailableError("a proxy in between")
        world.api.end_watches()
        await asyncio.sleep(5)
        assert world.inputs.unread() == ""
        await asyncio.sleep(10)
        assert "a proxy" in world.inputs.unread()

    play(scenario)


def test_while_no_heartbeat_is_taken_either_it_is_the_server_that_is_away():
    """The first heartbeat after that would say so, and the node be given nothing for a moment."""

    async def scenario(world):
        world.beating = False
        world.api.refusal = ApiUnavailableError("nobody answers")
        world.api.end_watches()
        for _ in range(60):
            await asyncio.sleep(1)
            assert world.inputs.unread() == ""
        world.beating, world.api.refusal = True, None
        for _ in range(30):
            await asyncio.sleep(0.1)
            assert world.inputs.unread() == ""

    play(scenario)


def test_a_standby_takes_the_claims_that_the_node_of_a_dead_node_names():
    """Before the claims themselves name it, and without a gap when they do."""

    async def scenario(world):
        world.api.put("b", "n2", ip="10.0.0.2", standby="n1", managed=True, generation=3)
        world.api.put("c", "n2", ip="10.0.0.3", standby="n3", managed=True, generation=3)
        await asyncio.sleep(SETTLED_S)
        assert world.up == {"10.0.0.1"}
        world.api.fail_over("n2", b=3, c=3)
        await asyncio.sleep(0.1)
        assert world.up == {"10.0.0.1", "10.0.0.2"}
        world.api.lag_s["ipnode"] = 2.0
        world.api.put(
            "b", "n1", ip="10.0.0.2", previous="n2", standby="n1", managed=True, generation=4
        )
        world.api.fail_over("n2")
        await asyncio.sleep(5)
        world.api.put(
            "b", "n1", ip="10.0.0.2", previous="n2", standby="n3", managed=True, generation=5
        )
        await asyncio.sleep(5)
        assert world.history[-1] == {"10.0.0.1", "10.0.0.2"}
        assert len(world.history) == 2 + (world.history[0] == frozenset())

    play(scenario)


def test_a_claim_that_has_changed_is_not_taken_by_its_standby():
    async def scenario(world):
        world.api.put("b", "n2", ip="10.0.0.2", standby="n1", managed=True, generation=4)
        await asyncio.sleep(SETTLED_S)
        world.api.fail_over("n2", b=3)
        await asyncio.sleep(5)
        assert world.up == {"10.0.0.1"}

    play(scenario)


def test_a_claim_that_was_taken_and_goes_elsewhere_is_let_go():
    async def scenario(world):
        world.api.put("b", "n2", ip="10.0.0.2", standby="n1", managed=True, generation=3)
        await asyncio.sleep(SETTLED_S)
        world.api.fail_over("n2", b=3)
        await asyncio.sleep(0.1)
        assert world.up == {"10.0.0.1", "10.0.0.2"}
        world.api.put(
            "b",
            "n3",
            ip="10.0.0.2",
            previous="n2",
            standby="n1",
            holder="n3",
            managed=True,
            generation=4,
        )
        await asyncio.sleep(2)
        assert world.up == {"10.0.0.1"}

    play(scenario)


def test_a_claim_that_was_taken_is_let_go_when_a_reading_shows_it_elsewhere():
    """As where another station has its IP: both watches may be deaf."""

    async def scenario(world):
        ip = "10.0.0.2"
        world.api.put("b", "n2", ip=ip, standby="n1", managed=True, generation=3)
        await asyncio.sleep(SETTLED_S)
        world.api.fail_over("n2", b=3)
        await asyncio.sleep(0.1)
        for stream in world.api.streams:
            stream.lag_s = 60.0
        world.api.put("b", "n3", ip=ip, standby="n1", managed=True, generation=4)
        await asyncio.sleep(1)
        assert ip in world.up
        assert not await world.inputs.is_ours(ip_address(ip))
        await asyncio.sleep(HANDOVER_S + 1)
        assert ip not in world.up

    play(scenario)


def test_what_a_standby_gives_back_is_up_until_its_node_had_time_to_take_it():
    """The claim was never written. So its report of the node is from before the death."""

    async def scenario(world):
        known = {"ip": "10.0.0.2", "standby": "n1", "holder": "n2", "managed": True}
        world.api.put("b", "n2", **known, generation=3)
        await asyncio.sleep(SETTLED_S)
        world.api.fail_over("n2", b=3)
        await asyncio.sleep(0.1)
        world.api.fail_over("n2")
        await asyncio.sleep(8)
        assert world.up == {"10.0.0.1", "10.0.0.2"}
        await asyncio.sleep(HANDOVER_S)
        assert world.up == {"10.0.0.1"}

    play(scenario)


@pytest.mark.parametrize("each_s", [1 / 32, 0.0])
def test_a_thousand_claims_that_get_another_standby_cost_two_reads_of_the_definition_a_second(
    each_s,
):
    """So many do after a mass fail-over, 32 of them a second."""

    async def scenario(world):
        claims = {
            f"b{number}": f"10.0.{1 + number // 250}.{number % 250}" for number in range(1000)
        }
        for name, ip in claims.items():
            world.api.put(name, "n2", ip=ip, standby="n1", managed=True)
        await asyncio.sleep(SETTLED_S)
        watched = world.inputs.watches.to_take.store
        assert len(watched) == len(claims)
        reads, began = world.api.definition_reads, world.now()
        for name, ip in claims.items():
            world.api.put(name, "n2", ip=ip, standby="n3", managed=True)
            await asyncio.sleep(each_s)
        await asyncio.sleep(2)
        assert len(watched) == 0
        assert 1 <= world.api.definition_reads - reads <= 2 * (world.now() - began)

    play(scenario)


def test_a_node_that_was_away_takes_nothing_before_its_watches_have_caught_up():
    """They tell of the past, and of claims that others have by now."""

    async def scenario(world):
        world.api.put("b", "n2", ip="10.0.0.2", standby="n1", managed=True, generation=3)
        await asyncio.sleep(SETTLED_S)
        world.beating = False
        await asyncio.sleep(TRUST_S + 2)
        world.beating = True
        await asyncio.sleep(2)
        world.api.fail_over("n2", b=3)
        await asyncio.sleep(2 * SETTLED_S)
        assert world.up == {"10.0.0.1"}

    play(scenario)


def test_of_what_a_node_has_taken_it_lets_go_after_a_silence_what_others_have_by_then():
    async def scenario(world):
        world.api.put("b", "n2", ip="10.0.0.2", standby="n1", managed=True, generation=3)
        await asyncio.sleep(SETTLED_S)
        world.api.fail_over("n2", b=3)
        await asyncio.sleep(0.1)
        assert world.up == {"10.0.0.1", "10.0.0.2"}
        world.api.put("c", "n2", ip="10.0.0.3", standby="n1", managed=True, generation=3)
        world.api.fail_over("n2", b=3, c=3)
        await asyncio.sleep(0.1)
        assert world.up == {"10.0.0.1", "10.0.0.2", "10.0.0.3"}
        world.api.away = True
        world.api.silence()
        world.api.put("b", "n3", ip="10.0.0.2", previous="n2", managed=True, generation=4)
        await asyncio.sleep(TRUST_S + 2)
        assert len(world.up) == 3, "the API server may be away for all"
        world.api.away = False
        await asyncio.sleep(5)
        assert world.up == {"10.0.0.1", "10.0.0.3"}, "the other one is still its standby's"

    play(scenario)


async def lose_b(world):
    """Have n1 found dead while it has two claims, of which one has a standby."""
    world.api.put("b", "n1", ip="10.0.0.2", standby="n2", managed=True, generation=3)
    await asyncio.sleep(2)
    assert world.up == {"10.0.0.1", "10.0.0.2"}
    world.api.fail_over("n1", b=3)
    await asyncio.sleep(0.1)
    assert world.up == {"10.0.0.1"}, "it keeps nothing for the next holder"


def test_a_node_that_was_found_dead_has_its_claims_no_more():
    """Also when its watch of claims is behind that of nodes, until a claim is given to it anew."""

    async def scenario(world):
        await lose_b(world)
        world.api.fail_over("n1")
        await asyncio.sleep(4)
        assert world.up == {"10.0.0.1"}
        assert not await world.inputs.is_ours(ip_address("10.0.0.2"))
        world.api.put("b", "n1", ip="10.0.0.2", standby="", managed=True, generation=5)
        await asyncio.sleep(2)
        assert world.up == {"10.0.0.1", "10.0.0.2"}

    play(scenario)


def test_a_node_whose_fail_over_is_over_does_not_trust_a_watch_that_is_silent():
    """It still tells that the claim is this node's. So the claim itself is read."""

    async def scenario(world):
        await lose_b(world)
        changes = len(world.history)
        world.api.silence()
        world.api.put("b", "n2", ip="10.0.0.2", previous="n1", managed=True, generation=4)
        world.api.fail_over("n1")
        await asyncio.sleep(20)
        assert len(world.history) == changes
        world.api.put("b", "n1", ip="10.0.0.2", managed=True, generation=5)
        world.api.end_watches()
        await asyncio.sleep(5)
        assert world.up == {"10.0.0.1", "10.0.0.2"}

    play(scenario)


def test_a_node_that_is_back_after_a_fail_over_takes_new_claims_at_once():
    """Its watch has told where the others are: it need not wait for a heartbeat and a reading."""

    async def scenario(world):
        await lose_b(world)
        world.api.put("b", "n2", ip="10.0.0.2", previous="n1", managed=True, generation=4)
        await asyncio.sleep(0.1)
        readings = world.inputs.freshness.readings
        world.api.fail_over("n1")
        for number in range(3, 12):
            await asyncio.sleep(1)
            world.api.put(f"c{number}", "n1", ip=f"10.0.0.{number}", managed=True)
            await asyncio.sleep(0.05)
            assert f"10.0.0.{number}" in world.up
        assert "10.0.0.2" not in world.up
        assert world.inputs.freshness.readings == readings

    play(scenario)


def test_a_reading_after_a_silence_sees_which_claims_were_lost():
    """The watch of nodes is slow to tell; the claims still name this node."""

    async def scenario(world):
        world.api.put("b", "n1", ip="10.0.0.2", standby="n2", managed=True, generation=3)
        await asyncio.sleep(2)
        world.api.node_lag_s = 1000.0
        world.beating = False
        await asyncio.sleep(TRUST_S - 1)
        world.api.fail_over("n1", b=3)
        await asyncio.sleep(3)
        assert world.up == {"10.0.0.1"}

    play(scenario)


def test_a_fail_over_that_ends_during_a_reading_gives_the_node_nothing_back():
    """The claim was read before it went to its standby, and the IpNode after it was cleared."""

    async def scenario(world):
        await lose_b(world)
        world.api.silence()
        world.api.node_lag_s = 1000.0

        def end():
            world.api.on_node_read = None
            world.api.put("b", "n2", ip="10.0.0.2", standby="n2", managed=True, generation=4)
            world.api.fail_over("n1")

        world.api.on_node_read = lambda: asyncio.get_running_loop().call_later(0.3, end)
        world.beating = False
        await asyncio.sleep(TRUST_S + 3)
        assert world.api.on_node_read is None
        world.beating = True
        await asyncio.sleep(3)
        assert world.up == {"10.0.0.1"}

    play(scenario)


def test_what_a_standby_has_taken_stays_up_when_the_kind_of_claims_is_deleted():
    """It has the claim from another watch than its own, until the claim is made again for it."""

    async def scenario(world):
        world.api.put("b", "n2", ip="10.0.0.2", standby="n1", managed=True, generation=3)
        world.api.put("c", "n2", ip="10.0.0.3", standby="n1", managed=True, generation=3)
        await asyncio.sleep(SETTLED_S)
        world.api.fail_over("n2", b=3, c=3)
        await asyncio.sleep(0.1)
        assert world.up == {"10.0.0.1", "10.0.0.2", "10.0.0.3"}
        world.api.delete("c")  # a person did that
        await asyncio.sleep(1)
        assert world.up == {"10.0.0.1", "10.0.0.2"}
        changes = len(world.history)
        delete_kind(world.api)
        await asyncio.sleep(60)
        bring_back(world.api)
        await asyncio.sleep(3)
        world.api.put("a", "n1")
        world.api.put("b", "n1", ip="10.0.0.2", previous="n2", standby="n1", managed=True)
        world.api.fail_over("n2")
        await asyncio.sleep(2 * PATIENCE_S)
        assert len(world.history) == changes

    play(scenario)
