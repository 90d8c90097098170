"""The kernels of the nodes: interfaces, addresses and notices."""

from ipaddress import ip_interface
from random import Random

from tests.simulation.faults.base import OfNode, Scene
from tests.simulation.world import IFACE, World


class Down(OfNode):
    """Somebody sets the interface down, and up again."""

    def begin(self, world: World) -> None:
        world.begins("down", self.who[0])
        world.set_link(self.who[0])

    def end(self, world: World) -> None:
        world.ends("down", self.who[0])
        world.set_link(self.who[0])


class Missing(OfNode):
    """The interface has another name for a while."""

    def begin(self, world: World) -> None:
        if world.begins("missing", self.who[0]):
            self._rename(world, IFACE, "moved0")

    def end(self, world: World) -> None:
        if world.ends("missing", self.who[0]):
            self._rename(world, "moved0", IFACE)

    def _rename(self, world: World, before: str, after: str) -> None:
        world.nodes[self.who[0]].kernel.change_link(before, name=after)


class LostNotices(OfNode):
    """The kernel drops what a process has not read, and somebody removes an address just then."""

    def begin(self, world: World) -> None:
        kernel = world.nodes[self.who[0]].kernel
        kernel.overrun()
        remove_some(world, self.who[0], 1)


class Flushed(OfNode):
    """Somebody removes external IPs by hand, one or all."""

    def begin(self, world: World) -> None:
        remove_some(world, self.who[0], 1 if self.amount < 0.5 else 100)


class Taken(OfNode):
    """Somebody puts an IP that services want on a node by hand, and takes it away at the end."""

    @classmethod
    def whom(cls, rng: Random, scene: Scene) -> tuple[str, ...]:
        return (rng.choice(scene.nodes), f"10.88.1.{rng.randint(1, 8)}/32")

    @property
    def touches(self) -> tuple[str, ...]:
        return ("*",)

    def begin(self, world: World) -> None:
        name, address = self.who
        interface, kernel = ip_interface(address), world.nodes[name].kernel
        if kernel.look_up(IFACE) is not None and not kernel.has(interface.ip):
            kernel.put(IFACE, interface)
            world.foreign[(name, interface)] = world.now

    def end(self, world: World) -> None:
        name, address = self.who
        interface, kernel = ip_interface(address), world.nodes[name].kernel
        if world.foreign.pop((name, interface), None) is not None:
            for link in kernel.all_links():
                kernel.delete(link.index, interface)


def remove_some(world: World, name: str, count: int) -> None:
    kernel = world.nodes[name].kernel
    for address in [one for one in kernel.observed() if one.ours][:count]:
        kernel.delete(address.link_index, address.interface)


KERNEL = (Down, Missing, LostNotices, Flushed, Taken)
