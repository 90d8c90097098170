"""Other stations with our IPs: who makes way, who is told, and what a storm costs; virtual time."""

import asyncio
from collections import Counter
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from ipaddress import ip_address
from random import Random
from typing import Any, cast

import pytest

from extip.addresses.conflict.policy.defence import ANSWER_S, ASK_S, CALM_S, DEFEND_INTERVAL_S
from extip.addresses.conflict.watch import VERIFICATIONS_PER_S, ConflictWatch
from extip.addresses.ports import ConflictWire, LinkTable
from extip.clock import LoopClock
from extip.errors import ApiUnavailableError, NetlinkError
from extip.metrics import Metrics
from extip.net.neighbour_events import FrameKind, NeighbourEvent
from tests.fakes.fencing import FakeFencing
from tests.fakes.interfaces import ethernet
from tests.fakes.tasks import beside
from tests.fakes.virtual_time import run_virtually

IP, IP6 = ip_address("10.0.0.1"), ip_address("fd00::1")
MANY = [ip_address("10.1.0.0") + n for n in range(3000)]
OTHER = b"\x02\x00\x00\x00\x00\x99"
LINK = ethernet(index=3)
GRACE_S, SETTLE_S = 8.0, 0.3


class Node(FakeFencing):
    """A node whose Lease, claims and interfaces are what a test says."""

    def __init__(self, mac=LINK.mac, *, grace_s=0.0, settle_s=SETTLE_S, rivals=None):
        super().__init__()
        self.link = replace(LINK, mac=mac)
        self.grace_s, self.settle_s = grace_s, settle_s
        self.stale_at = float("inf")
        self.handed_over: set[Any] = set()
        self.ours: set[Any] | None = None
        self.away = False
        self.macs = {mac}
        self.yielded_ips: list[Any] = []
        self.repeated: list[Any] = []
        self.announced: set[Any] = set()
        self.listening: list[Any] = []
        self.asked: list[Any] = []
        self.segment: list[Node] = [self]
        self.reported: list[Any] = []
        self.looks = 0
        self.requests = 0
        self.metrics = Metrics("test")
        self.watch = ConflictWatch(
            self,
            repeat=self.repeat,
            links=cast("LinkTable", self),
            clock=LoopClock(),
            rng=Random(4),  # noqa: S311
            metrics=self.metrics,
            rivals=rivals,
        )
        self.watch.add_handler(lambda now, began: self.reported.append((dict(now), set(began))))
        self.watch.listen_on(cast("ConflictWire", self))

    def now(self):
        return asyncio.get_running_loop().time()

    # Fencing.

    def stale_in_s(self):
        return self.stale_at - self.now()

    def leaving(self):
        return self.handed_over

    async def is_ours(self, ip):
        self.requests += 1
        await asyncio.sleep(0.01)
        if self.away:
            raise ApiUnavailableError("away")
        return self.ours is None or ip in self.ours

    def yield_ips(self, ips):
        self.yielded_ips += ips
        asyncio.get_running_loop().call_later(0.003, self.withdraw, list(ips))

    # What is up, for the watch and for the announcer.

    def set_link(self, link):
        self.link = link
        self.watch.set_link(link)

    def announce(self, ips):
        self.announced |= set(ips)
        self.watch.announce(ips)

    def withdraw(self, ips):
        self.announced -= set(ips)
        self.watch.withdraw(ips)

    def repeat(self, ip):
        self.repeated.append((self.now(), ip))

    # Links.

    async def links(self):
        self.looks += 1
        if self.looks > 1 and not self.macs:
            raise NetlinkError(5, "dump interfaces")
        return [replace(LINK, mac=mac) for mac in self.macs]

    # The segment.

    def listen(self, link, ips, *, alert):
        self.listening.append((link, frozenset(ips), alert))

    def ask(self, ip):
        self.asked.append((self.now(), ip))
        for node in self.segment:
            if node is not self:
                node.watch.on_neighbour_event(NeighbourEvent(ip, self.link.mac, FrameKind.PROBE))
                if ip in node.announced:
                    loop = asyncio.get_running_loop()
                    answer = NeighbourEvent(ip, node.link.mac, FrameKind.ANNOUNCEMENT)
                    loop.call_later(0.001, self.watch.on_neighbour_event, answer)
        return True

    def hear(self, ip=IP, mac=OTHER, kind=FrameKind.ANNOUNCEMENT):
        self.watch.on_neighbour_event(NeighbourEvent(ip, mac, kind))

    def defended(self, outcome="defended"):
        name = "extip_address_conflicts_total"
        return self.metrics.registry.get_sample_value(name, {"outcome": outcome}) or 0

    @asynccontextmanager
    async def running(self, *ips):
        self.set_link(self.link)
        self.announce(ips or [IP, IP6])
        async with beside(self.watch.run(), self.watch.verify_conflicts()):
            await asyncio.sleep(0.1)
            yield self


