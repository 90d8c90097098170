"""A new IP that a host route says is behind another interface is refused; nothing else is."""

import asyncio
from ipaddress import ip_address, ip_interface

from extip.addresses.observation import AddressObserver, AddressOptions, Inputs
from extip.clock import LoopClock
from extip.guard.policy.rules import Guard
from extip.net.interfaces import Operation
from extip.services.policy.refusal import Reason
from extip.services.policy.requests import Masks, Owner, Requests, collect
from tests.fakes.interfaces import ETH0
from tests.fakes.link import FakeNode

OWNER = Owner(kind="Service", namespace="default", name="web", uid="u")
POD, OTHER = "10.0.0.1", "10.0.0.2"


class World:
    """A node with a pod behind cali1, and an observer of it."""

    def __init__(self):
        self.node = FakeNode(LoopClock())
        self.index = self.node.add_link("eth0").index
        self.pods = self.node.add_link("cali1").index
        self.inputs = Inputs(requests=Requests())
        options = AddressOptions(links=ETH0, guard=Guard(), ttl_s=30, refresh_s=10, resync_s=20)
        self.observer = AddressObserver(
            options, inputs=lambda: self.inputs, links=self.node.links, table=self.node.table
        )

    def want(self, *ips):
        self.inputs = Inputs(requests=collect([(OWNER, ips)], Masks(v4=32, v6=128).parse))

    def route(self, ip, index):
        self.node.host_routes[ip_address(ip)] = index

    def put(self, ip):
        number = self.node.insert(self.index, ip_interface(f"{ip}/32"), valid_s=30, ours=True)
        assert number == 0

    async def look(self, **given):
        """Return what is to be added, and why other IPs are refused."""
        view = await self.observer.observe(refresh=False, **given)
        assert view.admission is not None
        adds = {str(c.interface.ip) for c in view.plan.changes if c.operation is Operation.ADD}
        return adds, {r.text: r.refusal for r in view.admission.rejected}

    def asked(self):
        """Return the IPs that were looked up since the last call."""
        found, self.node.looked_up = self.node.looked_up, []
        return sorted(map(str, found))


def test_a_pods_ip_is_refused_for_as_long_as_its_route_is_there():
    async def scenario():
        world = World()
        world.route(POD, world.pods)
        world.want(POD, OTHER)
        for _ in range(2):
            adds, refused = await world.look()
            assert adds == {OTHER}
            assert refused.keys() == {POD}
            assert refused[POD].reason is Reason.OTHER_LINK
            assert "cali1" in refused[POD].message
        world.node.host_routes.clear()
        assert await world.look() == ({POD, OTHER}, {})

    asyncio.run(scenario())


def test_what_is_up_is_not_looked_up_and_put_back_whatever_routes_say():
    async def scenario():
        world = World()
        world.put(POD)
        world.route(POD, world.pods)
        world.want(POD)
        assert await world.look() == (set(), {})
        world.node.take("eth0", ip_interface(f"{POD}/32"))  # by hand
        for _ in range(2):
            assert await world.look() == ({POD}, {})
        assert world.asked() == []
        world.want()
        await world.look()
        world.want(POD)  # it is new by now
        adds, refused = await world.look()
        assert (adds, refused.keys()) == (set(), {POD})

    asyncio.run(scenario())


def test_routes_that_lead_elsewhere_refuse_nothing():
    """To this interface itself, and to one that people put routes on to export them."""

    async def scenario():
        world = World()
        dummy = world.node.add_link("dummy0", announces=False).index
        for n, index in enumerate((world.index, dummy, 99), 1):
            world.route(f"10.0.1.{n}", index)
        world.want("10.0.1.1", "10.0.1.2", "10.0.1.3")
        assert await world.look() == ({"10.0.1.1", "10.0.1.2", "10.0.1.3"}, {})

    asyncio.run(scenario())


def test_what_nobody_wants_any_more_and_what_may_not_be_added_is_not_looked_up():
    async def scenario():
        world = World()
        world.route(POD, world.pods)
        world.want(POD, OTHER)
        await world.look()
        assert world.asked() == [POD, OTHER]
        world.want(OTHER)
        assert await world.look() == ({OTHER}, {})
        assert world.asked() == [OTHER]
        await world.look(extend=False)
        assert world.asked() == []

    asyncio.run(scenario())


def test_what_is_another_nodes_is_judged_beforehand_by_what_this_node_knows():
    async def scenario():
        world = World()
        await world.look()
        world.route(POD, world.pods)
        own = ip_interface("10.0.0.3/24")
        assert world.node.insert(world.index, own, valid_s=None, ours=False) == 0
        await world.look()
        asked = [ip_interface(f"{ip}/32") for ip in (POD, OTHER, "10.0.0.3", "10.0.0.255")]
        found = await world.observer.refusals(asked)
        assert {str(one.ip): refusal.reason for one, refusal in found.items()} == {
            POD: Reason.OTHER_LINK,
            "10.0.0.3": Reason.LOCAL,
            "10.0.0.255": Reason.BROADCAST,
        }

    asyncio.run(scenario())
