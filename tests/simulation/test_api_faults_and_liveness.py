"""Whatever happens to the API server, for everybody or for the watch alone, kills no live node.

Publishers and a monitor in virtual time, between them a server that is up, down, frozen or slow.
Real deaths among all that are found as soon as it is over.
"""

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from random import Random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from extip.api.coordination_v1 import Lease
from extip.clock import LoopClock
from extip.errors import ApiUnavailableError
from extip.liveness.heartbeat import Publisher
from extip.liveness.node_monitor import NodeMonitor
from extip.liveness.policy import Verdict
from extip.metrics import Metrics
from tests.fakes.lease_server import REFUSED, Delivery, LeaseServer
from tests.fakes.virtual_time import run_virtually

NODES = ("a", "b", "c", "d")
RECOVERY_S = 30.0
"""After all faults are over and done with, everything is known again."""


@dataclass(frozen=True)
class Phase:
    """How the API server is for a while; seconds."""

    state: str
    lasts_s: float
    latency_s: float = 0.01


class Cluster:
    """Four nodes, a monitor, and an API server with moods."""

    def __init__(self, *, heartbeat_s, monitor_s, seed):
        self.rng = Random(seed)  # noqa: S311
        self.heartbeat_s = heartbeat_s
        self.server = LeaseServer(deliver=self.deliver)
        self.server.changed = self.written
        self.phase = Phase("up", 0.0)
        self.thaws_at = 0.0
        self.watch_open = False
        self.watch_deaf = False
        """Its connection is dead, and nobody was told."""
        self.died: set[str] = set()
        self.wrong: list[tuple[float, str]] = []
        self.view: dict[str, Lease] = {}
        self.monitor = NodeMonitor(
            self.read,
            get=self.view.get,
            monitor_s=monitor_s,
            on_change=self.told,
            on_doubt=self.doubted,
            clock=LoopClock(),
            metrics=Metrics("scheduler"),
        )
        self.tasks = {name: asyncio.ensure_future(self.publisher(name).run()) for name in NODES}
        self.tasks["monitor"] = asyncio.ensure_future(self.monitor.run())

    def publisher(self, name):
        return Publisher(
            self.server.client(f"extip-node-{name}", name),
            node=name,
            namespace="x",
            identity=name,
            heartbeat_s=self.heartbeat_s,
            clock=LoopClock(),
            rng=Random(f"{name}{self.rng.random()}"),  # noqa: S311
            metrics=Metrics("controller"),
        )

    def delay(self):
        now = LoopClock().monotonic()
        held_s = max(0.0, self.thaws_at - now) if self.phase.state == "frozen" else 0.0
        return held_s + self.phase.latency_s * (0.5 + self.rng.random())

    def deliver(self, _who, _verb):
        if self.phase.state == "down":
            return REFUSED
        return Delivery(there_s=self.delay(), back_s=self.phase.latency_s / 2)

    async def read(self):
        if self.phase.state == "down":
            await asyncio.sleep(0.001)
            raise ApiUnavailableError("down")
        await asyncio.sleep(self.delay())
        leases = list(self.server.leases.values())
        await asyncio.sleep(self.phase.latency_s / 2)
        return leases

    def written(self, name):
        if self.watch_open and not self.watch_deaf:
            lease = self.server.leases[name]
            loop = asyncio.get_running_loop()
            loop.call_later(self.phase.latency_s / 2, self.arrive, name, lease)

    def arrive(self, name, lease):
        if self.watch_open and not self.watch_deaf:
            self.view[name] = lease
            self.monitor.on_lease(name)

    def open_watch(self):
        for name, lease in self.server.leases.items():
            self.view[name] = lease
            self.monitor.on_lease(name)
        self.watch_open, self.watch_deaf = True, False
        self.monitor.watch_opened()

    def doubted(self, _since):
        if self.watch_open:
            self.close_watch()
            asyncio.get_running_loop().call_later(self.phase.latency_s, self.open_watch_again)

    def open_watch_again(self):
        if self.phase.state != "down" and not self.watch_open:
            self.open_watch()

    def close_watch(self):
        self.watch_open = False
        self.monitor.watch_closed()

    def told(self, node):
        if self.monitor.verdict(node) is Verdict.DEAD and node not in self.died:
            self.wrong.append((LoopClock().monotonic(), node))

    async def live_through(self, phase):
        self.phase = phase
        self.thaws_at = LoopClock().monotonic() + phase.lasts_s
        if phase.state == "down" and self.watch_open:
            self.close_watch()
        self.watch_deaf |= phase.state == "deaf"
        if phase.state != "down" and not self.watch_open:
            reopens_s = min(phase.lasts_s / 2, self.rng.uniform(0, 2))
            await asyncio.sleep(reopens_s)
            self.open_watch_again()
            await asyncio.sleep(phase.lasts_s - reopens_s)
        else:
            await asyncio.sleep(phase.lasts_s)

    def kill(self, name):
        self.died.add(name)
        self.tasks[name].cancel()

    async def stop(self):
        for task in self.tasks.values():
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


