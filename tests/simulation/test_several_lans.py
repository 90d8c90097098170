"""Nodes on two LANs: what is wrong with one of them concerns its IPs alone; in virtual time."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from ipaddress import ip_address, ip_interface

import pytest

from extip.net.interfaces import IPAddress
from extip.net.neighbour_events import NeighbourEvent
from tests.fakes.network import FakeNetwork
from tests.fakes.segment import Listener
from tests.fakes.virtual_time import run_virtually
from tests.simulation.test_silence import FAST_S, NODES, FaultySegment, World

HEARTBEAT_S = 2.0
IN_TIME_S = 3 * HEARTBEAT_S + 0.5
LONG_S, LOOK_S = 30.0, 0.0625
FIRST, SECOND = "eth0", "eth1"
ON = {FIRST: "192.0.2", SECOND: "192.0.3"}


def lan_of(mac: bytes) -> int:
    return mac[4]


class Lans(FaultySegment):
    """Two segments, told apart by the MACs of their stations."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[bytes] = []
        """The station of each question, and of each answer."""

    def carry(self, event: NeighbourEvent, listener: Listener) -> None:
        if lan_of(event.mac) == lan_of(listener.station or event.mac):
            super().carry(event, listener)

    def reached(self, ip: IPAddress, mac: bytes, /) -> list[bytes]:
        found = [one for one in super().reached(ip, mac) if lan_of(one) == lan_of(mac)]
        self.asked += [mac] * (1 + len(found))
        return found


class TwoLans(World):
    """Nodes with eth0 and eth1, and an IP of each LAN for each node."""

    def __init__(self, *nodes: str, without_second: tuple[str, ...] = (), **flags: object) -> None:
        super().__init__(*nodes, **flags)
        self.lans = self.wire = self.segment = Lans()
        self.without_second = without_second

    def add_node(self, name: str) -> FakeNetwork:
        network = super().add_node(name)
        node, number = network.node, len(self.networks)
        if name not in self.without_second:
            node.add_link(SECOND, mac=bytes([2, 0, 0, 0, 1, number]))
            node.put(SECOND, ip_interface(f"{ON[SECOND]}.{number}/24"))

        def answer(ip: IPAddress) -> bytes | None:
            on = {a.link_index for a in node.observed() if a.interface.ip == ip}
            links = (one for one in node.all_links() if one.index in on and one.carrier)
            return next((one.mac for one in links), None)

        self.segment.answering[-1] = answer
        return network

    def wanted(self) -> list[str]:
        """Return an IP of each LAN for each node."""
        return [f"{ON[link]}.{100 + n}" for link in ON for n in range(len(self.nodes))]

    def ips_on(self, link: str) -> list[str]:
        return [ip for ip in self.ips if ip.startswith(f"{ON[link]}.")]

    def on(self, ip: str) -> set[str]:
        """Return the interfaces that it is on."""
        return {
            link.name
            for network in self.networks.values()
            for a in network.node.observed()
            for link in network.node.all_links()
            if a.ours and a.interface.ip == ip_address(ip) and a.link_index == link.index
        }

    def held(self, ips: Iterable[str]) -> dict[str, set[str]]:
        return {ip: self.holders(ip) for ip in ips}

    async def stays(self, held: dict[str, set[str]], for_s: float) -> None:
        """Look again and again whether these IPs are where they were, and nowhere else."""
        for _ in range(round(for_s / LOOK_S)):
            await asyncio.sleep(LOOK_S)
            assert self.held(held) == held

    def mac_on(self, node: str, link: str) -> bytes:
        return self.networks[node].node.find(link).mac

    def cut(self, link: str, *nodes: str) -> None:
        """Have ports of one LAN lead nowhere; carrier stays."""
        for node in nodes:
            self.wire.dumb.add(self.mac_on(node, link))
            self.wire.deaf.add(self.mac_on(node, link))

    def heal(self, link: str, *nodes: str) -> None:
        for node in nodes:
            self.wire.dumb.discard(self.mac_on(node, link))
            self.wire.deaf.discard(self.mac_on(node, link))


