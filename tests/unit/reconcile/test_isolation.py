"""Rounds of questions on a segment, and who is told of what they find out."""

import asyncio
from contextlib import asynccontextmanager
from ipaddress import ip_address

from extip.clock import LoopClock
from extip.metrics import Metrics
from extip.plan.isolation import ANSWERS, MISSES
from extip.plan.sighting import Kind, Sighting
from extip.reconcile.isolation import IsolationWatch
from tests.fakes.link import FakeNode
from tests.fakes.virtual_time import jump, run_virtually

OWN, ROUTER, N2 = (ip_address(f"10.0.0.{n}") for n in (1, 254, 2))
MACS = {ROUTER: b"\2\0\0\0\0\xfe", N2: b"\2\0\0\0\0\2"}
ROUND_S = 0.8


class World:
    """A node, its segment, and the watch between them."""

    def __init__(self):
        clock = LoopClock()
        self.node = FakeNode(clock)
        self.node.add_link("eth0")
        self.answering = {ROUTER, N2}
        self.broken = False
        self.asked: list[tuple[object, bytes]] = []
        self.link = None
        self.told: list[bool] = []
        self.metrics = Metrics("test")
        self.watch = IsolationWatch(
            self.node.links,
            iface="eth0",
            neighbours=lambda: {ROUTER: OWN, N2: OWN},
            round_s=ROUND_S,
            changed=lambda: self.told.append(self.watch.isolated),
            clock=clock,
            metrics=self.metrics,
        )
        self.watch.listen_on(self)

    def listen(self, link, ips, *, alert):
        assert set(ips) == {ROUTER, N2}
        self.link = link

    def greet(self, ip, *, source, to=b""):
        assert source == OWN
        if self.broken:
            return False
        self.asked.append((ip, to))
        if ip in self.answering:
            self.watch.heard(Sighting(ip, MACS[ip], Kind.CLAIM))
        return True

    @asynccontextmanager
    async def running(self):
        task = asyncio.ensure_future(self.watch.run())
        await asyncio.sleep(10 * ROUND_S)
        try:
            yield self
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def play(scenario):
    async def main():
        async with World().running() as world:
            await scenario(world)

    run_virtually(main())


def test_at_rest_one_neighbour_is_asked_alone():
    async def scenario(world):
        world.asked.clear()
        await asyncio.sleep(10 * ROUND_S)
        assert 9 <= len(world.asked) <= 11
        assert all(to == MACS[ip] for ip, to in world.asked)
        assert world.told == []

    play(scenario)


def test_a_segment_that_has_fallen_silent_is_told_of_and_so_is_its_return():
    async def scenario(world):
        world.answering.clear()
        await asyncio.sleep((MISSES + 2) * ROUND_S)
        assert world.told == [True]
        assert world.metrics.registry.get_sample_value("extip_link_isolated") == 1
        world.answering.add(N2)
        await asyncio.sleep((ANSWERS + 2) * ROUND_S)
        assert world.told == [True, False]
        assert world.metrics.registry.get_sample_value("extip_link_isolated") == 0

    play(scenario)


def test_a_process_that_stood_still_draws_no_conclusion():
    async def scenario(world):
        for _ in range(5):
            jump(60)
            await asyncio.sleep(ROUND_S)
        assert world.told == []

    play(scenario)


def test_frames_that_do_not_leave_prove_nothing():
    async def scenario(world):
        world.broken = True
        await asyncio.sleep(60)
        assert world.told == []

    play(scenario)


def test_a_station_that_only_asks_for_an_ip_is_no_neighbour():
    async def scenario(world):
        world.answering.clear()
        for _ in range(10):
            world.watch.heard(Sighting(N2, MACS[N2], Kind.PROBE))
            await asyncio.sleep(ROUND_S)
        assert world.told == [True]

    play(scenario)


def test_an_interface_without_carrier_or_gone_is_told_by_others():
    async def scenario(world):
        world.answering.clear()
        world.node.change_link("eth0", carrier=False)
        await asyncio.sleep(60)
        world.node.remove_link("eth0")
        await asyncio.sleep(60)
        assert world.told == []

    play(scenario)


def test_an_isolated_interface_that_loses_its_carrier_is_not_isolated_but_down():
    async def scenario(world):
        world.answering.clear()
        await asyncio.sleep(10)
        world.node.change_link("eth0", carrier=False)
        await asyncio.sleep(10)
        assert world.told == [True, False]

    play(scenario)
