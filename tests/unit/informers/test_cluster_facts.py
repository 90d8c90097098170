"""Node by node, or all read at once: the facts are the same after any history."""

import asyncio
from datetime import UTC, datetime, timedelta
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace as changed

from extip.api.core_v1 import Node, NodeMeta, NodeStatus
from extip.api.ipcontroller_v1 import IpNode, IpNodeSpec, IpNodeStatus
from extip.api.meta_v1 import FullObjectMeta
from extip.api.names import heartbeat_lease
from extip.api.node_link import NodeLink
from extip.informers.cluster_facts import ClusterFacts
from extip.liveness.lease_content import LeaseContent, new_lease, renewed
from extip.scheduling.policy.snapshot import Snapshot
from extip.uplink.policy.isolation import Reachability
from tests.fakes.virtual_time import run_virtually
from tests.unit.informers.test_scheduler import Away, made

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
NAMES = ("n1", "n2", "n3")
NAME = st.sampled_from(NAMES)
RECORD = st.fixed_dictionaries(
    {
        "up": st.booleans(),
        "created": st.sampled_from(["", "2026-01-01T00:00:00Z"]),
        "held": st.sampled_from([None, ("10.0.0.1/32",), ("10.0.0.2/32",)]),
        "failed_over": st.sampled_from([None, None, {"a": 1}]),
        "draining": st.booleans(),
    }
)
EVENT = st.one_of(
    st.tuples(st.just("beat"), NAME, st.sampled_from([*Reachability, Reachability.REACHED])),
    st.tuples(st.just("beat"), NAME, st.just(Reachability.REACHED)),
    st.tuples(st.just("leave"), NAME, st.sampled_from(["", "drained"])),
    st.tuples(st.just("record"), NAME, RECORD),
    st.tuples(st.just("record"), NAME, st.none()),
    st.tuples(st.just("node"), NAME, st.sampled_from([None, "r1", "r2"])),
    st.tuples(st.just("unlease"), NAME, st.none()),
    st.tuples(st.just("die"), NAME, st.none()),
    st.tuples(st.just("acquit"), NAME, st.none()),
    st.tuples(st.just("sleep"), NAME, st.sampled_from([0.1, 0.3, 0.6, 3.0, 5.0, 61.0])),
)


class History:
    """The caches of a scheduler through a row of events."""

    def __init__(self):
        self.inputs = inputs = made(Away())
        for informer in inputs._informers():
            informer._synced.set()
        inputs._reserved._control_plane._read_once.set()
        inputs.monitor.watch_opened()
        self.versions = count(1)
        self.leaving: dict[str, str] = {}
        self.snapshots: list[Snapshot] = []
        self.steady: list[frozenset[str]] = []

    def facts(self):
        return self.inputs.facts.current(self.inputs._wishes.current())[0]

    def put(self, informer, new):
        key = informer.store.put(new)
        if key is not None:
            self.tell(informer, key)

    def tell(self, informer, key):
        for look in informer._handlers:
            look(key)

    def gone(self, informer, key):
        if informer.store.discard(key):
            self.tell(informer, key)

    def beat(self, name, said):
        number = next(self.versions)
        lease = renewed(
            new_lease(name, "x"),
            node=name,
            identity=name,
            terms=LeaseContent(
                heartbeat_s=2.0, reachability=said, leaving=self.leaving.get(name, "")
            ),
            now=BEGAN + timedelta(seconds=number),
        )
        metadata = changed(lease.metadata, resource_version=str(number))
        self.put(self.inputs.leases, changed(lease, metadata=metadata))

    def leave(self, name, why):
        self.leaving[name] = why
        self.beat(name, Reachability.REACHED)

    def record(self, name, what):
        if what is None:
            self.gone(self.inputs.ip_nodes, name)
            return
        links = (NodeLink(name="eth0", up=what["up"]),)
        self.put(
            self.inputs.ip_nodes,
            IpNode(
                metadata=FullObjectMeta(
                    name=name,
                    creation_timestamp=what["created"] or None,
                    resource_version=str(next(self.versions)),
                ),
                spec=IpNodeSpec(draining=what["draining"]),
                status=IpNodeStatus(
                    links=links, held=what["held"], failed_over=what["failed_over"]
                ),
            ),
        )

    def node(self, name, rack):
        if rack is None:
            self.gone(self.inputs._nodes, name)
            return
        version = str(next(self.versions))
        meta = NodeMeta(name=name, labels={"rack": rack}, resource_version=version)
        self.put(self.inputs._nodes, Node(metadata=meta, status=NodeStatus()))

    def unlease(self, name, _what):
        self.gone(self.inputs.leases, f"x/{heartbeat_lease(name)}")

    def die(self, name, _what):
        self.inputs.monitor._condemn(name)

    def acquit(self, name, _what):
        self.inputs.monitor.acquit(name)

    async def check(self):
        """Compare with facts that are read at once, by one that knows nothing yet."""
        inputs = self.inputs
        await asyncio.sleep(0)
        facts = inputs.facts
        anew = ClusterFacts(
            inputs.monitor,
            inputs.ip_nodes.store,
            inputs._uplinks,
            kubernetes=facts._kubernetes,
            ignored=frozenset(),
            rebalance_after_s=60.0,
            clock=inputs._clock,
        )
        wishes = inputs._wishes.current()
        facts.have_changed()  # a timer may be a moment late
        assert facts.current(wishes) == anew.current(wishes)
        snapshot, steady = facts.current(wishes)
        self.snapshots.append(snapshot)
        self.steady.append(steady)


