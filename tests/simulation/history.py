"""One history: a cluster, a script of faults drawn from a seed, and what it showed."""

import asyncio
import gc
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from hashlib import sha256
from random import Random

from extip.scheduling.policy.placement import Strategy
from tests.fakes.hosts import run_hosts
from tests.fakes.world import later
from tests.simulation.allocation import ALLOCATION
from tests.simulation.balance import LoadIsEven
from tests.simulation.bounds import OneFaultAlone
from tests.simulation.faults import FAULTS, Fault
from tests.simulation.faults.base import Scene
from tests.simulation.invariants import INVARIANTS, LOOK_S, Invariant
from tests.simulation.leading import OneLeaderActs
from tests.simulation.memory import CachesAreBounded
from tests.simulation.users import LOCAL
from tests.simulation.world import World

BEGIN_S, HEALED_S, END_S = 12.0, 80.0, 120.0
"""Faults begin after the first, and are over before the second."""

ALONE_LASTS_S = 9.0
"""A fault that is alone is over early enough for the next one to be alone, too."""

SIMPLE = 0.15
"""The part of the histories that are of simple mode."""

SERVED_S = 5.0
"""When users make their services."""

SCENE = Scene(nodes=("n1", "n2", "n3", "n4", "n5"), schedulers=("s1", "s2", "s3"))

REBALANCE_AFTER_S = 5.0
"""In some histories; short enough for balance before the end."""

SIMPLE_SCENE = Scene(nodes=("n1", "n2"), schedulers=(), simple=True)

MORE = (*ALLOCATION, OneFaultAlone, OneLeaderActs, CachesAreBounded, LoadIsEven)
"""Invariants beside the general ones."""


@dataclass(frozen=True)
class History:
    """All that decides how a run goes."""

    seed: int
    faults: tuple[Fault, ...]
    flags: tuple[tuple[str, object], ...] = ()
    end_s: float = END_S

    @classmethod
    def draw(cls, seed: int) -> "History":
        rng = Random(seed)  # noqa: S311 - a simulation's chance
        if rng.random() < SIMPLE:
            return cls(seed, _draw_faults(rng, SIMPLE_SCENE), (("simple", True),))
        faults = _draw_faults(rng, SCENE)
        flags: list[tuple[str, object]] = []
        if rng.random() < 0.15:
            flags.append(("on_api_loss", "release"))
        if rng.random() < 0.2:
            flags.append(("nodefilter", Strategy.FIRST_ALIVE))
        if rng.random() < 0.4:
            flags.append(("rebalance_after_s", REBALANCE_AFTER_S))
        return cls(seed, faults, tuple(flags))

    def __str__(self) -> str:
        lines = [f"    {fault}," for fault in self.faults]
        flags = f", flags={self.flags!r}" if self.flags else ""
        return "\n".join([f"History({self.seed}, (", *lines, f"){flags})"])


def _draw_faults(rng: Random, scene: Scene) -> tuple[Fault, ...]:
    """Return the faults of a history in their order: some together, or each alone."""
    kinds = [k for k in FAULTS.values() if (k.of_simple if scene.simple else k.of_claims)]
    weights = [kind.weight for kind in kinds]
    one_by_one = rng.random() < 0.4
    times = [13.0, 36.0, 59.0] if one_by_one else _times(rng)
    faults = []
    for kind, at_s in zip(rng.choices(kinds, weights, k=len(times)), times, strict=True):
        fault = kind.draw(rng, scene, round(at_s + rng.random(), 2))
        most_s = ALONE_LASTS_S if one_by_one else fault.lasts_s
        faults.append(replace(fault, lasts_s=min(fault.lasts_s, most_s)))
    return tuple(sorted(faults, key=lambda fault: fault.at_s))


def _times(rng: Random) -> list[float]:
    return [rng.uniform(BEGIN_S, HEALED_S - 8) for _ in range(rng.randint(2, 14))]


@dataclass(frozen=True)
class Violation:
    """A promise that was broken."""

    at_s: float
    invariant: str
    text: str

    def __str__(self) -> str:
        return f"{self.at_s:7.2f} s  {self.invariant}: {self.text}"


