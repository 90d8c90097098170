"""A fight with another program ends in patience, is told, and costs no other address anything."""

import asyncio
from ipaddress import ip_interface
from itertools import pairwise

from tests.fakes.virtual_time import virtually
from tests.unit.addresses.test_reconciler import RESYNC_S, World

FOUGHT, OTHER = "10.0.0.1/24", "10.0.0.2/24"


async def flush_every_second(world, seconds):
    """Remove the address whenever it is there; return when that was."""
    times = []
    for second in range(seconds):
        if FOUGHT in world.all():
            times.append(second)
            world.node.take("eth0", ip_interface(FOUGHT))
        await asyncio.sleep(1)
    return times


@virtually
async def test_who_flushes_every_second_is_not_fought_at_full_speed():
    world = World()
    world.want("10.0.0.1", "10.0.0.2")
    async with world.running():
        times = await flush_every_second(world, 600)
        assert times[:5] == [0, 1, 2, 3, 4]
        assert 600 / RESYNC_S * 0.8 <= len(times) <= 600 / RESYNC_S * 1.2 + 8
        assert max(b - a for a, b in pairwise(times)) <= RESYNC_S + 2
        assert "10.0.0.1" in world.reconciler.problem()
        assert "slowly" in world.reconciler.problem()
        assert OTHER in world.all()
        await asyncio.sleep(RESYNC_S + 1)
        assert world.ours() == {FOUGHT, OTHER}
        await asyncio.sleep(120)
        assert world.reconciler.problem() == ""
        world.node.take("eth0", ip_interface(FOUGHT))
        await asyncio.sleep(0.5)
        assert world.ours() == {FOUGHT, OTHER}


@virtually
async def test_a_link_that_flaps_is_no_fight():
    """The kernel drops the IPv6 addresses each time."""
    world = World()
    world.want("fd00::1")
    async with world.running():
        for _ in range(30):
            world.node.change_link("eth0", up=False, carrier=False)
            await asyncio.sleep(0.5)
            world.node.change_link("eth0", up=True, carrier=True)
            await asyncio.sleep(1)
            assert world.ours() == {"fd00::1/128"}


@virtually
async def test_what_is_wanted_no_more_is_no_fight():
    world = World()
    async with world.running():
        for _ in range(30):
            world.want("10.0.0.1")
            await asyncio.sleep(0.5)
            assert world.ours() == {FOUGHT}
            world.want()
            await asyncio.sleep(0.5)
            assert world.ours() == set()
        assert world.reconciler.problem() == ""
