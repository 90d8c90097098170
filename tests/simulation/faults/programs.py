"""Other programs of the cluster: an autoscaler, and a controller that writes where extip does."""

from dataclasses import replace
from random import Random
from typing import Any, Self

from extip.api.resources import IP_CLAIMS, IP_NODES, NODES, SERVICES, Resource
from tests.simulation.faults.base import Fault, OfNode, Scene
from tests.simulation.world import World

_TAINT = {"key": "ToBeDeletedByClusterAutoscaler", "effect": "NoSchedule", "value": "1"}


class Scaled(OfNode):
    """An autoscaler marks a node, takes its machine away, and brings it back at the end."""

    of_simple = False

    def begin(self, world: World) -> None:
        if world.begins("scaled", self.who[0]):
            if world.api.has(NODES, self.who[0]):
                world.api.patch(NODES, self.who[0], {"spec": {"taints": [_TAINT]}})
            world.later(self.lasts_s / 2, self._off, world)

    def end(self, world: World) -> None:
        name = self.who[0]
        if world.ends("scaled", name):
            if world.held[("no power", name)]:
                world.power_on(name)
            if world.api.has(NODES, name):
                world.api.patch(NODES, name, {"spec": {"taints": None}})
            else:
                world.add_to_api(name)

    def _off(self, world: World) -> None:
        name = self.who[0]
        if world.held[("scaled", name)] and not world.held[("no power", name)]:
            world.power_off(name)
            if world.api.has(NODES, name):
                world.api.delete(NODES, name)


_CLEARED: dict[str, tuple[Resource[Any], dict[str, Any]]] = {
    "services": (SERVICES, {"loadBalancer": {"ingress": None}}),
    "ipclaims": (IP_CLAIMS, {"conditions": None}),
    "ipnodes": (IP_NODES, {"conditions": None}),
}
"""What the other program makes of the status of each kind."""


class Fought(Fault):
    """A controller that takes objects for its own clears their status, again and again."""

    most_s = 8.0
    """Who is fought waits ever longer, so a longer fight has its end later than is looked for."""

    @classmethod
    def draw(cls, rng: Random, scene: Scene, at_s: float) -> Self:
        drawn = super().draw(rng, scene, at_s)
        return replace(drawn, lasts_s=min(drawn.lasts_s, cls.most_s))

    @classmethod
    def whom(cls, rng: Random, scene: Scene) -> tuple[str, ...]:
        return (rng.choice(tuple(_CLEARED)),)

    @property
    def touches(self) -> tuple[str, ...]:
        return ("*",)

    def begin(self, world: World) -> None:
        self._clear(world)

    def _clear(self, world: World) -> None:
        kind, status = _CLEARED[self.who[0]]
        for item in tuple(world.api.collections.get(kind.path(), {}).values()):
            if item.get("status"):
                meta = item["metadata"]
                place = {"namespace": meta["namespace"]} if "namespace" in meta else {}
                world.api.patch(kind, meta["name"], {"status": status}, **place)
        if world.now < self.at_s + self.lasts_s:
            world.later(0.1 + self.amount, self._clear, world)


PROGRAMS = (Scaled, Fought)
