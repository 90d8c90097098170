"""`python -m tests.simulation.rack [NODES ...]`: a rack of whole nodes dies in a large cluster.

One node of 25 dies at once, on the wire and at the API server. Every node runs the real controller
and two schedulers run, all in this process and in virtual time. It prints a row of a table in
Markdown for each size: what happened in virtual time, and what the processes took of this machine.
"""

import asyncio
import logging
import resource
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Network
from random import Random
from statistics import median

import structlog

from extip.kube.client import ApiClient
from extip.net.interfaces import IPAddress
from extip.net.neighbour_events import NeighbourEvent
from extip.scheduling import failovers
from tests.fakes.cluster_transport import ClusterTransport
from tests.fakes.faulty_segment import FaultySegment
from tests.fakes.hosts import LIFE, hosts_loop, run_hosts
from tests.fakes.network import FakeNetwork
from tests.fakes.segment import FakeConflictWire, FakeWire, Listener
from tests.simulation.shared_objects import SharedObjects, SharingClient
from tests.simulation.world import Node, World

SIZES = (50, 100, 200)
IPS_EACH = 5
RACK = 25
"""One of so many nodes dies."""

_SERVED_S, _DIES_S = 8.0, 50.0
_GIVEN_UP_S = 30.0
_LOOK_S = 0.05
_SAMPLE_S = 0.002
_STEP_S = 0.005
"""Steps that take longer are noted."""
_SCHEDULERS = ("s1", "s2")


_LAN = IPv4Network("198.18.0.0/16")


class LargeSegment(FaultySegment):
    """Asks and tells only those whom a frame concerns: the kernel's filters drop it elsewhere."""

    def __init__(self, rng: Random) -> None:
        super().__init__(rng)
        self.networks: list[FakeNetwork] = []

    def carry(self, event: NeighbourEvent, listener: Listener) -> None:
        if isinstance(listener, FakeWire) and not listener.listens:
            return
        if isinstance(listener, FakeConflictWire) and event.ip not in listener._ips:
            return
        super().carry(event, listener)

    def stations(self, ip: IPAddress) -> list[bytes]:
        if ip in _LAN:
            number = int(ip) - int(_LAN.network_address)
            asked = self.networks[number - 1 : number]
        else:
            asked = [network for network in self.networks if ip in network.node._ips]
        answers = [network._answer(ip) for network in asked]
        return [mac for mac in answers if mac is not None]


class LargeWorld(World):
    """A world with room for many nodes on one segment."""

    lan = _LAN
    new_segment: type[FaultySegment] = LargeSegment
    least = failovers.LEAST

    def __init__(self, rng: Random, *, flags: dict[str, object]) -> None:
        super().__init__(rng, flags=flags)
        self._shared = SharedObjects()

    def client_over(self, transport: ClusterTransport) -> ApiClient:
        return SharingClient(transport, self._shared)

    def add_node(self, name: str, *, rate: float = 1.0) -> Node:
        node = super().add_node(name, rate=rate)
        assert isinstance(self.segment, LargeSegment)
        self.segment.networks.append(node.network)
        return node


@dataclass
class Rack:
    """What happened in a cluster of that size; times are virtual unless they are of a processor."""

    nodes: int
    dead: int
    ips: int
    lost: int
    up_s: list[float]
    """From the death until each IP is up elsewhere."""
    moved: int
    """How many claims changed their node."""
    scheduler_ms: float
    """Processor that the leading scheduler took from the death until all was up."""
    longest_ms: float
    """The longest step of a scheduler in that time; 0 when none took longer than `_STEP_S`."""
    memory_mb: float
    """Resident, of the whole simulation."""
    took_s: float
    """Processor of the whole simulation."""


