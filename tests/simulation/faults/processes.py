"""Processes that are killed, fail, freeze, limp or are replaced."""

from tests.fakes.world import later
from tests.simulation.faults.base import Fault, OfOne, OfSome
from tests.simulation.world import World


class Kill(OfSome):
    """SIGKILL; started again at the end."""

    weight = 2.0

    def begin(self, world: World) -> None:
        for name in self.who:
            if not world.processes[name].life.dead and world.processes[name].ended is None:
                world.kill(name)

    def end(self, world: World) -> None:
        for name in self.who:
            world.start(name)


class Restart(OfOne):
    """SIGTERM; a new process at the end, or as soon as the old one has gone."""

    weight = 2.0

    def begin(self, world: World) -> None:
        for name in self.who:
            world.terminate(name)

    def end(self, world: World) -> None:
        for name in self.who:
            running = world.processes[name]
            if running.ended is None and not running.life.dead:
                later(0.1, self.end, world)
            else:
                world.start(name)


class OtherVersion(OfSome):
    """They end in order, an older version begins in their place, and this one again at the end."""

    weight = 2.0
    of_simple = False

    def begin(self, world: World) -> None:
        for name in self.who:
            if world.begins("older", name):
                world.restart(name)

    def end(self, world: World) -> None:
        for name in self.who:
            if world.ends("older", name):
                world.restart(name)


class Freeze(OfSome):
    """SIGSTOP, and SIGCONT at the end."""

    weight = 2.0

    def begin(self, world: World) -> None:
        for name in self.who:
            if world.begins("frozen", name):
                world.freeze(name)

    def end(self, world: World) -> None:
        for name in self.who:
            if world.ends("frozen", name):
                world.thaw(name)


class Limp(OfOne):
    """It gets the processor for a moment at a time, as in a cgroup that is throttled."""

    def begin(self, world: World) -> None:
        self._stop(world, world.processes[self.who[0]])

    def _stop(self, world: World, running: object) -> None:
        name = self.who[0]
        if world.now < self.at_s + self.lasts_s and world.processes[name] is running:
            if world.begins("frozen", name):
                world.freeze(name)
            later(0.05 + 0.4 * self.amount, self._go, world, running)

    def _go(self, world: World, running: object) -> None:
        name = self.who[0]
        if world.ends("frozen", name):
            world.thaw(name)
        later(0.02, self._stop, world, running)


class Rescheduled(Fault):
    """Kubernetes moves the pod of simple mode to the next node, and back at the end."""

    weight = 4.0
    of_claims = False

    @property
    def touches(self) -> tuple[str, ...]:
        return ("*",)

    def begin(self, world: World) -> None:
        world.reschedule()

    def end(self, world: World) -> None:
        world.reschedule()


class WallClock(OfOne):
    """Its machine's wall clock is wrong for a while, by hours."""

    def begin(self, world: World) -> None:
        world._clock_of(self.who[0]).wall_offset_s = (self.amount - 0.5) * 20000

    def end(self, world: World) -> None:
        world._clock_of(self.who[0]).wall_offset_s = 0.0


PROCESSES = (Kill, Restart, OtherVersion, Freeze, Limp, Rescheduled, WallClock)
