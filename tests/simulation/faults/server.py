"""The API server, and the ways to it."""

from random import Random

from extip.api.resources import CUSTOM_RESOURCE_DEFINITIONS, IP_CLAIMS, IP_NODES
from tests.fakes.api_faults import (
    DENIED,
    ETCD_DOWN,
    FORBIDDEN,
    TOO_MANY,
    WEBHOOK_DOWN,
    WRITES,
    Delay,
    Hang,
    LoseAnswer,
    Overtake,
    Rule,
)
from tests.simulation.faults.base import Fault, OfOne, OfSome, Scene
from tests.simulation.faults.users import undo_again
from tests.simulation.world import World

_KINDS = ("ipclaims", "ipnodes", "leases", "services", "ipclaimpools", "events")


class Silent(OfSome):
    """Nothing gets through between these processes and the API server, and nobody is told."""

    weight = 3.0

    def begin(self, world: World) -> None:
        for name in self.who:
            world.begins("silent", name)
            world.processes[name].transport.way.silent = True

    def end(self, world: World) -> None:
        for name in self.who:
            if world.ends("silent", name):
                world.processes[name].transport.way.silent = False


class Cut(OfSome):
    """Their connections break, and each new one is refused."""

    def begin(self, world: World) -> None:
        for name in self.who:
            if world.begins("cut", name) and world.exists(name):
                world.processes[name].transport.way.cut = True
                world.api.break_watches(name)

    def end(self, world: World) -> None:
        for name in self.who:
            if world.ends("cut", name) and world.exists(name):
                world.processes[name].transport.way.cut = False


class Deaf(OfSome):
    """Their watches are dead, while something in between keeps the connections up."""

    @property
    def touches(self) -> tuple[str, ...]:
        return ("*",)

    def begin(self, world: World) -> None:
        world.api.faults.deaf |= set(self.who)

    def end(self, world: World) -> None:
        world.api.faults.deaf -= set(self.who)
        for name in self.who:
            world.api.break_watches(name)


class Refusing(Fault):
    """It is down: connections break, and new ones are refused."""

    def begin(self, world: World) -> None:
        if world.begins("refusing"):
            world.api.faults.refusing = True
            world.api.break_watches()

    def end(self, world: World) -> None:
        if world.ends("refusing"):
            world.api.faults.refusing = False


class StandingStill(Fault):
    """It takes requests, and answers none until the end."""

    def begin(self, world: World) -> None:
        if world.begins("still"):
            world.api.faults.standing_still = True

    def end(self, world: World) -> None:
        if world.ends("still"):
            world.api.faults.standing_still = False


class LaggingWatches(Fault):
    """Its watch caches are behind etcd, and lists from them are old."""

    def begin(self, world: World) -> None:
        world.api.faults.watch_lag_s += 3 * self.amount

    def end(self, world: World) -> None:
        world.api.faults.watch_lag_s = max(0.0, world.api.faults.watch_lag_s - 3 * self.amount)


class EndedWatches(Fault):
    """It ends all watches; half of the time it knows none of their versions any more (410)."""

    def begin(self, world: World) -> None:
        if self.amount < 0.5:
            world.api.compact()
        world.api.end_watches()


class Ruled(Fault):
    """Some calls go wrong."""

    def rule(self) -> Rule:
        """Return which, and how."""
        raise NotImplementedError

    def begin(self, world: World) -> None:
        world.api.faults.rules.append(self.rule())

    def end(self, world: World) -> None:
        world.api.faults.rules.remove(self.rule())


class OfKind(Ruled):
    """Hits the calls about one kind of object; `amount` says how many of them."""

    @classmethod
    def whom(cls, rng: Random, scene: Scene) -> tuple[str, ...]:
        return (rng.choice(_KINDS),)

    @property
    def touches(self) -> tuple[str, ...]:
        return ("*",)


class Slow(Ruled):
    """Every call takes up to two seconds."""

    def rule(self) -> Rule:
        return Rule(Delay(2.0 * self.amount))


class Throttled(Ruled):
    """It answers 429 to some calls."""

    @property
    def chance(self) -> float:
        """The part of the calls that it refuses."""
        return 0.2 + 0.6 * self.amount

    def rule(self) -> Rule:
        return Rule(TOO_MANY, chance=self.chance)