@dataclass
class Outcome:
    """What a run showed."""

    requests: str = ""
    """A hash of all requests, with their times: two runs are the same when it is."""
    violations: list[Violation] = field(default_factory=list)
    pairs: Counter[tuple[str, str]] = field(default_factory=Counter)
    """How often each kind of fault began in each state."""


def play(history: History, *more: Callable[[World], Invariant]) -> Outcome:
    """Run it; the same history gives the same outcome, to the last request.

    `more` make invariants beside those of every history.
    """
    outcome = Outcome()
    gc.disable()
    try:
        run_hosts(_Run(history, outcome, (*INVARIANTS, *MORE, *more)).main())
    finally:
        gc.enable()
        gc.collect()
    return outcome


class _Run:
    def __init__(
        self, history: History, outcome: Outcome, invariants: Iterable[Callable[[World], Invariant]]
    ) -> None:
        self._history, self._outcome = history, outcome
        self._made_by = tuple(invariants)
        self._world: World
        self._invariants: list[Invariant] = []
        self._broken: set[str] = set()

    async def main(self) -> None:
        world = self._world = _cluster(self._history)
        self._invariants = [make(world) for make in self._made_by]
        for fault in self._history.faults:
            later(fault.at_s, self._begin, fault)
        try:
            while world.now < self._history.end_s:
                await asyncio.sleep(LOOK_S)
                world.look()
                for invariant in self._invariants:
                    self._note(invariant, invariant.look())
            for invariant in self._invariants:
                self._note(invariant, invariant.end())
        finally:
            world.close()
        requests = repr(world.api.requests).encode()
        self._outcome.requests = sha256(requests).hexdigest()[:12]

    def _begin(self, fault: Fault) -> None:
        world, kind = self._world, type(fault).__name__
        for state in world.states():
            self._outcome.pairs[(kind, state)] += 1
        if not fault.harmless:
            world.fault_begins(kind, fault)
        world.touching(fault.touches, 1)
        fault.begin(world)
        later(min(fault.lasts_s, HEALED_S - fault.at_s), self._end, fault)

    def _end(self, fault: Fault) -> None:
        world, kind = self._world, type(fault).__name__
        fault.end(world)
        world.touching(fault.touches, -1)
        if not fault.harmless:
            world.fault_ends(kind)

    def _note(self, invariant: Invariant, wrong: Iterable[str]) -> None:
        """Keep the first violation of each invariant: the others follow from it."""
        for text in wrong:
            if invariant.name not in self._broken:
                self._broken.add(invariant.name)
                violation = Violation(self._world.now, invariant.name, text)
                self._outcome.violations.append(violation)


def _cluster(history: History) -> World:
    """Return the cluster of a history, with its services, started."""
    rng = Random(history.seed)  # noqa: S311 - a simulation's chance
    flags = dict(history.flags)
    flags["scheduler"] = {
        "rebalance_after_s": flags.pop("rebalance_after_s", 0.0),
        "nodefilter": flags.pop("nodefilter", Strategy.FAIR),
    }
    world, scene = World(rng, flags=flags), SIMPLE_SCENE if flags.get("simple") else SCENE
    for name in scene.nodes:
        world.add_node(name, rate=round(rng.uniform(0.97, 1.03), 4))
    for name in scene.schedulers:
        world.add_scheduler(name, rate=round(rng.uniform(0.97, 1.03), 4))
    if scene.simple:
        world.pod = scene.nodes[0]
    world.users.add_pool()
    world.users.place_endpoints(tuple(rng.sample(scene.nodes, 2)))
    for name in scene.processes:
        world.later(rng.uniform(0, 1), world.start, name)
    world.later(SERVED_S, _make_services, world)
    return world


def _make_services(world: World) -> None:
    """Have users make services: all nodes get some, since all are there by now."""
    if not world.simple:  # it brings up no IP of a service that its node cannot serve
        world.users.add_service(LOCAL, "10.88.1.9", local=True)
    for number in range(1, 7):
        world.users.add_service(f"web-{number}", f"10.88.1.{number}")
    for number in (7, 8):
        world.users.add_service(f"shop-{number}", f"10.88.1.{number}", namespace="shop")
    for number in (1, 2, 3):
        world.users.add_service(f"six-{number}", f"fd00:88::{number}")
    for number in (1, 2):
        world.users.add_balancer(f"pooled-{number}")
