"""A death that the segment tells of, and what looks like one; whole clusters in virtual time."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from ipaddress import ip_address
from random import Random

import pytest

from extip.api.resources import IP_CLAIMS, IP_NODES
from extip.net.interfaces import IPAddress
from extip.net.neighbour_events import NeighbourEvent
from extip.uplink.policy.suspicion import COMMON_S, WITNESSES
from tests.fakes.segment import FakeSegment
from tests.fakes.virtual_time import run_virtually
from tests.simulation.cluster import Cluster, Running

MONITOR_S, TTL_S = 4.0, 6.0
FAST_S = 1.2
NODES = ("n1", "n2", "n3", "n4", "n5")


class FaultySegment(FakeSegment):
    """Loses frames."""

    def __init__(self) -> None:
        super().__init__()
        self.dumb: set[bytes] = set()
        """Stations whose answers are lost."""
        self.deaf: set[bytes] = set()
        """Stations whose questions are lost."""
        self.apart: set[frozenset[bytes]] = set()
        """Pairs of stations that do not hear each other."""
        self.dumb_about: set[IPAddress] = set()
        """Addresses that nobody gets an answer about."""
        self.lost = 0.0
        """Part of the frames that is lost."""
        self.frames: Counter[bytes] = Counter()
        """The number of frames that each station has sent."""
        self._rng = Random(7)  # noqa: S311 - a simulation's chance

    def say(self, event: NeighbourEvent, **to: bytes) -> None:
        self.frames[event.mac] += 1
        if event.mac not in self.dumb & self.deaf:
            super().say(event, **to)

    def reached(self, ip: IPAddress, mac: bytes, /) -> list[bytes]:
        self.frames[mac] += 1
        if mac in self.deaf or ip in self.dumb_about:
            return []
        found = [
            station
            for station in super().reached(ip, mac)
            if station not in self.dumb
            and frozenset({station, mac}) not in self.apart
            and self._rng.random() < (1 - self.lost) ** 2
        ]
        self.frames.update(found)
        return found


class World(Cluster):
    """Controllers on all nodes, one scheduler, and an IP on each node."""

    def __init__(self, *nodes: str, **flags: object) -> None:
        super().__init__()
        self.wire = self.segment = FaultySegment()
        self.nodes = nodes
        self.controllers: dict[str, Running] = {}
        self.gateway: IPAddress | None = None
        self._flags = flags

    async def start(self) -> None:
        """Return when each node has its IP, and knows its neighbours."""
        for node in self.nodes:
            network = self.add_node(node)
            if self.gateway is not None:
                network.node.gateways = {self.gateway}
        self.scheduler = self.start_scheduler("s1", monitor_s=MONITOR_S)
        for node in self.nodes:
            self.controllers[node] = self.start_controller(node, **self._flags)
        await asyncio.sleep(5.0)
        self.ips = self.wanted()
        for ip in self.ips:
            self.add_service(f"web-{ip.replace('.', '-')}", ip)
        await self.until(lambda: all(map(self.holders, self.ips)), within_s=10.0)
        await asyncio.sleep(10.0)

    def wanted(self) -> list[str]:
        """Return the IPs to bring up, one for each node."""
        return [f"10.88.1.{number}" for number in range(1, len(self.nodes) + 1)]

    def ip_of(self, node: str) -> str:
        return next(ip for ip in self.ips if self.holders(ip) == {node})

    def mac(self, node: str) -> bytes:
        return self.networks[node].node.find("eth0").mac

    def placed(self) -> dict[str, str]:
        return {c["metadata"]["name"]: c["spec"]["nodeName"] for c in self.api.all(IP_CLAIMS)}

    def silent(self) -> set[str]:
        """Return the nodes that others call silent."""
        return {name for name in self.networks if self.witnesses(name)}

    def witnesses(self, node: str) -> list[str]:
        """Return who calls a node silent."""
        return [
            record["metadata"]["name"]
            for record in self.api.all(IP_NODES)
            if node in (record["status"].get("silent") or ())
        ]

    async def power_off(self, node: str) -> None:
        """End the node: nothing on it answers any more."""
        self.wire.dumb.add(self.mac(node))
        self.wire.deaf.add(self.mac(node))
        await self.controllers[node].kill()

    def unplug(self, *nodes: str) -> None:
        """Have the ports of nodes lead nowhere; their interfaces keep their carrier."""
        for node in nodes:
            self.wire.dumb.add(self.mac(node))
            self.wire.deaf.add(self.mac(node))

    def plug(self, *nodes: str) -> None:
        for node in nodes:
            self.wire.dumb.discard(self.mac(node))
            self.wire.deaf.discard(self.mac(node))

    async def taken_over(self, ip: str, *, from_node: str, within_s: float) -> float:
        """Wait until another node has the IP; return how long that took."""
        return await self.until(lambda: self.holders(ip) - {from_node}, within_s=within_s)


def play(scenario: Callable[[World], Awaitable[None]], *nodes: str, **flags: object) -> None:
    async def main() -> None:
        world = World(*(nodes or NODES[:3]), **flags)
        async with world.living():
            await world.start()
            await scenario(world)

    run_virtually(main())


@pytest.mark.parametrize("count", [3, 5])
def test_the_ip_of_a_node_that_loses_power_is_back_in_about_a_second(count: int) -> None:
    async def scenario(world: World) -> None:
        ip = world.ip_of("n2")
        await world.power_off("n2")
        await world.taken_over(ip, from_node="n2", within_s=FAST_S)

    play(scenario, *NODES[:count])


def test_deaths_in_turn_are_each_noticed_on_the_segment() -> None:
    """A node is back, and a while later the one that has its IP dies."""

    async def scenario(world: World) -> None:
        ip = world.ip_of("n2")
        for _ in range(4):
            (node,) = world.holders(ip)
            await world.power_off(node)
            await world.taken_over(ip, from_node=node, within_s=FAST_S)
            await asyncio.sleep(COMMON_S)
            world.plug(node)
            world.controllers[node] = world.start_controller(node)
            await asyncio.sleep(3.0)

    play(scenario)


@pytest.mark.parametrize("later_s", [0.0, 2.5, 5.0, 7.5])
def test_a_node_that_has_just_come_is_watched_soon(later_s: float) -> None:
    async def scenario(world: World) -> None:
        await asyncio.sleep(later_s)
        world.add_node("n4")
        world.controllers["n4"] = world.start_controller("n4")
        await asyncio.sleep(7.0)
        await world.power_off("n4")
        await world.until(lambda: len(world.witnesses("n4")) >= WITNESSES, within_s=FAST_S)

    play(scenario)


def test_the_ip_of_a_node_whose_port_is_dead_is_back_in_about_a_second() -> None:
    async def scenario(world: World) -> None:
        ip = world.ip_of("n2")
        world.unplug("n2")
        await world.taken_over(ip, from_node="n2", within_s=FAST_S)
        await world.until(lambda: "n2" not in world.holders(ip), within_s=1.0)

    play(scenario)


def test_one_of_two_nodes_is_replaced_at_once_while_a_gateway_hears_the_other() -> None:
    async def main() -> None:
        world = World("n1", "n2")
        async with world.living():
            world.gateway = ip_address("192.0.2.254")
            world.wire.holders[world.gateway] = b"\2\0\0\0\1\1"
            await world.start()
            ip = world.ip_of("n2")
            await world.power_off("n2")
            await world.taken_over(ip, from_node="n2", within_s=FAST_S)

    run_virtually(main())


def test_of_two_nodes_alone_neither_knows_who_is_cut_off() -> None:
    async def scenario(world: World) -> None:
        ip = world.ip_of("n2")
        await world.power_off("n2")
        took_s = await world.taken_over(ip, from_node="n2", within_s=MONITOR_S + 1.0)
        assert took_s > MONITOR_S / 2

    play(scenario, "n1", "n2")


def test_nodes_that_do_not_hear_each_other_keep_their_ips_when_all_others_hear_both() -> None:
    async def scenario(world: World) -> None:
        before = world.placed()
        world.wire.apart.add(frozenset({world.mac("n2"), world.mac("n3")}))
        await asyncio.sleep(20.0)
        assert world.placed() == before
        assert world.silent(), "the fault was noticed"

    play(scenario, *NODES)


def test_halves_of_a_segment_that_do_not_hear_each_other_move_nothing() -> None:
    async def scenario(world: World) -> None:
        before = world.placed()
        for here in NODES[:2]:
            for there in NODES[2:]:
                world.wire.apart.add(frozenset({world.mac(here), world.mac(there)}))
        await asyncio.sleep(20.0)
        assert world.placed() == before

    play(scenario, *NODES)


@pytest.mark.parametrize("count", [2, 3])
def test_a_fifth_of_all_frames_may_be_lost(count: int) -> None:
    async def scenario(world: World) -> None:
        before = world.placed()
        world.wire.lost = 0.2
        await asyncio.sleep(120.0)
        assert world.placed() == before

    play(scenario, *NODES[:count])


def test_a_node_whose_firewall_begins_to_drop_questions_keeps_its_ip() -> None:
    """It is deaf to neighbours, but objects: its own questions are answered."""

    async def scenario(world: World) -> None:
        before = world.placed()
        world.wire.dumb.add(world.mac("n2"))
        await asyncio.sleep(20.0)
        assert world.silent() == {"n2"}
        assert world.placed() == before

    play(scenario)


def test_nodes_whose_firewalls_drop_all_questions_are_replaced_as_slowly_as_ever() -> None:
    async def main() -> None:
        world = World(*NODES[:3])
        async with world.living():
            world.wire.dumb_about.update(_own_addresses(3))
            await world.start()
            ip = world.ip_of("n2")
            await world.power_off("n2")
            took_s = await world.taken_over(ip, from_node="n2", within_s=MONITOR_S + 1.0)
            assert took_s > MONITOR_S / 2
            assert not world.silent()

    run_virtually(main())


def test_a_dead_node_whose_neighbours_are_on_other_vlans_is_replaced_as_slowly_as_ever() -> None:
    async def main() -> None:
        world = World(*NODES[:3])
        async with world.living():
            macs = [bytes([2, 0, 0, 0, 0, number]) for number in (1, 2, 3)]
            world.wire.apart |= {frozenset({a, b}) for a in macs for b in macs if a != b}
            await world.start()
            ip = world.ip_of("n2")
            await world.power_off("n2")
            took_s = await world.taken_over(ip, from_node="n2", within_s=MONITOR_S + 1.0)
            assert took_s > MONITOR_S / 2

    run_virtually(main())


@pytest.mark.parametrize("away_s", [0.3, 1.0, 10.0])
def test_a_switch_that_restarts_moves_nothing(away_s: float) -> None:
    """Interfaces keep their carrier, as those of virtual machines do."""

    async def scenario(world: World) -> None:
        before = world.placed()
        world.unplug(*NODES)
        await asyncio.sleep(away_s)
        for node in NODES:
            world.plug(node)
            await asyncio.sleep(0.4)
        await asyncio.sleep(10.0)
        assert world.placed() == before

    play(scenario, *NODES)


def test_nodes_that_die_together_wait_for_their_heartbeats() -> None:
    async def scenario(world: World) -> None:
        ips = [world.ip_of(node) for node in ("n2", "n4")]
        await asyncio.gather(world.power_off("n2"), world.power_off("n4"))
        took_s = await world.taken_over(ips[0], from_node="n2", within_s=MONITOR_S + 1.0)
        assert took_s > MONITOR_S / 2
        await world.taken_over(ips[1], from_node="n4", within_s=MONITOR_S + 1.0)

    play(scenario, *NODES)


def test_an_ip_that_is_still_answered_for_is_not_taken_on_suspicion() -> None:
    """The controller is dead and the node's own address dumb; its kernel still has the IP."""

    async def scenario(world: World) -> None:
        ip = world.ip_of("n2")
        world.wire.dumb_about.update(_own_addresses(2)[1:])
        await world.controllers["n2"].kill()
        await world.until(lambda: "n2" not in world.placed().values(), within_s=FAST_S)
        async with world.always(lambda: world.holders(ip) == {"n2"}):
            await asyncio.sleep(MONITOR_S / 2)
        await world.until(lambda: world.holders(ip) - {"n2"}, within_s=TTL_S)

    play(scenario)