def play(scenario, **options):
    async def main():
        async with Node(**options).running() as node:
            await scenario(node)

    run_virtually(main())


def test_one_that_may_have_been_replaced_makes_way_at_once_and_tells_only_the_log():
    async def scenario(node):
        node.stale_at = node.now() + 1
        await asyncio.sleep(0.99)
        node.hear(IP6)
        await asyncio.sleep(0.005)
        assert node.yielded_ips == []
        await asyncio.sleep(0.2)
        node.hear()
        await asyncio.sleep(0.001)
        assert node.yielded_ips == [IP]
        await asyncio.sleep(5)
        assert node.reported == []
        assert node.repeated == []
        assert node.announced == {IP6}
        assert node.defended("yielded") == 1

    play(scenario)


def test_one_that_nobody_knows_to_be_wanted_makes_way_and_is_not_announced():
    """A process that is started anew finds it, and asks until it knows better."""
    held = ip_address("10.0.0.9")

    async def scenario(node):
        node.stale_at = node.now()
        await asyncio.sleep(6)  # it takes a look now and then
        node.watch.hold([held])
        await asyncio.sleep(2 * ASK_S)
        assert held in {ip for _, ip in node.asked}
        node.hear(held)
        await asyncio.sleep(0.1)
        assert node.yielded_ips == [held]
        assert held not in node.announced

    play(scenario)


def test_one_that_turns_out_to_be_wanted_is_announced_and_its_conflict_goes_on():
    held = ip_address("10.0.0.9")

    async def scenario(node):
        node.watch.hold([held])
        node.hear(held)
        await asyncio.sleep(SETTLE_S + 0.1)
        assert node.reported == [({held: OTHER.hex(":")}, {held})]
        node.announce([held])
        assert held in node.announced
        await asyncio.sleep(CALM_S / 2)
        assert len(node.reported) == 1
        await asyncio.sleep(CALM_S / 2 + 6)
        assert node.reported[1:] == [({}, set())]

    play(scenario)


def test_while_the_lease_is_fresh_it_defends_and_tells():
    async def scenario(node):
        node.hear()
        await asyncio.sleep(SETTLE_S + 0.1)
        assert [ip for _, ip in node.repeated] == [IP]
        assert node.reported == [({IP: OTHER.hex(":")}, {IP})]
        node.hear()
        await asyncio.sleep(DEFEND_INTERVAL_S)
        assert len(node.repeated) == 1
        node.hear()
        await asyncio.sleep(SETTLE_S + 0.1)
        assert len(node.repeated) == 2
        assert len(node.reported) == 1
        await asyncio.sleep(CALM_S + 6)
        assert node.reported[1:] == [({}, set())]
        assert node.yielded_ips == []
        assert node.asked == []

    play(scenario)


def test_a_storm_costs_a_defence_an_interval_and_no_more():
    async def scenario(node):
        began = node.now()
        for number in range(200_000):
            node.hear(mac=b"\x02" + number.to_bytes(5, "big"))
            if number % 1000 == 0:
                await asyncio.sleep(0.5)
        lasted_s = node.now() - began
        assert lasted_s >= 100
        assert len(node.repeated) <= lasted_s / DEFEND_INTERVAL_S + 1
        assert node.requests == len(node.repeated) == node.defended()
        assert len(node.reported) == 1
        assert node.looks <= lasted_s + 1
        assert node.yielded_ips == []
        assert node.announced == {IP, IP6}

    play(scenario)


