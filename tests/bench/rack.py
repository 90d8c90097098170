"""The death of a rack, by the size of the cluster: 4 % of the nodes at once, 100 claims each.

Nothing is written and nothing is asked (`tests.bench.scheduler_world`): these are the times of the
scheduler alone. `python -m tests.bench.scale_curves` draws them.
"""

import asyncio
import gc
import logging
import resource
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import structlog

from tests.bench.figure import Figure
from tests.bench.sampling import MS
from tests.bench.scheduler_world import SchedulerWorld

SIZES = (50, 100, 200, 500, 1000)
CLAIMS_EACH = 100
RACK = 25
"""One of so many nodes dies."""


_BEATS = 500


@dataclass(frozen=True)
class Rack:
    """What the death of a rack costs the scheduler of a cluster; times are of the processor."""

    nodes: int
    claims: int
    dead: int
    moved: int
    decided_s: float
    """Until every claim of the rack has its next node."""
    longest_s: float
    """The longest step: for so long the event loop did nothing else."""
    heartbeat_s: float
    """One heartbeat that changes nothing, which makes no pass."""
    start_s: float
    """A new leader looks at everything."""
    memory_mb: float
    """Resident, above an empty scheduler."""


def measure() -> Iterator[Figure]:
    """Measure each size in turn."""
    for nodes in SIZES:
        yield from _figures(died(nodes))


def died(nodes: int) -> Rack:
    """Build a cluster of that size, and let a rack die."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    return asyncio.run(_died(nodes, nodes * CLAIMS_EACH))


async def _died(nodes: int, claims: int) -> Rack:
    gc.collect()
    before_mb = _memory_mb()
    world = SchedulerWorld(claims, nodes)
    gc.collect()
    memory_mb = _memory_mb() - before_mb
    start_s = await world.settle()
    began = time.process_time()
    for number in range(_BEATS):
        world.beat(f"node-{number % nodes:04}", number=number + 1)
    heartbeat_s = (time.process_time() - began) / _BEATS
    await world.settle()
    rack = [f"node-{number:04}" for number in range(nodes // RACK)]
    before = world.waiting
    began = time.process_time()
    world.die(rack)
    decided_s = time.process_time() - began + await world.settle()
    return Rack(
        nodes=nodes,
        claims=claims,
        dead=len(rack),
        moved=world.waiting - before,
        decided_s=decided_s,
        longest_s=max(world.pacer.steps),
        heartbeat_s=heartbeat_s,
        start_s=start_s,
        memory_mb=memory_mb,
    )


def _figures(rack: Rack) -> Iterator[Figure]:
    what = f"{rack.dead} of {rack.nodes} nodes die, {rack.claims:,} claims"
    for name, measured, unit in (
        ("until their claims have other nodes", MS * rack.decided_s, "ms"),
        ("the longest step of that", MS * rack.longest_s, "ms"),
        ("one heartbeat at rest", MS * rack.heartbeat_s, "ms"),
        ("a new leader looks at everything", rack.start_s, "s"),
        ("resident memory", rack.memory_mb, "MB"),
    ):
        yield Figure(
            what=f"{what}: {name}", measured=measured, unit=unit, at_most=None, kind="value"
        )


def _memory_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / (1 << 20)
