"""Courses of a fail-over by one write: a node loses its power, and something else happens then.

Each is drawn from a seed: the nodes, the IPs, and when things happen. What has to be known in time
is looked up in the world, and the API server tells when the death is declared. `InTime` measures
how long each IP is away, or on two nodes, a hundred times a second.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from ipaddress import ip_address
from random import Random
from typing import Any, ClassVar

from extip.api.resources import IP_CLAIMS, IP_NODES
from extip.net.interfaces import IPAddress
from extip.scheduling.failovers import PATCHED_AFTER_S
from tests.fakes.api_faults import Call, Delay, Rule
from tests.simulation.bounds import (
    CLOCKS,
    LATE_S,
    LOST_S,
    MONITOR_S,
    NEVER,
    ORDERED,
    Bound,
)
from tests.simulation.faults import Fault
from tests.simulation.history import History, Violation, play
from tests.simulation.invariants import CONVERGED_S, LOOK_S, Invariant
from tests.simulation.world import World

BEGINS_S = 20.0
"""By then each claim has its standby, and each node has been in contact for long enough."""

STEP_S = 0.01
"""Between two looks of `InTime`."""

FOUND_S = MONITOR_S * CLOCKS + 0.1 + 0.3
"""From a death until other nodes have the IPs: `--monitor`, 0.1 s, and some calls."""


GONE_S = 8.0
"""After that a node has none of the IPs any more that it may not have: the death is found, too."""


class When(Enum):
    """When something happens to the standby."""

    UNDECIDED = "before-the-death-is-found"
    NAMED = "before-it-took-the-ips"
    TAKEN = "after-it-took-the-ips"


class Course:
    """A node loses power; its subclasses say what happens to the standby of one of its IPs."""

    lasts_s: ClassVar[float] = 14.0
    flags: ClassVar[tuple[tuple[str, object], ...]] = ()
    of_standby: ClassVar[Bound] = ORDERED
    """What may become of the IPs that the standby had before."""
    writes: ClassVar[int] = 1
    """The writes of each of these claims that the scheduler tries until one is made."""

    def __init__(self, seed: int, when: When = When.TAKEN) -> None:
        self.rng = rng = Random(f"{type(self).__name__} {seed}")  # noqa: S311 - repeatable
        self.seed, self.when = seed, when
        self.after_s, self.hold_s, self.slow_s = rng.uniform(0, 0.3), 0.0, rng.uniform(0, 0.5)
        if when is When.NAMED:
            self.hold_s = rng.uniform(0.05, 0.35)
            self.after_s = rng.uniform(0, 0.9) * self.hold_s
        elif when is When.TAKEN:
            self.after_s = rng.choice([rng.uniform(0, 0.05), rng.uniform(0.1, 0.3)])
            self.slow_s = rng.uniform(0.4, 0.9)
        self.bounds: dict[IPAddress, Bound] = {}
        """What may become of each IP from now on."""
        self.declared: dict[str, float] = {}
        """When each scheduler first sent that write."""
        self.upset_s: float | None = None
        """When it happened to the standby."""
        self.had = self.under_way = False
        """Whether the standby had an IP of the dead node up by then, and the claim named that."""
        self.world: World
        self.victim = self.standby = ""
        self.lost: frozenset[IPAddress] = frozenset()
        """The IPs of the dead node."""

    def play(self) -> list[Violation]:
        """Return what promises it breaks."""
        faults = Prepared(0.0, 1.0, course=self), Staged(BEGINS_S, self.lasts_s, course=self)
        end_s = BEGINS_S + self.lasts_s + CONVERGED_S + 6.0
        history = History(self.seed, faults, self.flags, end_s)
        return play(history, lambda world: InTime(world, self)).violations

    def prepare(self, world: World) -> None:
        """Change the cluster before anything runs."""

    def begin(self, world: World) -> None:
        self.world = world
        self.victim, self.standby = self.choose()
        world.touching((self.victim, self.standby), 1)
        rules, schedulers = world.api.faults.rules, frozenset(world.scheduler_hosts)
        writes = frozenset({"patch"})
        if self.slow_s:
            claims = frozenset({IP_CLAIMS.plural})
            rules.append(Rule(Delay(self.slow_s), schedulers, writes, claims))
        if self.hold_s:
            nodes = frozenset({IP_NODES.plural})
            rules.append(Rule(Delay(self.hold_s), schedulers, writes, nodes, name=self.victim))
        world.api.faults.observed = self.on_call
        self.lost, self.bounds = frozenset(self.of(self.victim)), self.first_bounds()
        self.strike()

    def end(self, world: World) -> None:
        world.api.faults.rules.clear()
        world.api.faults.observed = lambda _: None
        self.mend()
        world.touching((self.victim, self.standby), -1)

    def strike(self) -> None:
        """Have the node lose its power."""
        self.world.power_off(self.victim)
        if self.when is When.UNDECIDED:
            self.world.later(self.after_s, self._upset)

    def upset(self) -> None:
        """Have happen what happens to the standby."""

    def mend(self) -> None:
        """Have all be as before."""
        self.world.power_on(self.victim)

    def is_over_by(self, now: float) -> bool:
        """Whether the standby had time to hand over what it has, and may not have it back yet."""
        end_s = BEGINS_S + self.lasts_s
        return self.upset_s is not None and self.upset_s + GONE_S < now < end_s

    def choose(self) -> tuple[str, str]:
        """Return the node that dies, and the standby."""
        pairs = {
            (spec["nodeName"], spec["standby"])
            for ip, spec in self.specs().items()
            if self.suits(ip) and spec.get("standby")
        }
        return self.rng.choice(sorted(pairs))

    def suits(self, ip: IPAddress) -> bool:
        """Whether the IP may be the one in question."""
        return ip not in self.world.local_ips

    def specs(self) -> dict[IPAddress, dict[str, Any]]:
        """Return the spec of each claim."""
        specs = (claim["spec"] for claim in self.world.api.all(IP_CLAIMS))
        return {ip_address(spec["cidr"].partition("/")[0]): spec for spec in specs}

    def of(self, *nodes: str) -> set[IPAddress]:
        """Return the IPs that claims give to these nodes."""
        return {ip for ip, spec in self.specs().items() if spec.get("nodeName") in nodes}

    def first_bounds(self) -> dict[IPAddress, Bound]:
        """Return what may become of each IP that is well now; the local one has few nodes."""
        lost, upset = self.of(self.victim), self.of(self.standby)
        answers = self.world.answers()
        well = [ip for ip in self.world.users.wanted if len(answers.get(ip, ())) == 1]
        return {
            ip: self.of_lost if ip in lost else self._of_upset if ip in upset else NEVER
            for ip in well
            if ip not in self.world.local_ips
        }

    @property
    def of_lost(self) -> Bound:
        """What may become of the IPs of the node that dies."""
        away_s = FOUND_S + PATCHED_AFTER_S + self.slow_s
        return Bound(ORDERED.two_s, away_s + self._of_upset.nobody_s)

    @property
    def of_back(self) -> Bound:
        """What may become of them as soon as they are back."""
        return self._of_upset

    @property
    def _of_upset(self) -> Bound:
        bound = self.of_standby
        if not bound.nobody_s:
            return bound
        # They may be given to the dead node before its death is found.
        found_s = FOUND_S if self.when is When.UNDECIDED else 0.0
        return Bound(bound.two_s, bound.nobody_s + found_s + self.writes * self.slow_s)

    def on_call(self, call: Call) -> None:
        """Take a call that arrives at the API server."""
        if not self.declares(call):
            return
        if not self.declared and self.when is When.NAMED:
            self.world.later(self.after_s, self._upset)
        elif not self.declared and self.when is When.TAKEN:
            self._wait()
        self.declared.setdefault(call.who, self.world.now)

    def declares(self, call: Call) -> bool:
        """Whether a call is the write by which the node fails over."""
        named = b'"failedOver":{' in call.sent
        return named and (call.plural, call.name) == (IP_NODES.plural, self.victim)

    def _wait(self) -> None:
        """Wait until the standby has an IP of the dead node up."""
        if self._has(self._to_take()):
            self.world.later(self.after_s, self._upset)
        else:
            self.world.later(STEP_S, self._wait)

    def _upset(self) -> None:
        to_take = self._to_take()
        self.upset_s = self.world.now
        self.under_way, self.had = bool(to_take), self._has(to_take)
        self.upset()

    def _to_take(self) -> list[IPAddress]:
        """Return the IPs whose claims name the dead node, and this standby."""
        pair = self.victim, self.standby
        specs = self.specs().items()
        return [ip for ip, one in specs if (one.get("nodeName"), one.get("standby")) == pair]

    def _has(self, ips: Iterable[IPAddress]) -> bool:
        answers = self.world.answers()
        return any(self.standby in answers.get(ip, ()) for ip in ips)

    def unfit(self) -> Iterable[IPAddress]:
        """Return the IPs that the standby may not have any more."""
        return () if self.upset_s is None else filter(self.suits, self.bounds)


class InTime(Invariant):
    """No IP is away, lost to its clients, or on two nodes for longer than the course allows.

    At the end no fail-over is under way.
    """

    def __init__(self, world: World, course: Course) -> None:
        super().__init__(world)
        self._course = course
        self._away_s: defaultdict[IPAddress, float] = defaultdict(float)
        self._two_s: defaultdict[IPAddress, float] = defaultdict(float)
        self._lost_s: defaultdict[IPAddress, float] = defaultdict(float)
        self._first_s: dict[IPAddress, float] = {}
        """IPs of the dead node that were up again, each with the time for which it was away."""
        world.later(STEP_S, self._step)

    def look(self) -> Iterable[str]:
        world, course = self.world, self._course
        for ip in course.unfit() if course.is_over_by(world.now) else ():
            if course.standby in world.holders(ip):
                yield f"{ip} is still on {course.standby}, which may not have it"
        for ip, bound in course.bounds.items():
            lost = bool(world.answering.get(ip)) and not world.reached.get(ip)
            self._lost_s[ip] += LOOK_S * lost
            for what in self._wrong(ip, bound):
                yield f"{ip}, with {course.victim} dead and {course.standby} as a standby, {what}"

    def _wrong(self, ip: IPAddress, first: Bound) -> Iterable[str]:
        bound = self._course.of_back if ip in self._first_s else first
        held = self.world.answering.get(ip, ())
        if self._two_s[ip] > bound.two_s * CLOCKS + 2 * STEP_S:
            yield f"is on two nodes, now {held}, for {self._two_s[ip]:.2f} s in all"
        if self._first_s.get(ip, 0.0) > first.nobody_s * CLOCKS + 2 * STEP_S:
            yield f"was back after {self._first_s[ip]:.2f} s"
        if self._away_s[ip] > bound.nobody_s * CLOCKS + 2 * STEP_S:
            yield f"is away for {self._away_s[ip]:.2f} s in all, now on {held}"
        if self._lost_s[ip] > LOST_S + LATE_S:
            yield f"is lost to its clients for {self._lost_s[ip]:.1f} s in all"

    def end(self) -> Iterable[str]:
        for record in self.world.api.all(IP_NODES):
            if record["status"].get("failedOver"):
                yield f"{record['metadata']['name']} still names {record['status']['failedOver']}"

    def _step(self) -> None:
        answers = self.world.answers() if self._course.bounds else {}
        for ip in self._course.bounds:
            count = len(answers.get(ip, ()))
            if count and self._away_s[ip] and ip in self._course.lost - self._first_s.keys():
                self._first_s[ip] = self._away_s.pop(ip)
            self._away_s[ip] += STEP_S * (count == 0)
            self._two_s[ip] += STEP_S * (count > 1)
        self.world.later(STEP_S, self._step)


@dataclass(frozen=True, eq=False)
class Staged(Fault):
    """A course, as a fault of a history."""

    course: Course | None = None

    @property
    def touches(self) -> tuple[str, ...]:
        return ()  # the course tells when it knows

    def begin(self, world: World) -> None:
        assert self.course is not None
        self.course.begin(world)

    def end(self, world: World) -> None:
        assert self.course is not None
        self.course.end(world)


@dataclass(frozen=True, eq=False)
class Prepared(Staged):
    """What a course needs before it."""

    harmless = True

    def begin(self, world: World) -> None:
        assert self.course is not None
        self.course.prepare(world)

    def end(self, world: World) -> None:
        """Leave it as it is."""