def test_a_storm_over_many_ips_asks_the_api_server_at_a_bounded_pace():
    async def main():
        async with Node().running(*MANY) as node:
            for _ in range(20):
                for ip in MANY:
                    node.hear(ip)
                await asyncio.sleep(0.5)
            assert node.requests <= 10 * VERIFICATIONS_PER_S + 1
            assert node.yielded_ips == []

    run_virtually(main())


@pytest.mark.parametrize("stale", [False, True])
def test_the_nodes_own_interfaces_are_nobody_else(stale):
    """With arp_ignore=0 a second interface on the segment answers for every IP of the node."""

    async def scenario(node):
        node.macs.add(OTHER)
        if stale:
            node.stale_at = node.now()
            await asyncio.sleep(0.1)
        for _ in range(30):
            node.hear()
            await asyncio.sleep(0.5)
        assert node.yielded_ips == node.reported == node.repeated == []

    play(scenario)


def test_an_interface_that_came_later_is_known_in_time():
    async def scenario(node):
        node.hear(mac=LINK.mac[:5] + b"\x77")  # has it read the interfaces
        await asyncio.sleep(2)
        node.macs.add(OTHER)
        node.stale_at = node.now()
        node.hear()
        await asyncio.sleep(1)
        assert node.yielded_ips == []

    play(scenario)


def test_when_the_interfaces_cannot_be_read_those_known_count():
    async def scenario(node):
        node.hear(mac=LINK.mac)
        await asyncio.sleep(2)
        node.macs.clear()
        node.stale_at = node.now()
        node.hear(mac=LINK.mac)
        await asyncio.sleep(1)
        assert node.yielded_ips == []
        node.hear()
        await asyncio.sleep(1)
        assert node.yielded_ips == [IP]

    play(scenario)


@pytest.mark.parametrize("mac", [bytes(6), b"\xff" * 6, b"\x01\x00\x5e\x00\x00\x01"])
def test_no_station_has_such_a_mac(mac):
    async def scenario(node):
        node.stale_at = node.now()
        await asyncio.sleep(0.2)
        node.hear(mac=mac)
        await asyncio.sleep(1)
        assert node.yielded_ips == []

    play(scenario)


def test_a_planned_move_is_no_conflict_at_either_end():
    async def scenario(node):
        node.handed_over = {IP}
        node.hear()
        await asyncio.sleep(1)
        assert node.repeated == node.reported == []
        node.announce([ip_address("10.0.0.2")])
        await asyncio.sleep(GRACE_S / 2)
        node.hear(ip_address("10.0.0.2"))
        await asyncio.sleep(1)
        assert [ip for _, ip in node.repeated] == [ip_address("10.0.0.2")], "the last word"
        assert node.reported == []
        assert node.requests == 0

    play(scenario, grace_s=GRACE_S)


@pytest.mark.parametrize(
    ("had_carrier", "lost_since"), [(False, 0), (True, 1), (True, 0)], ids=["no", "lost", "yes"]
)
def test_an_ip_that_was_moved_while_the_interface_had_no_carrier_is_asked_for(
    had_carrier, lost_since
):
    """Also when it had just come up here, so that the station might be its former holder.

    The carrier may be back before anybody looks.
    """

    async def scenario(node):
        node.set_link(replace(node.link, carrier=had_carrier))
        await asyncio.sleep(1)
        node.set_link(replace(node.link, carrier=True, mtu=9000, carrier_losses=lost_since))
        node.hear()
        await asyncio.sleep(1)
        assert node.requests == (0 if had_carrier and not lost_since else 1)

    play(scenario, grace_s=GRACE_S)


def test_news_of_a_move_may_come_after_the_next_holders_first_word():
    async def scenario(node):
        node.hear()
        await asyncio.sleep(SETTLE_S / 2)
        node.ours = {IP6}
        node.withdraw([IP])
        await asyncio.sleep(1)
        assert node.repeated == node.reported == []

    play(scenario)


def test_a_move_that_the_watch_does_not_tell_is_found_out():
    async def scenario(node):
        node.ours = {IP6}
        node.hear()
        await asyncio.sleep(1)
        assert node.requests == 1
        assert node.repeated == node.reported == []

    play(scenario)


