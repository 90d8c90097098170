"""Rounds of questions on a segment, and who is told of what they find out."""

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace
from ipaddress import ip_address, ip_interface
from typing import cast

from structlog.testing import capture_logs

from extip.clock import LoopClock
from extip.metrics import Metrics
from extip.net.interfaces import IPAddress, Link
from extip.uplink.isolation_watch import IsolationWatch
from extip.uplink.link_rounds import Segment, Uplink
from extip.uplink.policy.isolation import ANSWER_S, MISSES, Reachability
from extip.uplink.policy.isolations import Isolations
from extip.uplink.policy.silence import SILENT
from tests.fakes.interfaces import ethernet
from tests.fakes.tasks import beside
from tests.fakes.virtual_time import jump, run_virtually

OWN = ip_interface("10.0.0.1/24")
ROUTER, N2 = (ip_address(f"10.0.0.{n}") for n in (254, 2))
MACS = {ROUTER: b"\2\0\0\0\0\xfe", N2: b"\2\0\0\0\0\2"}
ETH0 = ethernet(promotes_secondaries=True)
ROUND_S = 0.5


class OtherLink:
    """Another interface, with one neighbour on its segment."""

    def __init__(self, name, number):
        self.link: Link | None = ethernet(name=name, index=number)
        self.own = (ip_interface(f"10.{number}.0.1/24"),)
        self.neighbour = ip_address(f"10.{number}.0.2")
        self.mac = bytes([2, 0, 0, 0, number, 2])
        self.answers_now = True
        self.opened: Link | None = None
        self.asked: list[tuple[float, bytes]] = []
        self.arrived: dict[IPAddress, bytes] = {}

    def open(self, link):
        self.opened = link

    def ask(self, questions):
        for question in questions:
            assert (question.ip, question.source) == (self.neighbour, self.own[0].ip)
            self.asked.append((asyncio.get_running_loop().time(), question.mac))
            if self.answers_now:
                self.arrived[question.ip] = self.mac
        return [question.ip for question in questions]

    def answers(self):
        arrived, self.arrived = self.arrived, {}
        return arrived

    def close(self):
        self.opened = None


class World:
    """A node, its interface, the segment, and the watch."""

    def __init__(self):
        self.link: Link | None = ETH0
        self.own = (OWN,)
        self.known = True
        self.present: tuple[IPAddress, ...] = (N2, ROUTER)
        self.names: dict[IPAddress, str] = {}
        self.silences: list[tuple[str, ...]] = []
        self.searches = 0
        self.answering = {ROUTER, N2}
        self.broken = False
        self.asked: list[tuple[object, bytes]] = []
        self.arrived: dict[object, bytes] = {}
        self.opened: Link | None = None
        self.told: list[bool] = []
        self.metrics = Metrics("test")
        self.more: dict[str, OtherLink] = {}
        self.selected: list[str] = ["eth0"]
        self.new_segments: list[Segment] = [self]
        self.states = isolations = Isolations(ROUND_S)
        self.watch = IsolationWatch(
            lambda: self.new_segments.pop(0),
            uplinks=self.uplinks,
            neighbours=self.neighbours,
            ring=lambda _own: self.names,
            isolations=isolations,
            clock=LoopClock(),
            metrics=self.metrics,
        )
        self.watch.add_handler(lambda: self.told.append("eth0" in isolations.isolated))
        self.watch.add_silence_handler(lambda: self.silences.append(self.watch.silent()))

    def add(self, name, number):
        """Have another interface; return it."""
        self.more[name] = added = OtherLink(name, number)
        self.selected.append(name)
        self.new_segments.append(added)
        return added

    def uplinks(self):
        known = {"eth0": cast("Uplink", self), **self.more}
        return {name: known[name] for name in self.selected}

    def neighbours(self, own):
        self.searches += 1
        if not self.known:
            return None
        everybody = (*self.present, *(one.neighbour for one in self.more.values()))
        return {ip: a.ip for a in own for ip in everybody if ip in a.network}

    def open(self, link):
        self.opened = link

    def ask(self, questions):
        known = list(questions)
        assert self.opened == self.link
        assert all(question.source == OWN.ip for question in known)
        if self.broken:
            return []
        for question in known:
            self.asked.append((question.ip, question.mac))
            if question.ip in self.answering:
                self.arrived[question.ip] = MACS[question.ip]
        return [question.ip for question in known]

    def answers(self):
        arrived, self.arrived = self.arrived, {}
        return arrived

    def close(self):
        self.opened = None

    def metric(self, name, link="eth0"):
        labels = {} if name == "extip_link_watched" else {"link": link}
        return self.metrics.registry.get_sample_value(name, labels)

    @asynccontextmanager
    async def running(self):
        async with beside(self.watch.run()):
            await asyncio.sleep(10.1 * ROUND_S)
            yield self
        assert self.opened is None
        assert all(one.opened is None for one in self.more.values())


def play(scenario):
    async def main():
        async with World().running() as world:
            await scenario(world)

    run_virtually(main())


def test_who_has_just_come_is_asked_when_the_only_neighbour_dies():
    async def main():
        world = World()
        world.present = (N2,)
        async with world.running():
            world.present = (N2, ROUTER)
            world.answering = {ROUTER}
            await asyncio.sleep(20 * ROUND_S)
            assert world.told == []

    run_virtually(main())


