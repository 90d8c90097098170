"""Flows of IPs that are up are looked after: soon after one came up, then seldom; virtual time."""

import asyncio
from contextlib import asynccontextmanager
from ipaddress import ip_address

from structlog.testing import capture_logs

from extip.addresses.local_addresses import LocalAddresses
from extip.addresses.udp_flows import EVERY_S, SOON_S, FlowSweeper
from extip.clock import LoopClock
from extip.metrics import Metrics
from tests.fakes.tasks import beside
from tests.fakes.virtual_time import run_virtually

IPS = [ip_address("10.0.0.1") + n for n in range(100)]


class Node:
    """Keeps the flows."""

    def __init__(self, *, look_s=0.0):
        self.look_s = look_s
        self.looks = []
        self.found = 0
        self.local = LocalAddresses("eth0", metrics=Metrics("test"))
        self.sweeper = FlowSweeper(
            self.drop_untranslated, up=lambda: self.local.up, clock=LoopClock()
        )
        self.local.add_listener(self.sweeper)

    async def drop_untranslated(self, ips):
        self.looks.append((asyncio.get_running_loop().time(), ips))
        await asyncio.sleep(self.look_s)
        return self.found

    def times(self):
        return [round(at, 1) for at, _ in self.looks]

    @asynccontextmanager
    async def running(self):
        async with beside(self.sweeper.run()):
            await asyncio.sleep(0)
            yield


def test_it_looks_soon_after_an_ip_came_up_and_then_seldom():
    async def main():
        node = Node()
        async with node.running():
            await asyncio.sleep(5)
            node.local.announce(IPS[:2])
            await asyncio.sleep(30)
        first, second, *others = node.times()
        assert (first, second) == (5 + SOON_S[0], 5 + SOON_S[1])
        assert others == [second + EVERY_S, second + 2 * EVERY_S]
        assert all(ips == frozenset(IPS[:2]) for _, ips in node.looks)

    run_virtually(main())


def test_many_that_come_up_one_after_the_other_are_not_looked_after_one_by_one():
    async def main():
        node = Node()
        async with node.running():
            for ip in IPS:
                node.local.announce([ip])
                await asyncio.sleep(0.1)
            await asyncio.sleep(SOON_S[-1])
        assert len(node.looks) <= 2 * (10 + SOON_S[-1])
        assert node.looks[-1][1] == frozenset(IPS)

    run_virtually(main())


def test_a_large_table_is_looked_at_more_seldom():
    async def main():
        node = Node(look_s=0.5)
        async with node.running():
            node.local.found(IPS, wanted=False)
            await asyncio.sleep(1000)
        assert 45 <= len(node.looks) <= 50

    run_virtually(main())


def test_what_is_not_up_any_more_is_left_alone():
    async def main():
        node = Node()
        async with node.running():
            node.local.found(IPS[:1], wanted=False)
            node.local.announce(IPS[1:2])
            node.local.withdraw(IPS[:1])
            await asyncio.sleep(SOON_S[0] + 0.1)
            assert node.looks[-1][1] == {IPS[1]}
            node.local.withdraw(IPS[1:2])
            count = len(node.looks)
            await asyncio.sleep(60)
            assert len(node.looks) == count

    run_virtually(main())


def test_flows_that_come_again_and_again_are_told_once():
    """Such as those to a port that no service has: at each look there are others."""

    async def main():
        node = Node()
        async with node.running():
            node.local.announce(IPS[:1])
            node.found = 3
            await asyncio.sleep(10 * EVERY_S)
            assert told() == [("info", 3)]
            node.local.announce(IPS[1:2])  # another IP is news
            await asyncio.sleep(EVERY_S)
            assert told() == [("info", 3)] * 2
            node.found = 0
            await asyncio.sleep(2 * EVERY_S)
            node.found = 5
            await asyncio.sleep(3 * EVERY_S)
            assert told() == [("info", 3)] * 2 + [("info", 5)]

    with capture_logs() as logs:

        def told():
            return [
                (said["log_level"], said["count"])
                for said in logs
                if said["event"] == "udp_flows_dropped" and said["log_level"] != "debug"
            ]

        run_virtually(main())
