"""Flows of IPs that are up are looked after: soon after one came up, then seldom; virtual time."""

import asyncio
from contextlib import asynccontextmanager
from ipaddress import ip_address

from extip.clock import LoopClock
from extip.reconcile.flows import EVERY_S, SOON_S, FlowSweeper
from tests.fakes.virtual_time import run_virtually

IPS = [ip_address("10.0.0.1") + n for n in range(100)]


class Node:
    """Hears what is handed on, and keeps the flows."""

    def __init__(self, *, look_s=0.0):
        self.look_s = look_s
        self.looks = []
        self.heard = []
        self.sweeper = FlowSweeper(self, announcer=self, clock=LoopClock())

    async def drop_untranslated(self, ips):
        self.looks.append((asyncio.get_running_loop().time(), ips))
        await asyncio.sleep(self.look_s)
        return 0

    def set_link(self, link):
        self.heard.append(("link", link))

    def announce(self, ips):
        self.heard.append(("announce", tuple(ips)))

    def hold(self, ips):
        self.heard.append(("hold", tuple(ips)))

    def withdraw(self, ips):
        self.heard.append(("withdraw", tuple(ips)))

    def times(self):
        return [round(at, 1) for at, _ in self.looks]

    @asynccontextmanager
    async def running(self):
        task = asyncio.ensure_future(self.sweeper.run())
        await asyncio.sleep(0)
        try:
            yield
        finally:
            assert not task.done()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def test_it_looks_soon_after_an_ip_came_up_and_then_seldom():
    async def main():
        node = Node()
        async with node.running():
            await asyncio.sleep(5)
            node.sweeper.announce(IPS[:2])
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
                node.sweeper.announce([ip])
                await asyncio.sleep(0.1)
            await asyncio.sleep(SOON_S[-1])
        assert len(node.looks) <= 2 * (10 + SOON_S[-1])
        assert node.looks[-1][1] == frozenset(IPS)

    run_virtually(main())


def test_a_large_table_is_looked_at_more_seldom():
    async def main():
        node = Node(look_s=0.5)
        async with node.running():
            node.sweeper.hold(IPS)
            await asyncio.sleep(1000)
        assert 45 <= len(node.looks) <= 50

    run_virtually(main())


def test_what_is_not_up_any_more_is_left_alone_and_all_is_handed_on():
    async def main():
        node = Node()
        async with node.running():
            node.sweeper.set_link(None)
            node.sweeper.hold(IPS[:1])
            node.sweeper.announce(IPS[1:2])
            node.sweeper.withdraw(IPS[:1])
            await asyncio.sleep(SOON_S[0] + 0.1)
            assert node.looks[-1][1] == {IPS[1]}
            node.sweeper.withdraw(IPS[1:2])
            count = len(node.looks)
            await asyncio.sleep(60)
            assert len(node.looks) == count
        assert [what for what, _ in node.heard] == [
            "link", "hold", "announce", "withdraw", "withdraw",
        ]  # fmt: skip

    run_virtually(main())
