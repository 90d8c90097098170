"""A fault as plain data: it is drawn once, printed as it is, and played any number of times."""

from dataclasses import dataclass
from random import Random
from typing import ClassVar, Self

from tests.simulation.world import World

SHORTEST_S, LONGEST_S = 0.2, 30.0


@dataclass(frozen=True)
class Scene:
    """Who takes part."""

    nodes: tuple[str, ...]
    schedulers: tuple[str, ...]
    simple: bool = False
    """The first node runs `extip simple`, and nothing else runs."""

    @property
    def processes(self) -> tuple[str, ...]:
        return self.nodes[:1] if self.simple else self.nodes + self.schedulers


@dataclass(frozen=True)
class Fault:
    """Begins at a time, lasts a while, and hits some; what `amount` is depends on the kind."""

    at_s: float
    lasts_s: float
    who: tuple[str, ...] = ()
    amount: float = 0.0

    weight: ClassVar[float] = 1.0
    """How often it is drawn, compared with others."""
    harmless: ClassVar[bool] = False
    """It is no fault, and excuses nothing."""
    of_claims: ClassVar[bool] = True
    of_simple: ClassVar[bool] = True
    """The modes in which it happens."""

    @classmethod
    def draw(cls, rng: Random, scene: Scene, at_s: float) -> Self:
        lasts_s = round(SHORTEST_S * (LONGEST_S / SHORTEST_S) ** rng.random(), 2)
        return cls(at_s, lasts_s, cls.whom(rng, scene), round(rng.random(), 3))

    @classmethod
    def whom(cls, rng: Random, scene: Scene) -> tuple[str, ...]:
        """Draw those that it hits; by default none in particular."""
        return ()

    def begin(self, world: World) -> None:
        """Have it begin."""
        raise NotImplementedError

    def end(self, world: World) -> None:
        """Have it end; the world is as before, as far as this fault goes."""

    @property
    def touches(self) -> tuple[str, ...]:
        """Nodes and processes whose behaviour it may explain; `*` is for all."""
        return self.who or ("*",)

    def __str__(self) -> str:
        whom = f", {self.who!r}" if self.who or self.amount else ""
        amount = f", {self.amount}" if self.amount else ""
        return f"{type(self).__name__}({self.at_s}, {self.lasts_s}{whom}{amount})"


class OfOne(Fault):
    """Hits one process."""

    @classmethod
    def whom(cls, rng: Random, scene: Scene) -> tuple[str, ...]:
        return (rng.choice(scene.processes),)


class OfSome(Fault):
    """Hits one process, or several at once."""

    @classmethod
    def whom(cls, rng: Random, scene: Scene) -> tuple[str, ...]:
        count = rng.choice([1, 1, 1, 2, 3])
        return tuple(sorted(rng.sample(scene.processes, min(count, len(scene.processes)))))


class OfNode(Fault):
    """Hits one node."""

    @classmethod
    def whom(cls, rng: Random, scene: Scene) -> tuple[str, ...]:
        return (rng.choice(scene.nodes),)
