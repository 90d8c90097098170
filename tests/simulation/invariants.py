"""What holds in every history: the promises, one small class each.

Each looks at the world five times a second, and says what is wrong in one line. A bound has a name
here, and its number is that of `docs/fail-over.md`, plus what a look can be late.
"""

from collections import defaultdict
from collections.abc import Iterable
from ipaddress import IPv4Interface

from extip.definitions.orphans import PATIENCE_S
from extip.net.interfaces import IPAddress
from tests.fakes.hosts import hosts_loop
from tests.simulation.moves import Move
from tests.simulation.world import World

LOOK_S = 0.2
"""Between two looks."""

CONVERGED_S = 25.0
"""After the last fault is over, everything is as wanted within this."""

HANDOVER_S = 5.0
"""`--drain-timeout`: an ordered move may have two holders for so long."""

LIFETIME_END_S = 1.0
"""The kernel removes an address within a second of the end of its lifetime."""

EXCUSED_S = 30.0
"""A fault at a node explains moves away from it until so long after its end."""

REQUESTS_A_SECOND = 60.0
"""Of one process, over five seconds, whatever happens."""

QUIET_REQUESTS_A_SECOND = 2.0
"""Of one process, on average, when nothing happens."""

QUIET_FRAMES_A_SECOND = 20.0
"""All frames, when nothing happens."""

MOST_TASKS = 120
"""Of one process."""


class Invariant:
    """Looks, and returns what is wrong."""

    def __init__(self, world: World) -> None:
        self.world = world

    def look(self) -> Iterable[str]:
        """Return what is wrong now."""
        return ()

    def end(self) -> Iterable[str]:
        """Return what is wrong with the whole, at the end."""
        return ()

    @property
    def name(self) -> str:
        return type(self).__name__


class OneOwner(Invariant):
    """Two nodes do not answer for one IP for longer than the table says."""

    bound_s = HANDOVER_S + 2.0

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self._since: dict[tuple[IPAddress, str, str], float] = {}

    def look(self) -> Iterable[str]:
        now, before = self.world.now, self._since
        self._since = {}
        for ip, names in self.world.answering.items():
            for one, other in _pairs(names) if len(names) > 1 else ():
                if self._excused(one, other):
                    continue
                since = self._since[(ip, one, other)] = before.get((ip, one, other), now)
                if now - since > self.bound_s:
                    yield f"{one} and {other} answer for {ip} since {since:.1f}"

    def _excused(self, one: str, other: str) -> bool:
        """Whether one of them does not run, or is cut off from the API server and the other."""
        world = self.world
        if not (world.runs(one) and world.runs(other)):
            return True  # the kernel removes its addresses, which `NothingOutlivesItsTtl` looks at
        a, b = world.mac_of(one), world.mac_of(other)
        connected = world.segment.connects(a, b) and world.segment.connects(b, a)
        return not connected and (
            world.cut_off_s_ago(one) < HANDOVER_S or world.cut_off_s_ago(other) < HANDOVER_S
        )


class NothingOutlivesItsTtl(Invariant):
    """The kernel drops the addresses of a process that is killed or frozen, at the TTL's end."""

    def look(self) -> Iterable[str]:
        world = self.world
        for name, node in world.nodes.items():
            running = world.processes.get(name)
            if running is None or world.runs(name):
                continue
            since = running.stopped_at_s or running.frozen_at_s
            if since is None:
                continue
            limit_s = (world.ttl_s + LIFETIME_END_S) / node.clock.rate + LOOK_S
            if world.now - since > limit_s and (left := world.ours_on(name)):
                yield f"{left} on {name}, whose controller stopped at {since:.1f}"


class NothingOfOthersTouched(Invariant):
    """Addresses that somebody else put there are as they were."""

    def look(self) -> Iterable[str]:
        if round(self.world.now / LOOK_S) % 5:
            return
        for name, node in self.world.nodes.items():
            seen = {(a.interface, a.ours) for a in node.kernel.observed()}
            others = [i for (n, i), _ in self.world.foreign.items() if n == name]
            for interface in [IPv4Interface(f"{node.own}/24"), *others]:
                if (interface, False) not in seen:
                    yield f"{interface} on {name} is not as it was"


