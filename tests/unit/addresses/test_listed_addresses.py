"""An external IP that is up stays up when a Node object lists it; a node's own stays refused."""

import asyncio
from ipaddress import ip_address, ip_interface

import pytest

from extip.addresses.observation import AddressObserver, AddressOptions, Inputs
from extip.clock import LoopClock
from extip.guard.policy.reserved import Reserved
from extip.guard.policy.rules import Guard
from extip.guard.refusals import RefusalLedger
from extip.metrics import Metrics
from extip.services.policy.refusal import Reason
from extip.services.policy.requests import Masks, Owner, Requests, collect
from tests.fakes.interfaces import ETH0
from tests.fakes.link import FakeNode
from tests.fakes.recorder import RecordedEvents

OWNER = Owner(kind="Service", namespace="default", name="web", uid="u")
UP, NEW = "10.0.0.1", "10.0.0.2"
BOTH = frozenset(map(ip_address, (UP, NEW)))


class World:
    """A node, and an observer of it."""

    def __init__(self):
        self.node = FakeNode(LoopClock())
        self.index = self.node.add_link("eth0").index
        self.inputs = Inputs(requests=Requests())
        self.events = RecordedEvents()
        self.metrics = Metrics("test")
        self.ledger = RefusalLedger(self.events, self.metrics)
        options = AddressOptions(links=ETH0, guard=Guard(), ttl_s=30, refresh_s=10, resync_s=20)
        self.observer = AddressObserver(
            options, inputs=lambda: self.inputs, links=self.node.links, table=self.node.table
        )

    def want(self, *ips, established=(), listed=frozenset(), nodes=frozenset()):
        asked = collect([(OWNER, ips)], Masks(v4=32, v6=128).parse)
        self.inputs = Inputs(
            requests=Requests(wanted=asked.wanted, established=frozenset(established)),
            reserved=Reserved(nodes=listed | nodes, listed=listed),
        )

    def put(self, ip):
        number = self.node.insert(self.index, ip_interface(f"{ip}/32"), valid_s=30, ours=True)
        assert number == 0

    async def outcome(self):
        """Return what is wanted, and why the rest is not."""
        admission = (await self.observer.observe(refresh=False)).admission
        assert admission is not None
        self.ledger.record(admission)
        refused = {r.text: r.refusal.reason for r in admission.rejected}
        return {str(i.ip) for i in admission.wanted}, refused

    def counted(self):
        return self.metrics.registry.get_sample_value("extip_addresses_listed_by_nodes")


def test_what_is_up_here_stays_and_what_is_not_up_is_refused():
    async def scenario():
        world = World()
        world.put(UP)
        world.want(UP, NEW)
        assert await world.outcome() == ({UP, NEW}, {})
        world.want(UP, NEW, listed=BOTH)
        for _ in range(2):
            assert await world.outcome() == ({UP}, {NEW: Reason.NODE})
        assert world.events.recorded == [(OWNER.name, Reason.NODE), (OWNER.name, Reason.LISTED)]
        assert world.counted() == 1
        world.node.take("eth0", ip_interface(f"{UP}/32"))  # by hand: it comes back
        assert await world.outcome() == ({UP}, {NEW: Reason.NODE})
        world.want(UP, NEW)
        assert await world.outcome() == ({UP, NEW}, {})
        assert world.counted() == 0
        assert len(world.events.recorded) == 2

    asyncio.run(scenario())


def test_what_nobody_wants_any_more_is_a_nodes_from_then_on():
    async def scenario():
        world = World()
        world.put(UP)
        world.want(UP, listed=BOTH)
        assert await world.outcome() == ({UP}, {})
        world.want(listed=BOTH)
        assert await world.outcome() == (set(), {})
        world.node.take("eth0", ip_interface(f"{UP}/32"))
        world.want(UP, listed=BOTH)
        assert await world.outcome() == (set(), {UP: Reason.NODE})

    asyncio.run(scenario())


def test_what_was_up_on_another_node_may_come_here_although_that_lists_it():
    async def scenario():
        world = World()
        world.want(UP, NEW, established=[ip_address(UP)], listed=BOTH)
        assert await world.outcome() == ({UP}, {NEW: Reason.NODE})

    asyncio.run(scenario())


@pytest.mark.parametrize("up", [True, False])
def test_what_a_controller_tells_of_its_own_interfaces_is_refused_also_when_it_is_up(up):
    """That one knows by the kernel's marks that it is not an external IP."""

    async def scenario():
        world = World()
        if up:
            world.put(UP)
        world.want(UP, established=[ip_address(UP)], nodes=BOTH)
        assert await world.outcome() == (set(), {UP: Reason.NODE})
        assert world.counted() == 0

    asyncio.run(scenario())
