"""Another station speaks for an IP that is up here: yield the IP, defend it, or ignore the frame.

Another node takes an IP over only after this node's Lease has run out for every scheduler. While
the Lease is fresh, another station is therefore a mistake or an attack. The IP is then defended as
in RFC 5227 section 2.4 (c): one announcement, and no second one within `DEFEND_INTERVAL_S`. While
the Lease is stale, this node may have been replaced. A station that speaks for the IP then counts
as the successor.

A stale node also asks who else answers for its IPs. Two stale nodes that both have an IP would then
both make way. So of two nodes that ask, the one with the lower MAC keeps the IP.

A planned move looks the same on the wire, and is no conflict. The former holder expects the next
one. The new holder expects the former one for `grace_s`. When the interface had no carrier
meanwhile, the station may as well be the next holder, of whom this node has not heard. A station
outside this cluster is neither of them: `trial` decides between it and an IP that has just come up
here.
"""

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from enum import Enum
from math import inf

from extip.net.interfaces import IPAddress
from extip.net.neighbour_events import FrameKind, NeighbourEvent

DEFEND_INTERVAL_S = 10.0
"""DEFEND_INTERVAL of RFC 5227 section 1.1: two stations that both defend do not flood the link."""

CALM_S = 60.0
"""A conflict is over when the other station was silent for this long, in seconds."""

ASK_S = 1.0
"""Seconds between two questions about one IP while the Lease is stale."""

ANSWER_S = 0.05
"""Seconds after a question in which other stations may answer, or show that they ask, too."""

RIVAL_S = 2.5 * ASK_S
"""Seconds for which a station counts as one that asks, from its last question on."""

_RIVALS = 8
"""Maximum of stations remembered as asking for one IP: forged MACs gain nothing beyond it."""


class Reaction(Enum):
    """The consequence of another station's frame about an IP."""

    IGNORE = "ignore"
    YIELD = "yield"
    """Remove the IP now."""
    WAIT = "wait"
    """The frame may answer this node's question: `must_yield` decides `ANSWER_S` after it."""
    VERIFY = "verify"
    """Ask whether the IP is still this node's; if it is, there is a `conflict`."""
    DEFEND = "defend"
    """Announce the IP again and report nothing: the former holder may not know of the move yet."""


@dataclass(slots=True)
class _Held:
    up_at: float
    asked_at: float = -inf
    answerer: bytes = b""
    """MAC of the first station that spoke after the last question; empty for none."""
    askers: dict[bytes, float] = field(default_factory=dict)
    """MACs of the stations that asked for it, each with the time of the last question."""
    defended_at: float = -inf
    other: bytes = b""
    """MAC of the station it is in conflict with; empty for none."""
    heard_at: float = -inf

    def note_asker(self, mac: bytes, now: float) -> None:
        self.askers.pop(mac, None)
        self.askers[mac] = now
        if len(self.askers) > _RIVALS:
            del self.askers[next(iter(self.askers))]


class Conflicts:
    """The IPs that are up here; a plain value that takes the time, in seconds on any clock."""

    def __init__(self, *, grace_s: float) -> None:
        """`grace_s`: how long the former holder of an IP may go on after it came up here."""
        self._grace_s = grace_s
        self._held: dict[IPAddress, _Held] = {}
        self._conflicts: dict[IPAddress, bytes] = {}

    def ips(self) -> AbstractSet[IPAddress]:
        """Return the IPs that are up, as they are at any time."""
        return self._held.keys()

    def up(self, ips: Iterable[IPAddress], now: float) -> None:
        """Record IPs that came up."""
        for ip in ips:
            self._held[ip] = _Held(up_at=now)

    def end_grace(self) -> None:
        """Record that the interface had no carrier: the IPs may have been moved meanwhile.

        The next frame about an IP counts, also soon after a defence against the one before.
        """
        for held in self._held.values():
            held.up_at = held.defended_at = -inf

    def down(self, ips: Iterable[IPAddress]) -> None:
        """Record IPs that are not up any more."""
        for ip in ips:
            self._held.pop(ip, None)
            self._conflicts.pop(ip, None)

    def on_asked(self, ip: IPAddress, now: float) -> None:
        """Record that this node asked the segment who else has an IP."""
        held = self._held.get(ip)
        if held is not None:
            held.asked_at, held.answerer = now, b""

    def on_neighbour_event(
        self, event: NeighbourEvent, now: float, *, stale: bool, leaving: bool, ours: bool = True
    ) -> Reaction:
        """Judge a frame of another station.

        `stale`: this node's Lease may have run out. `leaving`: the IP is being handed over. `ours`:
        the station may be a node of this cluster, hence the former holder.
        """
        held = self._held.get(event.ip)
        if held is None:
            return Reaction.IGNORE
        if event.kind is FrameKind.PROBE:
            held.note_asker(event.mac, now)
            return Reaction.IGNORE
        if not stale:
            return Reaction.IGNORE if leaving else self._resist(held, now, ours=ours)
        if now - held.asked_at > ANSWER_S:
            return Reaction.YIELD
        held.answerer = held.answerer or event.mac
        return Reaction.WAIT

    def _resist(self, held: _Held, now: float, *, ours: bool) -> Reaction:
        if held.other:
            held.heard_at = now
        if now - held.defended_at < DEFEND_INTERVAL_S:
            return Reaction.IGNORE
        in_grace = ours and now - held.up_at < self._grace_s
        return Reaction.DEFEND if in_grace else Reaction.VERIFY

    def must_yield(self, ip: IPAddress, now: float, *, own: bytes) -> bytes:
        """Return the MAC of the station that gets an IP; empty when the IP stays here.

        Call it `ANSWER_S` after `on_asked`. `own` is the MAC that asked.
        """
        held = self._held.get(ip)
        if held is None or not held.answerer:
            return b""
        answerer, held.answerer = held.answerer, b""
        asks_too = now - held.askers.get(answerer, -inf) <= RIVAL_S
        return b"" if asks_too and own < answerer else answerer

    def defended(self, ip: IPAddress, now: float) -> None:
        """Record that an IP was announced against another station."""
        held = self._held.get(ip)
        if held is not None:
            held.defended_at = now

    def conflict(self, ip: IPAddress, other: bytes, now: float) -> bool:
        """Record a conflict about an IP that is this node's; return whether it began just now."""
        held = self._held.get(ip)
        if held is None:
            return False
        began, held.heard_at = not held.other, now
        if began:
            # The first MAC stays: otherwise a storm of forged MACs would cause a report for each.
            held.other = self._conflicts[ip] = other
        return began

    def calm(self, now: float) -> frozenset[IPAddress]:
        """End the conflicts whose other station was silent for `CALM_S`; return their IPs."""
        over = [ip for ip in self._conflicts if now - self._held[ip].heard_at >= CALM_S]
        for ip in over:
            self._held[ip].other = b""
            del self._conflicts[ip]
        return frozenset(over)

    def conflicts(self) -> Mapping[IPAddress, bytes]:
        """Return the IPs in conflict, each with the MAC of the other station."""
        return dict(self._conflicts)