def test_nothing_is_said_while_nobody_can_tell_whose_it_is():
    async def scenario(node):
        node.away = True
        node.hear()
        await asyncio.sleep(1)
        assert node.repeated == node.reported == []
        node.away = False
        node.hear()
        await asyncio.sleep(1)
        assert len(node.reported) == 1

    play(scenario)


def test_what_was_heard_just_before_it_went_stale_takes_nothing_away():
    async def scenario(node):
        node.hear()
        await asyncio.sleep(SETTLE_S / 2)
        node.stale_at = node.now()
        await asyncio.sleep(2)
        assert node.yielded_ips == node.reported == node.repeated == []

    play(scenario)


def test_it_asks_once_a_second_while_it_is_stale_and_not_otherwise():
    async def scenario(node):
        node.stale_at = went = node.now() + 31
        await asyncio.sleep(30.9)
        assert node.asked == []
        await asyncio.sleep(11)
        for ip in (IP, IP6):
            times = [at for at, asked in node.asked if asked == ip]
            assert ANSWER_S < times[0] - went < 0.1, "another one may have asked unheard"
            assert 9 <= len(times) <= 12
        node.announce([ip_address("10.0.0.2")])
        await asyncio.sleep(0.01)
        assert node.asked[-1][1] == ip_address("10.0.0.2")
        assert node.listening[-1][2], "on the alert"
        node.stale_at = float("inf")
        await asyncio.sleep(2 * ASK_S)
        count = len(node.asked)
        await asyncio.sleep(30)
        assert len(node.asked) == count
        assert not node.listening[-1][2]

    play(scenario)


def test_questions_about_many_ips_are_paced_and_none_is_forgotten():
    async def main():
        async with Node().running(*MANY) as node:
            node.stale_at = began = node.now()
            node.watch.on_neighbour_event(
                NeighbourEvent(IP, OTHER, FrameKind.ANNOUNCEMENT)
            )  # wakes it
            await asyncio.sleep(9)
            per_tenth = Counter(int((at - began) * 10) for at, _ in node.asked)
            assert max(per_tenth.values()) <= 151
            times = Counter(ip for _, ip in node.asked)
            assert set(times) == set(MANY)
            assert max(times.values()) - min(times.values()) <= 2

    run_virtually(main())


@pytest.mark.parametrize("fresh", [False, True])
@pytest.mark.parametrize("phase_s", [0.0, 0.0005, 0.003, 0.02, 0.3])
def test_when_two_have_an_ip_and_see_each_other_again_exactly_one_keeps_it(phase_s, fresh):
    """Both cut off from the API server: neither can know better, and one has to answer."""

    async def main():
        low, high = Node(b"\x02\x00\x00\x00\x00\x0a"), Node(b"\x02\x00\x00\x00\x00\x0b")
        async with AsyncExitStack() as stack:
            for node in (low, high):
                await stack.enter_async_context(node.running(IP))
            low.stale_at = low.now()
            if not fresh:
                high.stale_at = low.now() + phase_s
            await asyncio.sleep(5)
            low.segment = high.segment = [low, high]
            await asyncio.sleep(5)
            assert [node.announced for node in (low, high)].count({IP}) == 1
            if fresh:
                assert high.announced == {IP}

    run_virtually(main())


def test_it_watches_what_is_up_where_it_is():
    async def scenario(node):
        assert node.listening[-1] == (node.link, frozenset({IP, IP6}), False)
        node.withdraw([IP])
        assert node.listening[-1][1] == {IP6}
        moved = replace(LINK, index=9)
        node.set_link(moved)
        assert node.listening[-1][0] is moved
        node.set_link(None)
        assert node.listening[-1][0] is None

    play(scenario)


def test_a_conflict_about_an_ip_that_goes_is_over():
    async def scenario(node):
        node.hear()
        await asyncio.sleep(1)
        node.withdraw([IP])
        assert node.reported[-1] == ({}, set())
        assert node.metrics.registry.get_sample_value("extip_addresses_in_conflict") == 0

    play(scenario)
