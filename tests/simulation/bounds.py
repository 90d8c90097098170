"""The table of "One owner" in `docs/fail-over.md`: what one fault alone may do to an IP.

A fault is alone when none was for a while before it. Until a while after its end, or until the next
one, the time is measured in which two nodes answer the clients for an IP, and in which none does.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from extip.net.interfaces import IPAddress
from tests.simulation.faults.base import Fault
from tests.simulation.faults.server import Throttled
from tests.simulation.invariants import HANDOVER_S, LIFETIME_END_S, LOOK_S, Invariant
from tests.simulation.world import World

HEARTBEAT_S, MONITOR_S, TTL_S = 2.0, 4.0, 6.0
LATE_S = 2 * LOOK_S
"""What looks may be late."""

LOST_S = 1.0
"""An announcement is repeated after 100 ms, and after a second; clients are wrong for no longer."""

CLOCKS = 1.04
"""How much longer a second of one host is than that of another, at most."""


@dataclass(frozen=True)
class Bound:
    """Seconds for which two nodes may answer for an IP, and for which none may."""

    two_s: float
    nobody_s: float


MOST_REFUSED = 0.5
"""Part of the calls that a server may refuse (429) without an effect on any IP."""

NEVER = Bound(0.0, 0.0)
ORDERED = Bound(1.0, 0.0)
"""The next holder is up first; then the one before lets go."""

STOPPED = Bound(TTL_S + LIFETIME_END_S + 1.1 * HEARTBEAT_S - MONITOR_S, 0.0)
CUT_OFF = Bound(0.2, 0.0)
ISOLATED = Bound(0.0, 2.5 * HEARTBEAT_S + 0.2)
NO_CARRIER = Bound(0.0, 1.5)
TAKEN_AWAY = Bound(ORDERED.two_s, ISOLATED.nobody_s)
"""A node that is marked hands its IPs over; a moment later it has no power any more."""


def _of_nodes(bound: Bound, *, alone: bool = False) -> Callable[[Fault], Bound | None]:
    """Return the bound when nodes are hit; where it is schedulers alone, nothing happens."""

    def choose(fault: Fault) -> Bound | None:
        nodes = [name for name in fault.who if name.startswith("n")]
        if not nodes:
            return NEVER
        many = len(nodes) > (1 if alone else 2)
        return None if many or len(nodes) < len(fault.who) else bound

    return choose


BACK_S = 3.0
"""A node that was cut off tries its watches again within this."""


def _cut_off(fault: Fault) -> Bound | None:
    """Return the bound; of two nodes one may be the next holder, which hears of it when it is back.

    The scheduler knows no better: only one of them has run out its time, by the last heartbeats.
    """
    bound = _of_nodes(CUT_OFF)(fault)
    if bound is CUT_OFF and len(fault.who) > 1:
        return Bound(CUT_OFF.two_s, fault.lasts_s + BACK_S)
    return bound


def _always(_: Fault) -> Bound:
    return NEVER


def _throttled(fault: Fault) -> Bound | None:
    """Return `NEVER` while at most half of the calls are refused: heartbeats get through then."""
    return NEVER if isinstance(fault, Throttled) and fault.chance <= MOST_REFUSED else None


TABLE: dict[str, Callable[[Fault], Bound | None]] = {
    "Kill": _of_nodes(STOPPED),
    "Freeze": _of_nodes(STOPPED),
    "Restart": _of_nodes(ORDERED),
    "OtherVersion": _of_nodes(ORDERED),
    "WallClock": _always,
    "Silent": _cut_off,
    "Cut": _cut_off,
    "Refusing": _always,
    "StandingStill": _always,
    "Throttled": _throttled,
    "EtcdDown": _always,
    "LaggingWatches": _always,
    "EndedWatches": _always,
    "Slow": _always,
    "Overtaken": _always,
    "Rejected": _always,
    "HangingNamespace": _always,
    "RejectedNamespace": _always,
    "Split": _of_nodes(ISOLATED, alone=True),
    "Unplugged": _of_nodes(NO_CARRIER),
    "Down": _of_nodes(NO_CARRIER),
    "Drained": _of_nodes(ORDERED),
    "NodePatched": lambda _: ORDERED,
    "Scaled": _of_nodes(TAKEN_AWAY, alone=True),
    "RecordDeleted": _always,
    "Lossy": _always,
    "Late": _always,
    "OneWay": _always,
    "NotBothWays": _always,
    "Weak": _always,
}
"""Faults that are not in it have no bound of their own."""

MOVED_S = 2.0
"""A pod of simple mode stops; another one reads all services, probes their IPs and announces."""


def _while_it_lasts(fault: Fault) -> Bound:
    return Bound(0.0, fault.lasts_s + MOVED_S)


SIMPLE_TABLE = dict.fromkeys(TABLE, _always) | {
    "Restart": _while_it_lasts,
    "Rescheduled": lambda _: Bound(0.0, MOVED_S),
    "Split": _while_it_lasts,
    "Unplugged": _while_it_lasts,
    "Down": _while_it_lasts,
    "OneWay": _while_it_lasts,
    "NotBothWays": _while_it_lasts,
}
"""The same for simple mode: what runs on one node is away only with it, and never on two."""


class OneFaultAlone(Invariant):
    """An IP that was well is doubled or away no longer than the fault's line of the table says."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self._fault: Fault | None = None
        self._well: set[IPAddress] = set()
        self._two_s: defaultdict[IPAddress, float] = defaultdict(float)
        self._nobody_s: defaultdict[IPAddress, float] = defaultdict(float)
        self._lost_s: defaultdict[IPAddress, float] = defaultdict(float)

    def look(self) -> Iterable[str]:
        world, fault = self.world, self.world.alone
        if fault is not self._fault:
            self._begin(fault)
        table = SIMPLE_TABLE if world.simple else TABLE
        bound = None if fault is None else table.get(type(fault).__name__, lambda _: None)(fault)
        if bound is None or fault is None:
            return
        releases = world.flags.get("on_api_loss") == "release"
        self._well = {ip for ip in self._well if not world.is_balancing(ip)}
        for ip in [ip for ip in self._well if ip in world.users.wanted]:
            names = world.answering.get(ip, ())
            self._two_s[ip] += LOOK_S * (len(names) > 1)
            self._nobody_s[ip] += LOOK_S * (not names)
            self._lost_s[ip] += LOOK_S * (len(names) > 0 and not world.reached.get(ip))
            if self._two_s[ip] > bound.two_s * CLOCKS + LATE_S:
                yield f"{fault} alone: {ip} is on {names}, for {self._two_s[ip]:.1f} s in all"
            stays = releases or (
                ip in world.local_ips and world.users.endpoints() <= set(fault.who)
            )
            if self._nobody_s[ip] > bound.nobody_s * CLOCKS + LATE_S and not stays:
                yield f"{fault} alone: {ip} is away for {self._nobody_s[ip]:.1f} s in all"
            if self._lost_s[ip] > LOST_S + LATE_S:
                yield f"{fault} alone: clients lose {ip} for {self._lost_s[ip]:.1f} s in all"

    def _begin(self, fault: Fault | None) -> None:
        """Note which IPs are well: as they were at the last look before the fault."""
        world, self._fault = self.world, fault
        self._two_s.clear()
        self._nobody_s.clear()
        self._lost_s.clear()
        before_s = 0.0 if fault is None else fault.at_s - HANDOVER_S
        self._well = {
            ip
            for ip, since in world.users.wanted.items()
            if since < before_s and len(world.answered_before.get(ip, ())) == 1
        }
