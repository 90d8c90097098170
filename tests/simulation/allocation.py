"""What services have of the pool, also when many come and go and the pool changes."""

from collections.abc import Iterable

from extip.net.interfaces import IPAddress
from tests.simulation.invariants import CONVERGED_S, EXCUSED_S, Invariant
from tests.simulation.users import POOL_SIZE
from tests.simulation.world import World


class NeverGivenTwice(Invariant):
    """No address of a pool belongs to two services that did not ask to share it."""

    def look(self) -> Iterable[str]:
        for ip, names in self.world.users.given.items():
            if len(names) > 1:
                yield f"{ip} is given to {sorted(names)}"


class KeepsItsAddress(Invariant):
    """A service has the same address while it lives, unless the pool or a station took it."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self._given: dict[str, IPAddress] = {}

    def look(self) -> Iterable[str]:
        world, before = self.world, self._given
        self._given = {name: ip for ip, names in world.users.given.items() for name in names}
        for name, ip in self._given.items():
            kept = before.get(name, ip)
            if kept != ip and world.touched_s_ago("pool") >= EXCUSED_S:
                yield f"{name} had {kept}, and has {ip}"


class NobodyWaits(Invariant):
    """A service gets an address as long as the pool has one left."""

    def look(self) -> Iterable[str]:
        world = self.world
        if world.quiet_for_s < CONVERGED_S or world.touched_s_ago("pool") < CONVERGED_S:
            return
        for name, since in world.users.waiting.items():
            left = len(world.users.given) < POOL_SIZE
            if left and world.now - max(since, world.users.full_s) > CONVERGED_S:
                yield f"{name} waits for an address since {since:.1f}"


ALLOCATION = (NeverGivenTwice, KeepsItsAddress, NobodyWaits)
