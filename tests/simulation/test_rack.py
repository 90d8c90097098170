"""A rack dies: several nodes of a larger cluster at once, on the wire and at the API server."""

import asyncio
from random import Random

import pytest

from tests.fakes.hosts import run_hosts
from tests.simulation import rack
from tests.simulation.world import World

NODES, IPS, RACK = 50, 250, ("n11", "n12")
MONITOR_S, LATE_S = 4.0, 1.0
SERVED_S, DIES_S = 8.0, 30.0

pytestmark = pytest.mark.timeout(600)


def cluster() -> World:
    world = World(Random(1), flags={"scheduler": {"rebalance_after_s": 0.0}})  # noqa: S311
    for number in range(1, NODES + 1):
        world.add_node(f"n{number:02}")
    for name in ("s1", "s2"):
        world.add_scheduler(name)
    for name in (*world.nodes, *world.scheduler_hosts):
        world.later(world.rng.uniform(0, 1), world.start, name)
    for number in range(IPS):
        ip = f"10.88.{1 + number // 200}.{1 + number % 200}"
        world.later(SERVED_S, world.users.add_service, f"web-{number}", ip)
    return world


def test_the_ips_of_a_rack_are_up_elsewhere_in_time_and_no_other_moves() -> None:
    async def main() -> None:
        world = cluster()
        try:
            await asyncio.sleep(DIES_S)
            lost = [ip for ip, node in world.assigned().items() if node in RACK]
            assert len(lost) == IPS / NODES * len(RACK)
            for name in RACK:
                world.kill(name)
                world.unplug(name)
            await asyncio.sleep(MONITOR_S + LATE_S)
            for ip in lost:
                assert len(set(world.holders(ip)) - set(RACK)) == 1
            assert set(world.moves.last) == set(lost)
        finally:
            world.close()

    run_hosts(main())


def test_in_the_large_all_ips_of_a_rack_are_up_elsewhere_and_no_other_moves(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert rack.main([NODES]) == 0
    assert f"| {NODES} | {IPS} | {len(RACK)}, 10 of 10 |" in capsys.readouterr().out
