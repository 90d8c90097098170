"""What another station says about an IP that is up here → give it up, defend it, or neither.

Whoever takes over does so only once this node's Lease has run out for everybody. So while it is
fresh, another station is a mistake or an attack, and the IP is defended as RFC 5227 section 2.4 (c)
has it: one announcement, and no other within `DEFEND_INTERVAL_S`, whatever comes in. Once it is
stale, this node may have been replaced, and whoever else speaks for the IP is taken for the
successor.

While stale, a node also asks who else answers. Two nodes that are stale, and both have an IP,
would then make way for one another: of those that ask, the one with the lowest MAC stays.

Planned moves look the same on the wire, and are no conflict: the former holder expects the next
one, and a new holder the former one, for a while. A station that is no node of this cluster is
neither; between it and an IP that has just come up here `extip.plan.trial` decides.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from math import inf

from extip.plan.link import IPAddress
from extip.plan.sighting import Kind, Sighting

DEFEND_INTERVAL_S = 10.0
"""DEFEND_INTERVAL of RFC 5227 section 1.1: two stations that both defend do not flood the link."""

CALM_S = 60.0
"""A conflict is over when the other station was not heard for so long."""

ASK_S = 1.0
"""While stale, every IP is asked for so often."""

ANSWER_S = 0.05
"""After an IP was asked for, so long others may tell that they ask, too."""

RIVAL_S = 2.5 * ASK_S
"""For so long a station counts as one that asks."""

_RIVALS = 8
"""Most stations that are remembered as asking for one IP: whoever forges more gains nothing."""


class Verdict(Enum):
    """What another station's word about an IP leads to."""

    IGNORE = "ignore"
    YIELD = "yield"
    """Give it up now."""
    WAIT = "wait"
    """It may be an answer to what was asked: `must_yield` tells, `ANSWER_S` after the question."""
    DOUBT = "doubt"
    """Find out whether it is this node's still; if so, there is a `conflict`."""
    DEFEND = "defend"
    """Announce it again, and tell nobody: the former holder may not know yet."""


@dataclass(slots=True)
class _Held:
    up_at: float
    asked_at: float = -inf
    answerer: bytes = b""
    """Who spoke up after it was asked for."""
    askers: dict[bytes, float] = field(default_factory=dict)
    """When a station was last heard to ask for it."""
    defended_at: float = -inf
    other: bytes = b""
    """The station it is in conflict with; empty for none."""
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

    def ips(self) -> frozenset[IPAddress]:
        """Return the IPs that are up."""
        return frozenset(self._held)

    def up(self, ips: Iterable[IPAddress], now: float) -> None:
        """Note that IPs came up."""
        for ip in ips:
            self._held[ip] = _Held(up_at=now)

    def down(self, ips: Iterable[IPAddress]) -> None:
        """Note that IPs are not up any more."""
        for ip in ips:
            self._held.pop(ip, None)
            self._conflicts.pop(ip, None)

    def asked(self, ip: IPAddress, now: float) -> None:
        """Note that the segment was asked who else has an IP."""
        held = self._held.get(ip)
        if held is not None:
            held.asked_at, held.answerer = now, b""

    def heard(
        self, sighting: Sighting, now: float, *, stale: bool, leaving: bool, ours: bool = True
    ) -> Verdict:
        """Judge what another station said.

        `stale`: this node's Lease may have run out. `leaving`: the IP is being handed over. `ours`:
        the station may be a node of this cluster, hence the former holder.
        """
        held = self._held.get(sighting.ip)
        if held is None:
            return Verdict.IGNORE
        if sighting.kind is Kind.PROBE:
            held.note_asker(sighting.mac, now)
            return Verdict.IGNORE
        if not stale:
            return Verdict.IGNORE if leaving else self._resist(held, now, ours=ours)
        if now - held.asked_at > ANSWER_S:
            return Verdict.YIELD
        held.answerer = held.answerer or sighting.mac
        return Verdict.WAIT

    def _resist(self, held: _Held, now: float, *, ours: bool) -> Verdict:
        if held.other:
            held.heard_at = now
        if now - held.defended_at < DEFEND_INTERVAL_S:
            return Verdict.IGNORE
        in_grace = ours and now - held.up_at < self._grace_s
        return Verdict.DEFEND if in_grace else Verdict.DOUBT

    def must_yield(self, ip: IPAddress, now: float, *, own: bytes) -> bytes:
        """Return who answered for an IP and is to have it; empty when it stays here.

        To be called `ANSWER_S` after `asked`. `own` is the MAC that asked.
        """
        held = self._held.get(ip)
        if held is None or not held.answerer:
            return b""
        answerer, held.answerer = held.answerer, b""
        asks_too = now - held.askers.get(answerer, -inf) <= RIVAL_S
        return b"" if asks_too and own < answerer else answerer

    def defended(self, ip: IPAddress, now: float) -> None:
        """Note that an IP was announced against another station."""
        held = self._held.get(ip)
        if held is not None:
            held.defended_at = now

    def conflict(self, ip: IPAddress, other: bytes, now: float) -> bool:
        """Note a conflict about an IP that is this node's; return whether it just began."""
        held = self._held.get(ip)
        if held is None:
            return False
        began, held.heard_at = not held.other, now
        if began:
            # It keeps the first MAC: a storm of forged ones would make a report of each.
            held.other = self._conflicts[ip] = other
        return began

    def calm(self, now: float) -> frozenset[IPAddress]:
        """End the conflicts of which nothing was heard lately; return their IPs."""
        over = [ip for ip in self._conflicts if now - self._held[ip].heard_at >= CALM_S]
        for ip in over:
            self._held[ip].other = b""
            del self._conflicts[ip]
        return frozenset(over)

    def conflicts(self) -> Mapping[IPAddress, bytes]:
        """Return the IPs that are in conflict, each with the other station's MAC."""
        return dict(self._conflicts)