def play(
    scenario: Callable[[TwoLans], Awaitable[None]],
    *,
    without_second: tuple[str, ...] = (),
    iface: str = "auto",
) -> None:
    async def main() -> None:
        world = TwoLans(*NODES[:3], without_second=without_second, iface=iface)
        async with world.living():
            await world.start()
            await scenario(world)

    run_virtually(main())


@pytest.mark.parametrize("iface", ["auto", "eth0,eth1"])
@pytest.mark.parametrize("link", [FIRST, SECOND])
def test_a_lan_is_dead_for_one_node_and_its_ips_there_alone_move(link: str, iface: str) -> None:
    async def scenario(world: TwoLans) -> None:
        there = world.ips_on(link)
        other = world.ips_on(SECOND if link == FIRST else FIRST)
        ip = next(ip for ip in there if world.holders(ip) == {"n1"})
        stay = world.held(other) | world.held([one for one in there if one != ip])
        world.cut(link, "n1")
        await world.stays(stay, IN_TIME_S)
        after = world.held([ip])
        assert after != {ip: {"n1"}}
        assert len(after[ip]) == 1
        await world.stays(stay | after, LONG_S)
        assert world.on(ip) == {link}
        world.heal(link, "n1")
        await world.stays(stay | after, LONG_S / 2)

    play(scenario, iface=iface)


@pytest.mark.parametrize("link", [FIRST, SECOND])
def test_a_lan_that_is_dead_for_all_moves_nothing(link: str) -> None:
    async def scenario(world: TwoLans) -> None:
        before = world.held(world.ips)
        world.cut(link, *world.nodes)
        await world.stays(before, LONG_S)
        world.heal(link, *world.nodes)
        await world.stays(before, LONG_S / 2)

    play(scenario)


@pytest.mark.parametrize("iface", ["auto", "eth*"])
def test_the_only_other_station_of_a_lan_dies_and_the_survivor_keeps_its_ips(iface: str) -> None:
    """Nobody answers it there any more. A third node is reached, but on another LAN."""

    async def scenario(world: TwoLans) -> None:
        survivor, dead = "n1", "n2"
        mine = [ip for ip in world.ips_on(SECOND) if world.holders(ip) == {survivor}]
        assert mine
        world.cut(SECOND, dead)
        await world.power_off(dead)
        await world.stays(world.held(mine), LONG_S)

    play(scenario, without_second=("n3",), iface=iface)


@pytest.mark.parametrize("iface", ["auto", "eth*", "eth0,eth1"])
def test_a_node_without_a_lan_has_no_ip_of_it(iface: str) -> None:
    """It would have it on its first interface, where nobody asks for it."""

    async def scenario(world: TwoLans) -> None:
        everywhere = world.held(world.ips_on(FIRST)).values()
        assert {"n3"} in everywhere
        for ip in world.ips_on(SECOND):
            assert world.holders(ip) <= {"n1", "n2"}
            assert world.on(ip) == {SECOND}

    play(scenario, without_second=("n3",), iface=iface)


def test_a_node_that_loses_power_is_replaced_on_both_lans_as_soon_as_on_one() -> None:
    async def scenario(world: TwoLans) -> None:
        lost = [ip for ip in world.ips if world.holders(ip) == {"n2"}]
        assert {link for ip in lost for link in world.on(ip)} == {FIRST, SECOND}
        world.cut(SECOND, "n2")
        await world.power_off("n2")
        for ip in lost:
            await world.taken_over(ip, from_node="n2", within_s=FAST_S)

    play(scenario)


def test_at_rest_two_lans_cost_a_node_less_than_twenty_frames_a_second() -> None:
    async def scenario(world: TwoLans) -> None:
        world.lans.asked.clear()
        await asyncio.sleep(LONG_S)
        for node in world.nodes:
            macs = [world.mac_on(node, link) for link in (FIRST, SECOND)]
            frames = [world.lans.asked.count(mac) / LONG_S for mac in macs]
            assert 0 < frames[1] <= 2.5 / HEARTBEAT_S
            assert sum(frames) <= 20

    play(scenario)
