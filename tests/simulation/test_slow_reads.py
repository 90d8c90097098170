"""A node dies while another one is cut off, and the API server is slow: a soak was like that once.

The wire is no help: its word does not count so soon after another death. The Leases decide, by
reads that are as slow as all calls.
"""

import asyncio
from collections.abc import Callable
from random import Random

import pytest

from extip.scheduling.failovers import PATCHED_AFTER_S
from tests.fakes.hosts import run_hosts
from tests.fakes.world import later
from tests.simulation.faults import Fault
from tests.simulation.faults.processes import Kill
from tests.simulation.faults.server import Silent
from tests.simulation.faults.wire import Split
from tests.simulation.history import SCENE
from tests.simulation.world import World

HEARTBEAT_S, MONITOR_S = 0.4, 3.0
FIRST_READ_S = MONITOR_S / 4
"""A first read that takes longer is given up; later ones are given time."""

LATE_S = 0.3
"""Looks, announcements, and clocks that differ."""

TTL_S = 3.0
"""Of addresses, with such heartbeats."""

CUT_S, HEALED_S, DIES_S, BACK_S = 25.4, 33.0, 30.0, 38.5


def faults() -> list[Fault]:
    cut, dead = HEALED_S - CUT_S, BACK_S - DIES_S
    return [
        Silent(CUT_S, cut, ("n4",)),
        Split(CUT_S, cut, ("n4",)),
        Kill(DIES_S, dead, ("n3",)),
        Split(DIES_S, dead, ("n3",)),
    ]


def fail_over_s(answer_s: float) -> float:
    """Return how long the IPs of the node that died are away; a call takes `answer_s`."""
    took: list[float] = []

    async def main() -> None:
        world = cluster(answer_s)
        try:
            await until(lambda: world.now >= DIES_S - 0.1, world)
            ips = [ip for ip, node in world.assigned().items() if node == "n3"]
            assert ips
            await until(lambda: world.now >= DIES_S + 0.1, world)
            await until(lambda: all(set(world.answering.get(ip, ())) - {"n3"} for ip in ips), world)
            took.append(world.now - DIES_S)
        finally:
            world.close()

    run_hosts(main())
    return took[0]


def cluster(answer_s: float) -> World:
    flags = {"heartbeat_s": HEARTBEAT_S, "scheduler": {"monitor_s": MONITOR_S}}
    world = World(Random(1), flags=flags)  # noqa: S311 - a simulation's chance
    world.api.latency_s = answer_s / 2
    for name in SCENE.nodes:
        world.add_node(name)
    for name in SCENE.schedulers:
        world.add_scheduler(name)
    for name in SCENE.processes:
        world.later(0.5, world.start, name)
    for number in range(1, 11):
        world.later(5.0, world.users.add_service, f"web-{number}", f"10.88.1.{number}")
    for fault in faults():
        later(fault.at_s, fault.begin, world)
        later(fault.at_s + fault.lasts_s, fault.end, world)
    return world


async def until(condition: Callable[[], object], world: World) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.05)
            world.look()


def test_a_quick_server_adds_next_to_nothing() -> None:
    assert fail_over_s(0.01) <= MONITOR_S + LATE_S


@pytest.mark.parametrize("answer_s", [0.2, 0.5, 0.8, 1.2, 0.6 * TTL_S])
def test_a_slow_server_adds_nine_answers_and_a_heartbeat(answer_s: float) -> None:
    given_up_s = FIRST_READ_S if answer_s > FIRST_READ_S else 0.0
    slow_s = 9 * answer_s + HEARTBEAT_S + given_up_s
    late_s = LATE_S + PATCHED_AFTER_S  # one write for many claims is tried first
    assert MONITOR_S + answer_s < fail_over_s(answer_s) <= MONITOR_S + slow_s + late_s