class AllIsWell(Invariant):
    """When no fault is left, each wanted IP is where its claim says, and reached; no other is."""

    def look(self) -> Iterable[str]:
        world = self.world
        if world.quiet_for_s < CONVERGED_S or round(world.now / LOOK_S) % 5:
            return
        yield from self._wanted()
        # A claim that went with its kind is kept until it is known not to come back.
        missed = world.now - world.defined_at_s < PATIENCE_S + CONVERGED_S
        for ip, since in world.users.gone.items():
            if world.now - since > CONVERGED_S and not missed and (holders := world.holders(ip)):
                yield f"{ip} is on {holders}, and nobody wants it"

    def _wanted(self) -> Iterable[str]:
        world = self.world
        assigned = world.assigned()
        for ip, since in world.users.wanted.items():
            if world.now - since < CONVERGED_S or world.is_balancing(ip):
                continue
            holders = world.holders(ip)
            if holders != [assigned.get(ip, "")]:
                yield f"{ip} is on {holders}, its claim on {assigned.get(ip)!r}"
            elif not world.reached.get(ip):
                yield f"{ip} is on {holders}, and its clients do not reach it"


class NoNeedlessMove(Invariant):
    """A claim stays where it is while no fault is, or was just before, at its node."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self._needless: list[Move] = []
        world.moves.on_move.append(self._on_move)

    def look(self) -> Iterable[str]:
        moves, self._needless = self._needless, []
        return [f"{m.ip} moved from {m.source} to {m.target} for no reason" for m in moves]

    def _on_move(self, move: Move) -> None:
        world = self.world
        if world.balances(move) or world.touched_s_ago(move.source) < EXCUSED_S:
            return
        if move.ip not in world.local_ips or world.touched_s_ago("endpoints") >= EXCUSED_S:
            self._needless.append(move)


class LoadIsBounded(Invariant):
    """Requests a second have a bound, in every storm and at rest; so have frames at rest."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self._seen = 0
        self._recent: dict[str, list[float]] = defaultdict(list)
        self._quiet_since: tuple[float, int, int] | None = None

    def look(self) -> Iterable[str]:
        world = self.world
        for at_s, who, _ in world.api.requests[self._seen :]:
            self._recent[who].append(at_s)
        self._seen = len(world.api.requests)
        for who, times in self._recent.items():
            while times and times[0] < world.now - 5:
                times.pop(0)
            if len(times) > 5 * REQUESTS_A_SECOND:
                yield f"{who} sent {len(times)} requests in 5 s"
                times.clear()
        if world.quiet_for_s < CONVERGED_S:
            self._quiet_since = None
        elif self._quiet_since is None:
            self._quiet_since = (world.now, self._seen, world.segment.frames)

    def end(self) -> Iterable[str]:
        if self._quiet_since is None:
            return
        began, requests, frames = self._quiet_since
        lasted_s = max(self.world.now - began, 1.0)
        rate = (self._seen - requests) / lasted_s / len(self.world.processes)
        if lasted_s > 5 and rate > QUIET_REQUESTS_A_SECOND:
            yield f"{rate:.1f} requests a second by each process at rest"
        rate = (self.world.segment.frames - frames) / lasted_s
        if lasted_s > 5 and rate > QUIET_FRAMES_A_SECOND:
            yield f"{rate:.1f} frames a second at rest"


class StepsAreShort(Invariant):
    """No step keeps the event loop for long."""

    def look(self) -> Iterable[str]:
        loop = hosts_loop()
        steps, loop.long_steps = loop.long_steps, []
        return [f"{s.whose}: {s.process_s * 1000:.0f} ms in {s.what}" for s in steps if s.whose]


class NoProcessFails(Invariant):
    """No process ends but for a reason that it tells a person; no callback fails."""

    def look(self) -> Iterable[str]:
        loop = hosts_loop()
        errors, loop.errors = loop.errors, []
        yield from (f"{whose}: {text}" for whose, text in errors)
        for name, running in self.world.processes.items():
            if running.ended and not running.fatal:
                yield f"{name} ended: {running.ended}"
                running.ended = ""


class NothingPilesUp(Invariant):
    """Tasks of a process do not pile up."""

    def end(self) -> Iterable[str]:
        for name, count in self.world.tasks().items():
            if count > MOST_TASKS:
                yield f"{name} has {count} tasks"


INVARIANTS: tuple[type[Invariant], ...] = (
    OneOwner,
    NothingOutlivesItsTtl,
    NothingOfOthersTouched,
    AllIsWell,
    NoNeedlessMove,
    LoadIsBounded,
    StepsAreShort,
    NoProcessFails,
    NothingPilesUp,
)


def _pairs(names: list[str]) -> Iterable[tuple[str, str]]:
    return ((a, b) for i, a in enumerate(names) for b in names[i + 1 :])