def test_at_rest_one_neighbour_is_asked_alone():
    async def scenario(world):
        world.asked.clear()
        searches = world.searches
        await asyncio.sleep(20 * ROUND_S)
        assert len(world.asked) == 20
        assert set(world.asked) == {(N2, MACS[N2])}
        assert all(to == MACS[ip] for ip, to in world.asked)
        assert world.searches - searches <= 3, "a large cluster is not gone through each round"
        assert world.watch.reachability() is Reachability.REACHED
        assert world.told == []
        assert world.metric("extip_link_neighbours") == 2

    play(scenario)


def test_a_segment_that_has_fallen_silent_is_told_of_and_so_is_its_return():
    async def scenario(world):
        world.answering.clear()
        await asyncio.sleep((MISSES + 1) * ROUND_S)
        assert world.told == [True]
        assert world.watch.reachability() is Reachability.ISOLATED
        assert world.metric("extip_link_isolated") == 1
        world.answering.add(N2)
        await asyncio.sleep(3 * ROUND_S)
        assert world.told == [True, False]
        assert world.watch.reachability() is Reachability.REACHED
        assert world.metric("extip_link_isolated") == 0

    play(scenario)


def test_a_process_that_stood_still_draws_no_conclusion():
    async def scenario(world):
        for _ in range(5):
            jump(60)
            await asyncio.sleep(ROUND_S)
        assert world.told == []

    play(scenario)


def test_frames_that_do_not_leave_prove_nothing_and_are_not_tried_all_the_time():
    async def scenario(world):
        world.broken = True
        await asyncio.sleep(60)
        assert world.told == []
        assert world.watch.reachability() is Reachability.UNSURE
        world.broken = False
        await asyncio.sleep(6)
        assert world.watch.reachability() is Reachability.REACHED

    play(scenario)


def test_an_interface_without_carrier_or_gone_is_told_by_others():
    async def scenario(world):
        world.answering.clear()
        world.link = replace(ETH0, carrier=False)
        await asyncio.sleep(60)
        world.link = None
        await asyncio.sleep(60)
        assert world.told == []
        assert world.watch.reachability() is Reachability.UNSURE

    play(scenario)


def test_an_interface_without_neighbours_isolates_nobody():
    """Such as lo, also when the process before this one used another interface."""

    async def scenario(world):
        world.answering.clear()
        await asyncio.sleep(5)
        world.link = replace(ETH0, name="lo", announces=False)
        world.asked.clear()
        await asyncio.sleep(5)
        assert world.told == [True, False]
        assert world.watch.reachability() is Reachability.UNSURE
        assert world.asked == []

    play(scenario)


def test_nobody_is_asked_from_an_address_that_is_not_there_any_more():
    async def scenario(world):
        world.own = ()
        world.asked.clear()
        await asyncio.sleep(60)
        assert world.asked == []
        assert world.told == []

    play(scenario)


def test_an_isolated_node_that_loses_its_addresses_is_still_isolated_when_they_are_back():
    """DHCP gets no answer either; and a missing address is no neighbour that answers."""

    async def scenario(world):
        world.answering.clear()
        await asyncio.sleep(5)
        assert world.told == [True]
        world.own = ()
        await asyncio.sleep(60)
        world.own = (OWN,)
        await asyncio.sleep(60)
        assert world.told == [True]
        world.answering.add(N2)
        await asyncio.sleep(2)
        assert world.told == [True, False]

    play(scenario)


def test_while_nodes_are_not_known_what_was_said_before_stands():
    async def main():
        world = World()
        world.known = False
        world.watch.restore({"eth0": Reachability.ISOLATED})
        async with world.running():
            await asyncio.sleep(60)
            assert world.told == [True]
            world.known = True
            await asyncio.sleep(2)
            assert world.told == [True, False]

    run_virtually(main())


def play_watching(scenario):
    """Play with two nodes and a router, one node of which is watched."""

    async def main():
        world = World()
        world.names = {N2: "n2"}
        async with world.running():
            await scenario(world)

    run_virtually(main())


def test_a_watched_node_that_falls_silent_is_told_of_within_half_a_second():
    async def scenario(world):
        assert world.metric("extip_link_watched") == 1
        world.answering = {ROUTER}
        await asyncio.sleep(ROUND_S + SILENT * 2 * ANSWER_S)
        assert world.silences == [("n2",)]
        assert world.told == [], "the router answers"
        world.answering = {ROUTER, N2}
        await asyncio.sleep(2 * ROUND_S)
        assert world.silences == [("n2",), ()]

    play_watching(scenario)


def test_a_segment_that_has_fallen_silent_is_no_silence_of_others():
    async def scenario(world):
        assert world.states.unheard_at < 1.0
        world.answering = set()
        await asyncio.sleep(5.0)
        assert world.told == [True]
        assert world.silences == []
        assert world.states.unheard_at > 5.0

    play_watching(scenario)


def test_an_isolated_node_that_doubted_a_watched_one_asks_no_more_often_than_another():
    async def scenario(world):
        world.answering = {ROUTER}
        await asyncio.sleep(ROUND_S + ANSWER_S)
        world.answering = set()
        await asyncio.sleep(5.0)
        assert world.told == [True]
        before = len(world.asked)
        await asyncio.sleep(60.0)
        assert len(world.asked) - before <= 3 * 60.0 / ROUND_S

    play_watching(scenario)


def test_nodes_that_do_not_answer_are_told_of_once():
    async def main():
        world = World()
        world.names = {N2: "n2"}
        world.answering = {ROUTER}
        with capture_logs() as lines:
            async with world.running():
                await asyncio.sleep(120.0)
        assert [line["event"] for line in lines].count("nodes_do_not_answer") == 1
        assert world.silences == []

    run_virtually(main())