class Sampler:
    """Tells how much processor each process of the simulation takes, by samples of it."""

    def __init__(self) -> None:
        self._samples: Counter[str] = Counter()
        self._since_s = 0.0

    @contextmanager
    def running(self) -> Iterator[None]:
        """Take samples until the end of the block."""
        before = signal.signal(signal.SIGPROF, self._sample)
        signal.setitimer(signal.ITIMER_PROF, _SAMPLE_S, _SAMPLE_S)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
            signal.signal(signal.SIGPROF, before)

    def take(self) -> Counter[str]:
        """Return the milliseconds of each process since the last time."""
        taken, self._samples = self._samples, Counter()
        now_s = time.process_time()
        each = 1000 * (now_s - self._since_s) / max(1, taken.total())
        self._since_s = now_s
        return Counter({name: count * each for name, count in taken.items()})

    def _sample(self, *_: object) -> None:
        life = LIFE.get()
        self._samples[life.name if life else ""] += 1


def main(sizes: Iterable[int]) -> int:
    """Let a rack die in a cluster of each size; return the exit code."""
    outcome = 0
    for nodes in sizes:
        rack = run_hosts(_died(nodes))
        print(_row(rack), flush=True)
        outcome |= len(rack.up_s) != rack.lost or rack.moved != rack.lost
    return outcome


async def _died(nodes: int) -> Rack:
    began_s, sampler, loop = time.process_time(), Sampler(), hosts_loop()
    world = LargeWorld(Random(nodes), flags={"scheduler": {"rebalance_after_s": 0.0}})  # noqa: S311
    for number in range(1, nodes + 1):
        world.add_node(f"n{number:04}")
    for name in _SCHEDULERS:
        world.add_scheduler(name)
    for name in (*world.nodes, *world.scheduler_hosts):
        world.later(world.rng.uniform(0, 1), world.start, name)
    for number in range(nodes * IPS_EACH):
        ip = f"10.88.{1 + number // 250}.{1 + number % 250}"
        world.later(_SERVED_S, world.users.add_service, f"web-{number}", ip)
    with sampler.running():
        await asyncio.sleep(_DIES_S)
        sampler.take()
        loop.step_bound_s = _STEP_S
        loop.long_steps.clear()
        dead = list(world.nodes)[: nodes // RACK]
        lost = [ip for ip, node in world.assigned().items() if node in dead]
        for name in dead:
            world.kill(name)
            world.unplug(name)
        up_s = await _up_elsewhere(world, lost, dead)
        spent = sampler.take()
    in_steps = [step.process_s for step in loop.long_steps if step.whose in _SCHEDULERS]
    world.close()
    return Rack(
        nodes=nodes,
        dead=len(dead),
        ips=nodes * IPS_EACH,
        lost=len(lost),
        up_s=up_s,
        moved=len(world.moves.last),
        scheduler_ms=max(spent[name] for name in _SCHEDULERS),
        longest_ms=1000 * max(in_steps, default=0.0),
        memory_mb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        took_s=time.process_time() - began_s,
    )


async def _up_elsewhere(world: World, lost: Sequence[IPAddress], dead: list[str]) -> list[float]:
    """Return how long after now each of the IPs is up on another node; those that are."""
    died_s, left, up_s = world.now, set(lost), list[float]()
    while left and world.now - died_s < _GIVEN_UP_S:
        await asyncio.sleep(_LOOK_S)
        now_up = {ip for ip in left if set(world.holders(ip)) - set(dead)}
        up_s += [world.now - died_s] * len(now_up)
        left -= now_up
    return up_s


def _row(rack: Rack) -> str:
    """Return a row of a table in Markdown."""
    up = f"{median(rack.up_s):.1f} and {max(rack.up_s):.1f} s" if rack.up_s else ""
    return (
        f"| {rack.nodes:,} | {rack.ips:,} | {rack.dead}, {len(rack.up_s):,} of {rack.lost:,} "
        f"| {up} | {rack.moved - rack.lost} | {rack.scheduler_ms:.0f} ms "
        f"| {rack.longest_ms:.0f} ms | {rack.memory_mb:,.0f} MB | {rack.took_s:.0f} s |"
    )


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    sys.exit(main([int(size) for size in sys.argv[1:]] or SIZES))
