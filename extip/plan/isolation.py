"""Does anybody on the segment still hear this node? Whom to ask, and what to make of silence.

An interface may have carrier and lead nowhere: a switch that has lost its uplink, a port in the
wrong VLAN. Heartbeats often take another network and say nothing about it. So a node asks
neighbours: other nodes with a controller, and its gateways.

Only rounds of questions that went out and that nobody answered count, never time that passed: a
process that stood still has asked nobody. And only neighbours that have answered before are
missed. What others make of a node's word is decided by `extip.plan.reach`.

All instants are seconds on one monotonic timeline.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import islice
from math import inf

from extip.api.ipcontroller_v1 import IpNode
from extip.plan.claims import parse_cidr
from extip.plan.link import IPAddress, IPInterface
from extip.plan.requests import parse_ip

MISSES = 3
"""Rounds in a row that nobody answered, before a node takes itself for isolated."""

NEIGHBOURS = 16
"""Neighbours that are asked at most: in a large cluster each node has others."""

_GATEWAYS = 4
"""Of these, at most."""

_FRESH = 2.5
"""Rounds for which an answer says that the node is reached, from its question on: an answer is
looked for a round later, and counts until the next one is. Less than `MISSES`, so that no node says
that it is reached after another one found that the network is dead for all."""


class Reach(StrEnum):
    """What a node says of its interface with each heartbeat; as its Lease has it."""

    UNSURE = ""
    """It has nobody to ask, or waits for an answer."""
    REACHED = "reached"
    """A neighbour has just answered it."""
    ISOLATED = "isolated"
    """Nobody answers any more."""


def neighbours(
    nodes: Mapping[str, IpNode], node: str, own: Sequence[IPInterface]
) -> dict[IPAddress, IPAddress]:
    """Return whom `node` may ask, each with the node's own address in the same subnet.

    `own` are the addresses that the node has on the interface now: those in the API may have moved
    on. Other nodes come first, in the order of names that begins after its own: so each is asked
    by one, and its death is a question to all for that one alone.
    """
    found: dict[IPAddress, IPAddress] = {}

    def add(texts: Iterable[str], *, at_most: int) -> None:
        ips = (ip for text in texts if (ip := _ip(text)) is not None)
        known = ((ip, source) for ip in ips if (source := _source(ip, own)) is not None)
        for ip, source in islice(known, at_most):
            found.setdefault(ip, source)

    record = nodes.get(node)
    routers = () if record is None else record.status.gateways or ()
    if own:
        names = sorted(nodes)
        for name in (*(n for n in names if n > node), *(n for n in names if n < node)):
            if len(found) < NEIGHBOURS - _GATEWAYS:
                add(_reported(nodes[name]), at_most=1)
        add(routers, at_most=_GATEWAYS)
    return found


@dataclass(slots=True)
class Isolation:
    """What one interface has found out; a plain value that is told what happens."""

    round_s: float
    isolated: bool = False
    """No neighbour answers, though some did."""
    _macs: dict[IPAddress, bytes] = field(default_factory=dict)
    """Of neighbours that have ever answered; the last one that did comes last."""
    _asked: frozenset[IPAddress] = frozenset()
    _asked_at: float = -inf
    _reached_at: float = -inf
    """When the last question that was answered was asked."""
    _misses: int = 0
    _turn: int = 0

    @property
    def known(self) -> int:
        """How many neighbours have ever answered."""
        return len(self._macs)

    def reach(self, now: float) -> Reach:
        """Return what the node may say of itself."""
        if self.isolated:
            return Reach.ISOLATED
        fresh = now - self._reached_at <= _FRESH * self.round_s
        return Reach.REACHED if fresh else Reach.UNSURE

    def recall(self, said: Reach) -> None:
        """Go on from what the process before this one said: a restart mends no network."""
        self.isolated |= said is Reach.ISOLATED and self._reached_at == -inf

    def end_round(self, answers: Mapping[IPAddress, bytes]) -> None:
        """Judge what came in, with the MACs, since the questions of the last round."""
        answered = {ip: mac for ip, mac in answers.items() if ip in self._asked}
        for ip, mac in answered.items():
            self._macs.pop(ip, None)
            self._macs[ip] = mac
        if answered:
            self._misses, self.isolated, self._reached_at = 0, False, self._asked_at
        elif self._asked and self._macs:
            self._misses += 1
            self.isolated |= self._misses >= MISSES
        self._asked = frozenset()

    def begin_round(self, whom: Collection[IPAddress]) -> list[tuple[IPAddress, bytes]]:
        """Return whom to ask, each with its MAC; without one, everybody is to hear the question.

        One neighbour that answered last is enough, until it is silent. Then all are asked, and for
        as long as nobody answers those that are known, and one other in turn. `whom` are those
        that there are; any other is forgotten. With nobody left to ask no node is isolated.
        """
        self._macs = {ip: mac for ip, mac in self._macs.items() if ip in whom}
        if not whom:
            self.isolated, self._misses = False, 0
            return []
        if self._macs and not self._misses and not self.isolated:
            ip, mac = next(reversed(self._macs.items()))
            return [(ip, mac)]
        if self._macs and not self.isolated:
            return [(ip, b"") for ip in whom]
        self._turn += 1
        next_one = tuple(whom)[self._turn % len(whom)]
        return [*((ip, mac) for ip, mac in self._macs.items() if ip != next_one), (next_one, b"")]

    def asked(self, ips: Iterable[IPAddress], now: float) -> None:
        """Take note of which questions of this round went out."""
        self._asked, self._asked_at = frozenset(ips), now

    def rest(self) -> None:
        """Take note that nobody can be asked now: the interface is missing, or has no carrier.

        That is told by itself. A node that was isolated still is when it is back, until somebody
        answers.
        """
        self._asked, self._misses = frozenset(), 0


def _source(ip: IPAddress, own: Sequence[IPInterface]) -> IPAddress | None:
    return next((a.ip for a in own if ip in a.network and ip != a.ip), None)


def _ip(text: str) -> IPAddress | None:
    interface = parse_cidr(text)
    return parse_ip(text) if interface is None else interface.ip


def _reported(node: IpNode) -> Sequence[str]:
    """Return the addresses of the interface that a node's claims are brought up on."""
    links = node.status.links or ()
    return (links[0].addresses or ()) if links else ()
