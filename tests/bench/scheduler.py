"""The cost of one event for the scheduler, by the number of claims, beside a plan over everything.

Nothing is written and nothing is asked: the caches are filled by hand. The baseline is the same
work by the functions that the scheduler compares itself with: allocation, the guard and the
placement, each over all claims, as each pass did it before.
"""

import asyncio
import gc
import logging
import resource
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import structlog

from extip.guard.policy.admission import admit
from extip.guard.policy.rules import Guard, Surroundings, Verdicts
from extip.pools.policy.allocation import plan_allocation
from extip.pools.policy.allocation_index import Facts
from extip.scheduling.policy.placement import Strategy
from extip.scheduling.policy.planner import plan_schedule
from extip.services.policy.requests import Requests
from tests.bench.figure import Figure
from tests.bench.sampling import MS, median
from tests.bench.scheduler_world import SchedulerWorld

_SIZES = ((1_000, 50), (10_000, 100), (100_000, 1_000))
_ROUNDS = 15

_MOST_GROWTH = 2.0
"""Sizes are measured one after another, and other programs take their share. Alone it is 1.1."""

_MOST_KB = 5.5

_FULL, _FULL_CIDR = 2_046, "10.64.0.0/21"
"""A pool without a free address."""

_WAITING = 2_000


def measure() -> Iterator[Figure]:
    """Measure each size in turn."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    smallest: dict[str, float] = {}
    for claims, nodes in _SIZES:
        for figures in (_figures(claims, nodes), _of_explicit_ips(claims, nodes)):
            for figure in asyncio.run(figures):
                yield figure
                if figure.kind == "ratio":
                    yield from _growth(figure, smallest)
    yield from asyncio.run(_of_many_at_once())


def _growth(figure: Figure, smallest: dict[str, float]) -> Iterator[Figure]:
    """Compare an event with the same one in the smallest cluster."""
    _, what = figure.what.split(": ")
    if what in smallest:
        growth = figure.measured / smallest[what]
        told = f"{figure.what}, beside {_SIZES[0][0]:,} claims"
        yield _value(told, growth, "x", at_most=_MOST_GROWTH)
    smallest.setdefault(what, figure.measured)


async def _figures(claims: int, nodes: int) -> list[Figure]:
    gc.collect()
    before_mb = _memory_mb()
    world = SchedulerWorld(claims, nodes)
    gc.collect()
    size = f"{claims:,} claims on {nodes} nodes"
    change = await world.settle()
    longest = max(world.pacer.steps)
    memory_kb = 1024 * (_memory_mb() - before_mb) / claims
    await world.settle()
    everything = _everything(world)
    figures = [
        _value(f"{size}: a new leader decides everything", MS * change, "ms"),
        _value(f"{size}: the longest step of that", MS * longest, "ms"),
        _value(f"{size}: memory of a service with its claim", memory_kb, "KB", at_most=_MOST_KB),
    ]
    events: dict[str, Callable[[int], None]] = {
        "one claim's status": lambda n: world.claim(n, f"node-{n % nodes:04}", up=False),
        "one claim's status a second later": lambda n: world.claim_later(n, f"node-{n % nodes:04}"),
        "one heartbeat": lambda n: world.beat(f"node-{n % nodes:04}", number=n + 1),
        "one more service": lambda n: world.service(claims + n),
    }
    figures += [await _event(size, what, world, one, everything) for what, one in events.items()]
    world.drain("node-0001")
    figures += await _told(f"{size}: a node with {-(-claims // nodes)} claims is drained", world)
    world.die(["node-0002"])
    figures += await _told(f"{size}: a node with {-(-claims // nodes)} claims dies", world)
    world.pool(priority=1)
    figures += await _told(f"{size}: the pool is edited", world)
    world.pool(priority=1, selects=True)
    figures += await _told(f"{size}: the pool gets a selector of nodes", world)
    return figures


async def _of_explicit_ips(claims: int, nodes: int) -> list[Figure]:
    world = SchedulerWorld(claims, nodes, explicit=True)
    await world.settle()
    size, everything = f"{claims:,} claims on {nodes} nodes", _everything(world)
    world.service(claims + 1)
    await world.settle()  # looks for a free address once
    events = {
        "one more service with an IP that a person wrote": claims,
        "one more service for whose externalIPs a pool gives an address": claims + 3,
    }
    return [
        await _event(size, what, world, partial(_every_other, world, first), everything)
        for what, first in events.items()
    ]


def _every_other(world: SchedulerWorld, first: int, number: int) -> None:
    world.service(first + 2 * number)


async def _event(
    size: str, what: str, world: SchedulerWorld, happen: Callable[[int], None], everything: float
) -> Figure:
    """Return the processor time of an event and of what it leads to; `happen` gets a number."""
    took = []
    for number in range(_ROUNDS):
        began = time.process_time()
        happen(number)
        took.append(time.process_time() - began + await world.settle())
    return Figure(
        what=f"{size}: {what}",
        measured=MS * median(took),
        unit="ms",
        at_most=0.1,
        baseline=MS * everything,
        baseline_name="over everything",
    )


async def _of_many_at_once() -> list[Figure]:
    """Measure events that concern many claims or services."""
    world = SchedulerWorld(10_000, 10)
    await world.settle()
    world.drain("node-0001")
    figures = await _told("10,000 claims on 10 nodes: a node with 1,000 claims is drained", world)
    world.die(["node-0002"])
    figures += await _told("10,000 claims on 10 nodes: a node with 1,000 claims dies", world)
    world = SchedulerWorld(_FULL, 100, cidr=_FULL_CIDR)
    await world.settle()
    for number in range(_FULL, _FULL + _WAITING):
        world.service(number)
    size = f"a full pool of {_FULL:,}"
    figures += await _told(f"{size}: {_WAITING:,} services more, which have to wait", world)
    world.service(_FULL + _WAITING)
    figures += await _told(f"{size}: one more", world)
    world.give_up(0)
    figures += await _told(f"{size}: one of them gives its address up", world)
    return figures


async def _told(what: str, world: SchedulerWorld) -> list[Figure]:
    """Return the processor time of what an event leads to, and of the longest step of that."""
    took = await world.settle()
    return [
        _value(what, MS * took, "ms"),
        _value("the longest step of that", MS * max(world.pacer.steps), "ms"),
    ]


def _value(what: str, measured: float, unit: str, *, at_most: float | None = None) -> Figure:
    return Figure(what=what, measured=measured, unit=unit, at_most=at_most, kind="value")


def _memory_mb() -> float:
    """Return the resident memory of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / (1 << 20)


def _everything(world: SchedulerWorld) -> float:
    """Return the processor time of a plan over everything that has nothing to do."""
    inputs, pools = world.inputs.current(), world.inputs.allocation.current()
    assert inputs is not None
    claims = list(world.inputs.claims.store.values())
    began = time.process_time()
    asking = list(world.inputs.allocation.address_requests._parts.values())
    explicit = Requests(wanted=dict(world.inputs.explicit_ips.by_ip.values()))
    facts = Facts(requests=explicit, node_ips=inputs.reserved.single(), ports=pools.ports)
    allocation = plan_allocation(asking, pools.pools, claims, facts)
    requests = allocation.extend(explicit)
    admission = admit(requests, Verdicts(Guard(), Surroundings(reserved=inputs.reserved)))
    schedule = plan_schedule(
        {interface: requests.wanted[interface] for interface in admission.wanted},
        claims,
        inputs.cluster,
        Strategy.FAIR,
        pools=allocation.pools(),
    )
    took = time.process_time() - began
    assert not schedule.writes
    return took
