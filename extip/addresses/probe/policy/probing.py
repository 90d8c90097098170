"""Answers to probes x time → the new IPs that may come up, and those that another station has.

An IP without an earlier holder is probed before it comes up: as in RFC 5227 section 2.1.1 for IPv4,
and RFC 4862 section 5.4 for IPv6. The wait is shorter than theirs, since a station on the same
segment answers within milliseconds. A station that has the IP, or probes for it at the same time,
keeps it from coming up. Two stations that probe at the same time both wait for a random time, so
that one of them is first.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum

from extip.addresses.policy.changes import AddressPlan, removals
from extip.backoff import Backoff
from extip.guard.policy.admission import Admission
from extip.net.interfaces import IPAddress, IPInterface, ObservedAddress, Operation
from extip.net.neighbour_events import FrameKind, NeighbourEvent
from extip.services.policy.refusal import Reason, Refusal
from extip.services.policy.requests import Owner, Rejection

ROUNDS = 2
"""Probes of one IP: one lost frame does not make a taken IP look free."""

BACKOFF = Backoff(initial_s=1.0, cap_s=10.0)
"""Seconds until an IP that was taken is probed again."""

FRESH_S = 3.0
"""Seconds for which silence counts while the IP has not come up. A process that stands still for
longer may have lost frames that said otherwise. A pass over thousands of IPs takes a second."""

TAKEOVER_S = 0.1
"""The longest wait for answers when a node takes an IP over that was in use a moment ago."""

_RESEND_S = 0.05
"""Seconds until a frame that the kernel refused is sent again."""

_REFUSED_S = 1.0
"""A frame that the kernel refuses for this long is reported, and from then on sent this seldom."""

_SUSPECTS = 8
"""Maximum of stations that are remembered for one IP until they are judged."""


class _State(Enum):
    ASKING = "asking"
    CLEAR = "clear"
    TAKEN = "taken"


@dataclass(slots=True)
class _Probe:
    due: float
    """Time of the next frame, the end of the wait, or the next probe of a taken IP."""
    state: _State = _State.ASKING
    sent: int = 0
    began: float = 0.0
    """When the first frame went out."""
    refused_at: float | None = None
    """When the kernel began to refuse its frames."""
    told: bool = False
    """The refusal was reported."""
    failures: int = 0
    suspects: list[NeighbourEvent] = field(default_factory=list)
    """Frames of stations that may be nodes of this cluster."""
    taken_by: NeighbourEvent | None = None
    """Kept while the IP is probed again: its refusal stands until that probe ends."""

    def begin(self, now: float) -> None:
        """Probe from the beginning."""
        self.state, self.sent, self.due = _State.ASKING, 0, now
        self.suspects.clear()


class Probes:
    """All IPs that wait to come up; a plain value that takes the time, in seconds on any clock."""

    def __init__(self, *, window_s: float, backoff: Backoff = BACKOFF) -> None:
        self._window_s = window_s
        self._backoff = backoff
        self._probes: dict[IPAddress, _Probe] = {}
        self._cluster_macs: frozenset[bytes] = frozenset()
        self._opponents: Mapping[IPAddress, frozenset[bytes]] = {}

    @property
    def listening(self) -> bool:
        """Whether frames of other stations matter now."""
        return any(probe.state is not _State.TAKEN for probe in self._probes.values())

    def count_asking(self) -> int:
        """Return how many IPs may soon turn out to be free."""
        return sum(
            probe.state is _State.ASKING and not probe.told for probe in self._probes.values()
        )

    @property
    def ips(self) -> Collection[IPAddress]:
        """The IPs that wait to come up, in the order in which they were wanted."""
        return self._probes.keys()

    def want(self, ips: Iterable[IPAddress], now: float) -> None:
        """Set the IPs that wait to come up; forget all others."""
        before, self._probes = self._probes, {}
        for ip in ips:
            self._probes[ip] = probe = before.get(ip) or _Probe(due=now)
            if probe.state is _State.CLEAR and now - probe.due > FRESH_S:
                probe.begin(now)
        if not self._probes:
            self._cluster_macs = frozenset()

    def oppose(self, opponents: Mapping[IPAddress, frozenset[bytes]]) -> None:
        """Set the IPs that are taken over, each with the MACs of a node that may still have it."""
        self._opponents = opponents

    def taken_before(
        self, events: Iterable[NeighbourEvent], now: float, *, chance: Callable[[], float]
    ) -> None:
        """Record IPs that other stations are known to have; running probes go on."""
        for event in events:
            if event.ip not in self._probes:
                self._probes[event.ip] = _Probe(
                    due=now + self._backoff.delay_s(1, chance()),
                    state=_State.TAKEN,
                    failures=1,
                    taken_by=event,
                )

    def begin_anew(self, now: float) -> None:
        """Probe all IPs from the beginning: some frames were lost."""
        for probe in self._probes.values():
            unasked = probe.state is _State.ASKING and probe.sent == 0
            if probe.state is not _State.TAKEN:
                probe.begin(probe.due if unasked else now)

    def due(self, now: float) -> list[IPAddress]:
        """Return the IPs whose next frame is due; begin to probe taken ones again."""
        found: list[IPAddress] = []
        for ip, probe in self._probes.items():
            if probe.due > now:
                continue
            if probe.state is _State.TAKEN:
                probe.begin(now)
            if probe.state is _State.ASKING and probe.sent < ROUNDS:
                found.append(ip)
        return found

    def is_due(self, ip: IPAddress, now: float) -> bool:
        """Return whether the next frame of an IP is due."""
        probe = self._probes.get(ip)
        if probe is None or probe.due > now:
            return False
        return probe.state is _State.ASKING and probe.sent < ROUNDS

    def sent(self, ip: IPAddress, now: float) -> None:
        """Record that a frame went out."""
        probe = self._probes.get(ip)
        if probe is None or probe.state is not _State.ASKING or probe.sent == ROUNDS:
            return
        probe.refused_at, probe.told = None, False
        if probe.sent == 0:
            probe.began = now
        probe.sent += 1
        # A late frame gets its full time. A frame in time ends the wait with the window.
        window_s = self._window(ip)
        at_least = now + window_s / ROUNDS
        end = probe.began + window_s
        probe.due = max(at_least, end) if probe.sent == ROUNDS else at_least

    def not_sent(self, ip: IPAddress, now: float) -> bool:
        """Record a frame that the kernel refused; return whether `refused` names its IP now."""
        probe = self._probes.get(ip)
        if probe is None:
            return False
        if probe.refused_at is None:
            probe.refused_at = now
        told = probe.told
        probe.told = now - probe.refused_at >= _REFUSED_S
        probe.due = now + (_REFUSED_S if probe.told else _RESEND_S)
        return probe.told and not told

    def refused(self) -> frozenset[IPAddress]:
        """Return the IPs whose frames the kernel has refused for `_REFUSED_S`."""
        return frozenset(ip for ip, probe in self._probes.items() if probe.told)

    def on_neighbour_event(self, event: NeighbourEvent) -> bool:
        """Record a frame of another station; return whether it has to be judged."""
        probe = self._probes.get(event.ip)
        if probe is None or probe.state is _State.TAKEN or self._is_harmless(event):
            return False
        if len(probe.suspects) < _SUSPECTS and event not in probe.suspects:
            probe.suspects.append(event)
        return True

    def _is_harmless(self, event: NeighbourEvent) -> bool:
        """Whether it is from a node of this cluster that makes way for this one."""
        return event.mac in self._cluster_macs and not self._is_opposed(event)

    def _is_opposed(self, event: NeighbourEvent) -> bool:
        return event.mac in self._opponents.get(event.ip, ())

    def _window(self, ip: IPAddress) -> float:
        if ip not in self._opponents:
            return self._window_s
        return min(self._window_s or TAKEOVER_S, TAKEOVER_S)

    def suspects(self) -> frozenset[bytes]:
        """Return the MACs of the stations that are not judged yet."""
        return frozenset(s.mac for probe in self._probes.values() for s in probe.suspects)

    def judge(
        self, cluster_macs: frozenset[bytes], now: float, *, chance: Callable[[], float]
    ) -> list[IPAddress]:
        """Judge the stations that spoke; those in `cluster_macs` do not stand in the way.

        Returns the IPs that turned out to be taken, or taken by another station than before.
        """
        self._cluster_macs = cluster_macs
        news: list[IPAddress] = []
        for ip, probe in self._probes.items():
            foreign = next((s for s in probe.suspects if not self._is_harmless(s)), None)
            probe.suspects.clear()
            if foreign is None:
                continue
            if foreign != probe.taken_by:
                news.append(ip)
            probe.taken_by = foreign
            probe.failures += 1
            probe.state = _State.TAKEN
            probe.due = now + self._backoff.delay_s(probe.failures, chance())
        return news

    def settle(self, now: float) -> int:
        """End the waits that are over; return the number of IPs that turned out to be free."""
        count = 0
        for probe in self._probes.values():
            over = probe.sent == ROUNDS and probe.due <= now and not probe.suspects
            if probe.state is _State.ASKING and over:
                probe.state, probe.taken_by = _State.CLEAR, None
                count += 1
        return count

    def clear(self) -> frozenset[IPAddress]:
        """Return the IPs that may come up now."""
        return frozenset(
            ip
            for ip, probe in self._probes.items()
            if probe.state is _State.CLEAR and not probe.suspects
        )

    def taken(self) -> Mapping[IPAddress, NeighbourEvent]:
        """Return the IPs that other stations have, each with the frame that says so.

        An IP that its former holder still has is none of them: it waits, and nobody is to blame.
        """
        return {
            ip: probe.taken_by
            for ip, probe in self._probes.items()
            if probe.taken_by is not None
            and probe.state is not _State.CLEAR
            and not self._is_opposed(probe.taken_by)
        }

    def next_at(self) -> float | None:
        """Return the time of the next action; None for never."""
        return min(
            (probe.due for probe in self._probes.values() if probe.state is not _State.CLEAR),
            default=None,
        )


def expel(
    plan: AddressPlan,
    observed: Iterable[ObservedAddress],
    ips: Collection[IPAddress],
    wanted: Collection[IPInterface],
) -> AddressPlan:
    """Return the plan as if none of the IPs were up: they are deleted, and then wanted as new."""
    here = [a for a in observed if a.ours and a.interface.ip in ips and a.interface in wanted]
    if not here:
        return plan
    there = {(a.link_index, a.interface) for a in here}
    others = [c for c in plan.changes if (c.link_index, c.interface) not in there]
    deletes = removals(here)
    adds = [change._replace(operation=Operation.ADD) for change in deletes]
    return AddressPlan(changes=(*deletes, *adds, *others), up=plan.up.difference(ips))


def filter_additions(
    admission: Admission,
    held: frozenset[IPInterface],
    *,
    owners: Mapping[IPInterface, tuple[Owner, ...]],
    taken: Mapping[IPAddress, NeighbourEvent],
    unasked: frozenset[IPAddress],
    carrier: bool,
) -> Admission:
    """Return the admission without the additions that are held back.

    An IP that another station has is refused to its owners. Without `carrier` the rest waits for
    it. With carrier the rest is being probed, except the IPs in `unasked`.
    """
    refused = {
        Rejection(str(interface.ip), owner, refusal(taken[interface.ip]))
        for interface in held
        if interface.ip in taken
        for owner in owners.get(interface, ())
    }
    undecided = frozenset(interface for interface in held if interface.ip not in taken)
    asked = frozenset(interface for interface in undecided if interface.ip not in unasked)
    return replace(
        admission,
        wanted=admission.wanted - held,
        rejected=admission.rejected | refused,
        probed=asked if carrier else frozenset(),
        unasked=undecided - asked if carrier else frozenset(),
        waiting=frozenset() if carrier else undecided,
    )


def refusal(by: NeighbourEvent) -> Refusal:
    """Return the refusal of an IP that another station has, or probes for."""
    mac = by.mac.hex(":")
    does = "has it" if by.kind is FrameKind.ANNOUNCEMENT else "probes for it at the same time"
    return Refusal(Reason.IN_USE, f"{by.ip} is not free: the station with the MAC {mac} {does}")