def test_a_node_that_lets_go_by_itself_is_given_the_time_for_that() -> None:
    async def scenario(world: World) -> None:
        ip = world.ip_of("n2")
        await world.power_off("n2")
        took_s = await world.taken_over(ip, from_node="n2", within_s=TTL_S + 3.0)
        assert took_s > MONITOR_S / 2

    play(scenario, on_api_loss="release")


def test_at_rest_controllers_write_heartbeats_and_nothing_else() -> None:
    async def scenario(world: World) -> None:
        begin = len(world.api.requests)
        await asyncio.sleep(20.0)
        writes = [
            text
            for _, who, text in world.api.requests[begin:]
            if "controller" in who and text.split()[0] not in ("get", "list", "watch")
        ]
        assert all("leases" in text for text in writes), writes
        assert len(writes) <= 1.2 * 20.0 / 2.0 * len(NODES)

    play(scenario, *NODES)


@pytest.mark.parametrize("count", [3, 5, 20])
def test_at_rest_a_node_sends_at_most_twenty_frames_a_second_in_a_cluster_of_any_size(
    count: int,
) -> None:
    async def scenario(world: World) -> None:
        await asyncio.sleep(30.0)
        world.wire.frames.clear()
        await asyncio.sleep(20.0)
        for node in world.nodes:
            sent = world.wire.frames[world.mac(node)] / 20.0
            assert 2.0 < sent <= 20.0, node

    play(scenario, *(f"n{number}" for number in range(1, count + 1)))


def _own_addresses(count: int) -> list[IPAddress]:
    return [ip_address(f"192.0.2.{number}") for number in range(1, count + 1)]
