"""The segment: cut, split, one-way, lossy, slow, restarted; and other stations on it."""

from ipaddress import ip_address
from itertools import product
from random import Random

from tests.fakes.faulty_segment import Stranger, Weakness
from tests.simulation.faults.base import Fault, OfNode, Scene
from tests.simulation.world import World


class Split(Fault):
    """The nodes named are cut off from all others, and hear each other; their carrier stays."""

    weight = 3.0

    @classmethod
    def whom(cls, rng: Random, scene: Scene) -> tuple[str, ...]:
        count = rng.choice([1, 1, 1, 2, len(scene.nodes) - 1])
        return tuple(sorted(rng.sample(scene.nodes, count)))

    @property
    def touches(self) -> tuple[str, ...]:
        return ("*",) if len(self.who) > 1 else self.who

    def begin(self, world: World) -> None:
        world.segment.block(self._pairs(world))

    def end(self, world: World) -> None:
        world.segment.unblock(self._pairs(world))

    def _pairs(self, world: World) -> list[tuple[bytes, bytes]]:
        inside = [world.mac_of(name) for name in self.who]
        outside = [node.mac for name, node in world.nodes.items() if name not in self.who]
        outside.append(world.client.station)
        return [*product(inside, outside), *product(outside, inside)]


class OneWay(Fault):
    """Frames of the first node do not reach the second; all others arrive."""

    @classmethod
    def whom(cls, rng: Random, scene: Scene) -> tuple[str, ...]:
        return tuple(rng.sample(scene.nodes, 2))

    def begin(self, world: World) -> None:
        world.segment.block([(world.mac_of(self.who[0]), world.mac_of(self.who[1]))])

    def end(self, world: World) -> None:
        world.segment.unblock([(world.mac_of(self.who[0]), world.mac_of(self.who[1]))])


class NotBothWays(OneWay):
    """Two nodes do not hear each other; both hear all others."""

    def begin(self, world: World) -> None:
        world.segment.block(self._pairs(world))

    def end(self, world: World) -> None:
        world.segment.unblock(self._pairs(world))

    def _pairs(self, world: World) -> list[tuple[bytes, bytes]]:
        one, other = (world.mac_of(name) for name in self.who)
        return [(one, other), (other, one)]


class Lossy(Fault):
    """Frames are lost by chance, at most half of them."""

    def begin(self, world: World) -> None:
        world.segment.loss += self.amount / 4

    def end(self, world: World) -> None:
        world.segment.loss = max(0.0, world.segment.loss - self.amount / 4)


class Weak(OneWay):
    """Most frames of the first node to the second are lost or late; the way back is sound."""

    def begin(self, world: World) -> None:
        weakness = Weakness(loss=0.2 + 0.7 * self.amount, delay_s=0.1 * self.amount)
        world.segment.weak[self._pair(world)] = weakness

    def end(self, world: World) -> None:
        world.segment.weak.pop(self._pair(world), None)

    def _pair(self, world: World) -> tuple[bytes, bytes]:
        return world.mac_of(self.who[0]), world.mac_of(self.who[1])


class Late(Fault):
    """Frames take up to 100 ms."""

    def begin(self, world: World) -> None:
        world.segment.delay_s += self.amount / 10

    def end(self, world: World) -> None:
        world.segment.delay_s -= self.amount / 10


class SwitchRestart(Fault):
    """The switch starts anew: no port has carrier, and they are back one after the other."""

    def begin(self, world: World) -> None:
        world.begins("off")
        world.segment.off = True
        for name in world.nodes:
            world.unplug(name)

    def end(self, world: World) -> None:
        if world.ends("off"):
            world.segment.off = False
        for number, name in enumerate(world.nodes):
            world.later(self.amount * number, world.plug_in, name)


class Unplugged(OfNode):
    """The cable is out: no carrier."""

    def begin(self, world: World) -> None:
        world.unplug(self.who[0])

    def end(self, world: World) -> None:
        world.plug_in(self.who[0])


class Claimed(Fault):
    """A printer, or a node of another cluster, has one of the IPs for a while."""

    weight = 0.7

    @classmethod
    def whom(cls, rng: Random, scene: Scene) -> tuple[str, ...]:
        return (f"10.88.1.{rng.randint(1, 8)}",)

    @property
    def touches(self) -> tuple[str, ...]:
        return ("*",)

    def begin(self, world: World) -> None:
        first = 0 if self.amount < 0.5 else 0xFE  # a lower MAC than the nodes have, or a higher one
        mac = bytes([first, 0, 0, 0, 9, int(self.amount * 255)])
        ip = ip_address(self.who[0])
        world.strangers[self] = Stranger(world.segment, mac, ip)

    def end(self, world: World) -> None:
        world.strangers.pop(self).leave()


WIRE = (Split, OneWay, NotBothWays, Weak, Lossy, Late, SwitchRestart, Unplugged, Claimed)
