"""Answers to probes x time → which new IPs may come up, and which are somebody else's.

An IP without an earlier holder is asked for before it comes up, as RFC 5227 section 2.1.1 has it
for IPv4 and RFC 4862 section 5.4 for IPv6, with a shorter wait: a station on the same segment
answers within milliseconds. Whoever has the IP, or probes for it at the same time, stands in the
way; then both wait for a time that is left to chance, so that one of them is the first.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum

from extip.plan.addresses import AddressPlan, removals
from extip.plan.backoff import Backoff
from extip.plan.desire import Desire
from extip.plan.link import IPAddress, IPInterface, ObservedAddress, Operation
from extip.plan.refusal import Reason, Refusal
from extip.plan.requests import Owner, Rejection
from extip.plan.sighting import Kind, Sighting

ROUNDS = 2
"""Probes of one IP: one lost frame does not make a taken IP look free."""

BACKOFF = Backoff(initial_s=1.0, cap_s=10.0)
"""Until an IP that was taken is asked for again."""

FRESH_S = 1.0
"""How long silence counts for an IP that has not come up meanwhile: no longer than a process can
stand still without losing frames that tell otherwise."""

_RESEND_S = 0.05
"""Until a frame that the kernel refused to send is tried again."""

_REFUSED_S = 1.0
"""So long the kernel may refuse a frame before that is told, and it is tried as seldom as this."""

_SUSPECTS = 8
"""Most stations that are remembered for one IP until somebody judges them."""


class _State(Enum):
    ASKING = "asking"
    CLEAR = "clear"
    TAKEN = "taken"


@dataclass(slots=True)
class _Probe:
    due: float
    """When its next frame is due, when its wait ends, or when it is asked for again."""
    state: _State = _State.ASKING
    sent: int = 0
    began: float = 0.0
    """When its first frame went out."""
    refused_at: float | None = None
    """Since when the kernel refuses its frames."""
    told: bool = False
    """It has refused them for so long that people are told."""
    failures: int = 0
    suspects: list[Sighting] = field(default_factory=list)
    """Who spoke up and may be one of ours."""
    taken_by: Sighting | None = None
    """Stands while it is asked for again: what is refused stays refused until that is over."""

    def begin(self, now: float) -> None:
        """Ask from the beginning."""
        self.state, self.sent, self.due = _State.ASKING, 0, now
        self.suspects.clear()


class Probes:
    """All IPs that wait to come up; a plain value that takes the time, in seconds on any clock."""

    def __init__(self, *, window_s: float, backoff: Backoff = BACKOFF) -> None:
        self._window_s = window_s
        self._backoff = backoff
        self._probes: dict[IPAddress, _Probe] = {}
        self._friends: frozenset[bytes] = frozenset()

    @property
    def listening(self) -> bool:
        """Whether it matters now what stations say."""
        return any(probe.state is not _State.TAKEN for probe in self._probes.values())

    @property
    def ips(self) -> Collection[IPAddress]:
        """The IPs that wait to come up, in the order in which they were wanted."""
        return self._probes.keys()

    def want(self, ips: Iterable[IPAddress], now: float) -> None:
        """Take the IPs that wait to come up; forgets all others."""
        before, self._probes = self._probes, {}
        for ip in ips:
            self._probes[ip] = probe = before.get(ip) or _Probe(due=now)
            if probe.state is _State.CLEAR and now - probe.due > FRESH_S:
                probe.begin(now)
        if not self._probes:
            self._friends = frozenset()

    def taken_before(
        self, sightings: Iterable[Sighting], now: float, *, chance: Callable[[], float]
    ) -> None:
        """Take IPs that others are known to have; what was asked about one already counts more."""
        for sighting in sightings:
            if sighting.ip not in self._probes:
                self._probes[sighting.ip] = _Probe(
                    due=now + self._backoff.delay_s(1, chance()),
                    state=_State.TAKEN,
                    failures=1,
                    taken_by=sighting,
                )

    def begin_anew(self, now: float) -> None:
        """Ask for all IPs from the beginning: what was heard so far is not the whole truth."""
        for probe in self._probes.values():
            unasked = probe.state is _State.ASKING and probe.sent == 0
            if probe.state is not _State.TAKEN:
                probe.begin(probe.due if unasked else now)

    def due(self, now: float) -> list[IPAddress]:
        """Return the IPs whose next frame is to be sent; also begins what is asked for again."""
        found: list[IPAddress] = []
        for ip, probe in self._probes.items():
            if probe.due > now:
                continue
            if probe.state is _State.TAKEN:
                probe.begin(now)
            if probe.state is _State.ASKING and probe.sent < ROUNDS:
                found.append(ip)
        return found

    def sent(self, ip: IPAddress, now: float) -> None:
        """Note that a frame went out."""
        probe = self._probes.get(ip)
        if probe is None or probe.state is not _State.ASKING or probe.sent == ROUNDS:
            return
        probe.refused_at, probe.told = None, False
        if probe.sent == 0:
            probe.began = now
        probe.sent += 1
        # A late frame gets its full time; one in time ends the wait at the end of the window.
        at_least = now + self._window_s / ROUNDS
        end = probe.began + self._window_s
        probe.due = max(at_least, end) if probe.sent == ROUNDS else at_least

    def not_sent(self, ip: IPAddress, now: float) -> bool:
        """Note that the kernel refused a frame; return whether `refused` names its IP from now."""
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
        """Return the IPs that the kernel has not let us ask for, for a while now."""
        return frozenset(ip for ip, probe in self._probes.items() if probe.told)

    def heard(self, sighting: Sighting) -> bool:
        """Take what a station said; return whether somebody has to `judge` it."""
        probe = self._probes.get(sighting.ip)
        if probe is None or probe.state is _State.TAKEN or sighting.mac in self._friends:
            return False
        if len(probe.suspects) < _SUSPECTS and sighting not in probe.suspects:
            probe.suspects.append(sighting)
        return True

    def suspects(self) -> frozenset[bytes]:
        """Return the stations that nobody has judged yet."""
        return frozenset(s.mac for probe in self._probes.values() for s in probe.suspects)

    def judge(
        self, friends: frozenset[bytes], now: float, *, chance: Callable[[], float]
    ) -> list[IPAddress]:
        """Judge who spoke up; `friends` are the MACs that do not stand in the way.

        Returns the IPs of which is known now that others have them, or who.
        """
        self._friends = friends
        news: list[IPAddress] = []
        for ip, probe in self._probes.items():
            foreign = next((s for s in probe.suspects if s.mac not in friends), None)
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
        """End the waits that are over; return how many IPs turned out to be free."""
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

    def taken(self) -> Mapping[IPAddress, Sighting]:
        """Return the IPs that others have, and who."""
        return {
            ip: probe.taken_by
            for ip, probe in self._probes.items()
            if probe.taken_by is not None and probe.state is not _State.CLEAR
        }

    def next_at(self) -> float | None:
        """Return when something is to be done next; None for never."""
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
    """Return the plan as if none of the IPs were up: they are removed, and wanted as new ones."""
    here = [a for a in observed if a.ours and a.interface.ip in ips and a.interface in wanted]
    if not here:
        return plan
    there = {(a.link_index, a.interface) for a in here}
    others = [c for c in plan.changes if (c.link_index, c.interface) not in there]
    deletes = removals(here)
    adds = [change._replace(operation=Operation.ADD) for change in deletes]
    return AddressPlan(changes=(*deletes, *adds, *others), up=plan.up.difference(ips))


def withhold(
    desire: Desire,
    held: frozenset[IPInterface],
    *,
    owners: Mapping[IPInterface, tuple[Owner, ...]],
    taken: Mapping[IPAddress, Sighting],
    unasked: frozenset[IPAddress],
    carrier: bool,
) -> Desire:
    """Return the desire without what is held back: what others have is refused to its owners.

    Without `carrier` the rest waits for it; otherwise it is being probed, less what is `unasked`.
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
        desire,
        wanted=desire.wanted - held,
        rejected=desire.rejected | refused,
        probed=asked if carrier else frozenset(),
        unasked=undecided - asked if carrier else frozenset(),
        waiting=frozenset() if carrier else undecided,
    )


def refusal(by: Sighting) -> Refusal:
    """Return what is told of an IP that another station has, or wants."""
    mac = by.mac.hex(":")
    does = "has it" if by.kind is Kind.CLAIM else "probes for it at the same time"
    return Refusal(Reason.IN_USE, f"{by.ip} is not free: the station with the MAC {mac} {does}")