def outcome(history, deaths, seed):
    """Return who was wrongly declared dead, and whose verdict is wrong long after all is over."""

    async def main():
        cluster = Cluster(heartbeat_s=2.0, monitor_s=4.0, seed=seed)
        try:
            await cluster.live_through(Phase("up", 10.0))
            for number, phase in enumerate(history):
                if number < len(deaths):
                    cluster.kill(deaths[number])
                await cluster.live_through(phase)
            for name in deaths:
                cluster.kill(name)
            await cluster.live_through(Phase("up", RECOVERY_S))
            unknown = [
                name
                for name in NODES
                if cluster.monitor.verdict(name)
                is not (Verdict.DEAD if name in cluster.died else Verdict.ALIVE)
            ]
            return cluster.wrong, unknown
        finally:
            await cluster.stop()

    return run_virtually(main())


def history_of(states, rng):
    """Return a few phases by chance."""
    phases = []
    for _ in range(rng.randint(1, 8)):
        state = rng.choice(states)
        latency_s = 2.0 if state == "slow" else rng.choice([0.002, 0.05, 0.3])
        phases.append(
            Phase(state, rng.choice([rng.uniform(0.1, 5), rng.uniform(5, 40)]), latency_s)
        )
    return phases


phases = st.builds(
    Phase,
    state=st.sampled_from(["up", "down", "deaf"]),
    lasts_s=st.floats(0.1, 40.0),
    latency_s=st.sampled_from([0.002, 0.05, 0.3]),
)


@settings(max_examples=60)
@given(
    st.lists(phases, min_size=1, max_size=8),
    st.lists(st.sampled_from(NODES[:3]), max_size=2),
    st.integers(0, 2**32),
)
@example([Phase("down", 30.0)], [], 1)
def test_an_api_server_that_comes_and_goes_kills_nobody_and_the_dead_are_found(
    history, deaths, seed
):
    assert outcome(history, deaths, seed) == ([], [])


@pytest.mark.parametrize("seed", range(40))
def test_an_api_server_that_stands_still_kills_nobody_and_the_dead_are_found(seed):
    """By chance, not by malice: a halt can be timed so that a renewal comes a moment too late."""
    rng = Random(seed)  # noqa: S311
    history = history_of(["up", "down", "frozen"], rng)
    deaths = rng.sample(NODES[:3], rng.randint(0, 2))
    assert outcome(history, deaths, seed) == ([], [])


@pytest.mark.parametrize("seed", range(20))
def test_after_an_api_server_that_needs_seconds_everything_is_known_again(seed):
    rng = Random(seed)  # noqa: S311
    history = history_of(["up", "slow", "frozen"], rng)
    _, unknown = outcome(history, rng.sample(NODES[:3], rng.randint(0, 2)), seed)
    assert unknown == []


def test_an_api_server_that_needs_two_seconds_for_everything_kills_nobody():
    assert outcome([Phase("slow", 120.0, 2.0)], [], 1)[0] == []