class EtcdDown(Ruled):
    """Reads from its cache go on, writes fail."""

    def rule(self) -> Rule:
        return Rule(ETCD_DOWN, verbs=WRITES | {"get"})


class Forbidden(Ruled):
    """A right is taken away, and given back."""

    @classmethod
    def whom(cls, rng: Random, scene: Scene) -> tuple[str, ...]:
        verbs = rng.choice(["get", "list", "watch", "create", "update", "patch", "delete"])
        return (rng.choice(_KINDS), verbs)

    @property
    def touches(self) -> tuple[str, ...]:
        return ("*",)

    def rule(self) -> Rule:
        kind, verb = self.who
        return Rule(FORBIDDEN, verbs=frozenset({verb}), plurals=frozenset({kind}))


class Lost(OfKind):
    """Writes take effect, and their answers are lost."""

    def rule(self) -> Rule:
        effect = LoseAnswer(silently=self.amount > 0.5)
        return Rule(effect, verbs=WRITES, plurals=frozenset(self.who), chance=self.amount)


class Unanswered(OfKind):
    """Calls about a kind are never answered, as where a webhook hangs."""

    def rule(self) -> Rule:
        return Rule(Hang(), verbs=WRITES, plurals=frozenset(self.who), chance=0.3 + self.amount)


class Rejected(OfKind):
    """A webhook refuses every change of a kind, or is broken itself."""

    def rule(self) -> Rule:
        effect = DENIED if self.amount < 0.5 else WEBHOOK_DOWN
        return Rule(effect, verbs=WRITES, plurals=frozenset(self.who))


class HangingNamespace(Ruled):
    """A webhook hangs for the objects of one namespace."""

    def rule(self) -> Rule:
        return Rule(Hang(), verbs=WRITES, namespace="shop")


class RejectedNamespace(Ruled):
    """A webhook refuses every change in one namespace, or is broken itself."""

    def rule(self) -> Rule:
        effect = DENIED if self.amount < 0.5 else WEBHOOK_DOWN
        return Rule(effect, verbs=WRITES, namespace="shop")


class Overtaken(OfKind):
    """Somebody else changes the objects all the time: writes with a version are conflicts."""

    def rule(self) -> Rule:
        return Rule(Overtake(), verbs=WRITES, plurals=frozenset(self.who), chance=self.amount)


class Restored(Fault):
    """Its etcd is restored to what it was some seconds ago."""

    weight = 0.3

    def begin(self, world: World) -> None:
        world.api.restore(world.now - 1 - 10 * self.amount)
        undo_again(world)


class Undefined(OfOne):
    """A definition is deleted, with all objects of its kind, and made again at the end."""

    weight = 0.5
    of_simple = False

    @classmethod
    def whom(cls, rng: Random, scene: Scene) -> tuple[str, ...]:
        return (rng.choice([IP_CLAIMS.plural, IP_NODES.plural]),)

    @property
    def touches(self) -> tuple[str, ...]:
        return ("*",)

    def begin(self, world: World) -> None:
        name = f"{self.who[0]}.{IP_CLAIMS.group}"
        known = [c["metadata"]["name"] for c in world.api.all(CUSTOM_RESOURCE_DEFINITIONS)]
        if name in known:
            world.api.delete(CUSTOM_RESOURCE_DEFINITIONS, name)

    def end(self, world: World) -> None:
        known = [c["metadata"]["name"] for c in world.api.all(CUSTOM_RESOURCE_DEFINITIONS)]
        name = f"{self.who[0]}.{IP_CLAIMS.group}"
        if name not in known:
            world.api.define(name)
            world.defined_at_s = world.now


SERVER = (
    Silent,
    Cut,
    Deaf,
    Refusing,
    StandingStill,
    LaggingWatches,
    EndedWatches,
    Slow,
    Throttled,
    EtcdDown,
    Forbidden,
    Lost,
    Unanswered,
    Rejected,
    HangingNamespace,
    RejectedNamespace,
    Overtaken,
    Restored,
    Undefined,
)
