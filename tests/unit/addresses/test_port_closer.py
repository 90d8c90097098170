"""Other ports of the IPs that are up are closed, again and again, and opened at the end."""

import asyncio
from ipaddress import ip_address

import pytest

from extip.addresses.port_closer import SPARE_S, PortCloser, open_ports
from extip.clock import LoopClock
from tests.fakes.network import FakePorts
from tests.fakes.virtual_time import run_virtually

A, B = ip_address("10.0.0.1"), ip_address("fd00::1")
TTL_S, REFRESH_S = 6.0, 2.0


class World:
    """A closer that runs, its packet filter, and the IPs that are up."""

    def __init__(self):
        self.ports = FakePorts()
        self.up = frozenset({A})
        self.closer = PortCloser(
            self.ports,
            up=lambda: self.up,
            ttl_s=TTL_S,
            refresh_s=REFRESH_S,
            clock=LoopClock(),
        )

    def closed(self):
        return set(self.ports.closed or ())


def play(scenario):
    async def main():
        world = World()
        running = asyncio.ensure_future(world.closer.run())
        await asyncio.sleep(0.01)
        await scenario(world)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    run_virtually(main())


def test_ips_that_come_up_and_go_are_followed_at_once():
    async def scenario(world):
        assert world.closed() == {A}
        for told, up in ((world.closer.hold, {A, B}), (world.closer.announce, {B})):
            world.up = frozenset(up)
            told([B])
            await asyncio.sleep(0.01)
            assert world.closed() == up
        world.up = frozenset()
        world.closer.withdraw([B])
        await asyncio.sleep(0.01)
        assert world.closed() == set()

    play(scenario)


def test_ports_stay_closed_for_longer_than_any_address_may_live():
    """Its last refresh may be as late as the next look at what is up."""

    async def scenario(world):
        assert world.ports.closed == {A: TTL_S + REFRESH_S + SPARE_S}
        world.ports.closed = {}  # they have run out
        await asyncio.sleep(REFRESH_S + 0.1)
        assert world.closed() == {A}

    play(scenario)


def test_a_kernel_that_refuses_is_told_of_and_asked_again():
    async def scenario(world):
        assert world.closer.problem() == ""
        world.ports.refuses = "EPERM"
        world.closer.hold([A])
        await asyncio.sleep(0.01)
        assert world.closer.problem() == "other ports of external IPs are open: EPERM"
        world.ports.refuses = ""
        await asyncio.sleep(1.1)
        assert world.closer.problem() == ""

    play(scenario)


def test_all_is_open_after_the_end():
    async def scenario(world):
        await world.closer.remove()
        assert world.ports.closed is None

    play(scenario)


@pytest.mark.parametrize(("refuses", "left"), [("", None), ("EINVAL", {A: 1.0})])
def test_a_process_without_the_flag_opens_what_an_earlier_one_closed(refuses, left):
    """It goes on where the kernel refuses, as one without nf_tables does."""

    async def main():
        ports = FakePorts()
        ports.closed, ports.refuses = {A: 1.0}, refuses
        running = asyncio.ensure_future(open_ports(ports))
        await asyncio.sleep(1.0)
        assert ports.closed == left
        assert not running.done()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    run_virtually(main())