def play(events):
    async def main():
        history = History()
        await history.check()
        for kind, name, what in events:
            if kind == "sleep":
                await asyncio.sleep(what)
            else:
                getattr(history, kind)(name, what)
            await history.check()
        return history

    return run_virtually(main())


@settings(max_examples=60, deadline=None)
@given(st.lists(EVENT, max_size=25))
def test_facts_that_follow_changes_are_those_that_are_read_at_once(events):
    play(events)


REACHED, ISOLATED = Reachability.REACHED, Reachability.ISOLATED
UP = {"up": True, "created": "", "held": None, "failed_over": None, "draining": False}
TOLD = [("record", name, UP) for name in NAMES]
HEARD = [("beat", name, REACHED) for name in NAMES]


def test_a_node_is_steady_from_its_time_on_though_nobody_tells():
    history = play([*TOLD, *HEARD, ("sleep", "n1", 59.8), ("sleep", "n1", 0.3)])
    assert history.steady[-2:] == [frozenset(), {*NAMES}]


def test_isolation_and_what_follows_from_it_is_seen():
    isolated = [*TOLD, *HEARD, ("beat", "n1", ISOLATED), ("sleep", "n1", 3.0), *HEARD[1:]]
    history = play([*isolated, ("sleep", "n1", 5.0)])
    (one,) = history.snapshots[-1].successors
    assert one.node == "n1"


@pytest.fixture
def looked(monkeypatch):
    """Return the names of the nodes that are looked at from now on."""
    names: list[str] = []
    look = ClusterFacts._look

    def noted(self, name):
        names.append(name)
        return look(self, name)

    monkeypatch.setattr(ClusterFacts, "_look", noted)
    return names


def test_a_change_costs_a_look_at_one_node(looked):
    async def main():
        history = History()
        for number in range(200):
            history.record(f"n{number}", UP)
        history.facts()
        assert len(looked) == 200
        looked.clear()
        history.record("n7", UP | {"draining": True})
        history.facts()
        assert looked == ["n7"]

    run_virtually(main())


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), EVENT), max_size=25))
def test_nodes_that_are_read_ahead_are_seen_when_all_are_read(events):
    async def main():
        history = History()
        for most, (kind, name, what) in events:
            seen = history.inputs.facts._cluster
            history.inputs.facts.read(most)
            assert history.inputs.facts._cluster is seen
            if kind == "sleep":
                await asyncio.sleep(what)
            else:
                getattr(history, kind)(name, what)
            if not most:
                await history.check()
        await history.check()

    run_virtually(main())


def test_nodes_that_are_heard_after_the_first_step_are_read_before_anything_is_decided():
    """Nobody tells of a first heartbeat. Without it the node is none whose liveness is unknown."""

    async def main():
        history = History()
        assert history.inputs.facts.read(1)
        history.record("n1", UP)
        assert history.inputs.facts.read(9)
        history.inputs.monitor.expect("n2")
        assert [one.name for one in history.facts().nodes] == ["n1", "n2"]

    run_virtually(main())


def test_a_node_that_is_read_ahead_is_seen_though_nothing_else_has_changed():
    async def main():
        history = History()
        history.record("n1", UP)
        history.facts()
        history.record("n1", UP | {"draining": True})
        facts = history.inputs.facts
        facts._stale = False
        assert facts.read(9)
        assert history.facts().nodes[0].draining

    run_virtually(main())


def test_no_node_is_read_before_the_caches_are_filled():
    async def main():
        history = History()
        history.record("n1", UP)
        history.inputs.claims._synced.clear()
        assert history.inputs.read_nodes(9)
        assert not history.inputs.facts._looked
        history.inputs.claims._synced.set()
        assert history.inputs.read_nodes(9)
        assert history.inputs.facts._looked == {"n1"}

    run_virtually(main())


def test_a_new_leader_reads_a_few_nodes_in_a_step(looked):
    async def main():
        history = History()
        for number in range(200):
            history.record(f"n{number}", UP)
        steps = [0]
        while not history.inputs.facts.read(64):
            steps.append(len(looked))
        assert steps == [0, 64, 128, 192]
        assert len(looked) == 200
        looked.clear()
        assert len(history.facts().nodes) == 200
        assert len(looked) <= 16

    run_virtually(main())


def test_a_change_that_nobody_told_of_is_found_in_the_end():
    async def main():
        history = History()
        for number in range(100):
            history.record(f"n{number}", UP)
        history.facts()
        history.inputs.ip_nodes.store.discard("n7")
        for number in range(20):  # others change all the time
            await asyncio.sleep(0.5)
            history.record("n8", UP | {"draining": number % 2 == 0})
            history.facts()
        assert "n7" not in {node.name for node in history.facts().nodes}

    run_virtually(main())
