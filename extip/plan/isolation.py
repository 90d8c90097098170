"""Does anybody on the segment still hear this node? Whom to ask, and what to make of silence.

An interface may have carrier and lead nowhere: a port in the wrong VLAN, a switch that has lost its
uplink and has no other node. Heartbeats often take another network and say nothing about it. So a
node asks neighbours: other nodes with a controller, and its gateways.

Only rounds of questions that went out and that nobody answered count, never time that passed: a
process that stood still has asked nobody. And silence means something only where somebody has
answered before. What others make of a node's word is decided by `extip.plan.reach`.

All instants are seconds on one monotonic timeline.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import islice
from math import ceil, inf

from extip.api.ipcontroller_v1 import IpNode
from extip.plan.claims import parse_cidr
from extip.plan.link import IPAddress, IPInterface
from extip.plan.requests import parse_ip

MISSES = 3
"""Rounds in a row that nobody answered, before a node takes itself for isolated."""

NEIGHBOURS = 16
"""Neighbours that are asked at a time, at most."""

FRESH = 2.5
"""Rounds for which an answer says that the node is reached, from its question on: an answer is
looked for a round later, and counts until the next one is."""

_ROUNDS, _FASTEST_S, _SLOWEST_S = 0.25, 0.1, 1.0

_NEAREST = 4
_GATEWAYS = 4

_SEARCHES = 2
"""Rounds in which many are asked, at the start and when the one that answered falls silent."""

_ENOUGH = 128
"""Neighbours that must have been asked, if there are so many, where none has answered this process
but some have answered the one before it: nobody deletes the IpNodes of nodes that are gone."""

_ALONE = 600
"""Rounds in a row without anybody to ask, before an isolated node is not any more."""

_SEARCH = 5
"""Of so many rounds, one looks for a neighbour while nobody has ever answered."""

_RETURN = 20
"""Of so many rounds, one asks the neighbour that should be asked as well: it may be back."""


class Reach(StrEnum):
    """What a node says of its interface with each heartbeat; as its Lease has it."""

    UNSURE = "unsure"
    """It has nobody to ask, or waits for an answer."""
    REACHED = "reached"
    """A neighbour has just answered it."""
    ISOLATED = "isolated"
    """Nobody answers any more."""


@dataclass(frozen=True, slots=True)
class Question:
    """One neighbour is asked for its MAC."""

    ip: IPAddress
    source: IPAddress
    """An address of this node on the interface."""
    mac: bytes = b""
    """Where it is known: then nobody else is asked."""


def round_s(heartbeat_s: float) -> float:
    """Return how often a node asks, in seconds: four times a heartbeat, within bounds."""
    return min(_SLOWEST_S, max(_FASTEST_S, _ROUNDS * heartbeat_s))


def neighbours(
    nodes: Mapping[str, IpNode], node: str, own: Sequence[IPInterface]
) -> dict[IPAddress, IPAddress]:
    """Return whom `node` may ask, in order, each with the node's own address in the same subnet.

    `own` are the addresses that the node has on the interface now: those in the API may have moved
    on. In the order of names, as a ring, the nodes next to it come first, so that each is asked by
    one and its death is a question to all for that one alone; then nodes ever farther away, since
    those of a rack often have names in a row; then gateways, and then all others.
    """
    names = sorted(nodes)
    ring = [*(n for n in names if n > node), *(n for n in names if n < node)]
    record = nodes.get(node)
    own_ips = {address.ip for address in own}

    def known(texts: Iterable[str]) -> Iterator[tuple[IPAddress, IPAddress]]:
        for text in texts:
            ip = _ip(text)
            if ip is not None and ip not in own_ips:
                source = next((a.ip for a in own if ip in a.network), None)
                if source is not None:
                    yield ip, source

    of_nodes = [pair for name in ring for pair in islice(known(_reported(nodes[name])), 1)]
    routers = islice(known(() if record is None else record.status.gateways or ()), _GATEWAYS)
    far = ((1 << power) - 1 for power in range(3, 3 + NEIGHBOURS - _NEAREST - _GATEWAYS))
    picked = of_nodes[:_NEAREST] + [of_nodes[at] for at in far if at < len(of_nodes)]
    found: dict[IPAddress, IPAddress] = {}
    for ip, source in (*picked, *routers, *of_nodes):
        found.setdefault(ip, source)
    return found


@dataclass(slots=True)
class Isolation:
    """What one interface has found out; a plain value that is told what happens."""

    round_s: float
    isolated: bool = False
    """No neighbour answers, though some did."""
    _expects: bool = False
    """Somebody answered the process before this one."""
    _macs: dict[IPAddress, bytes] = field(default_factory=dict)
    """Of neighbours that have ever answered this one."""
    _witness: IPAddress | None = None
    """The one that is asked, for as long as it answers."""
    _asked: tuple[IPAddress, ...] = ()
    _asked_at: float = -inf
    _reached_at: float = -inf
    """When the last question that was answered was asked."""
    _misses: int = 0
    _windows: int = MISSES
    """As many rounds ask `_ENOUGH` neighbours."""
    _rounds: int = 0
    _turn: int = 0
    _alone: int = 0

    @property
    def missed(self) -> bool:
        """Whether the last round was the first one in a row that nobody answered."""
        return self._misses == 1

    @property
    def known(self) -> int:
        """How many neighbours have ever answered."""
        return len(self._macs)

    def reach(self, now: float) -> Reach:
        """Return what the node may say of itself."""
        if self.isolated:
            return Reach.ISOLATED
        fresh = now - self._reached_at <= FRESH * self.round_s
        return Reach.REACHED if fresh else Reach.UNSURE

    def recall(self, said: Reach) -> None:
        """Go on from what the process before this one said: a restart mends no network."""
        if self._reached_at == -inf:
            self.isolated |= said is Reach.ISOLATED
            self._expects |= said is not Reach.UNSURE

    def end_round(self, answers: Mapping[IPAddress, bytes]) -> None:
        """Judge what came in, with the MACs, since the questions of the last round."""
        answered = [ip for ip in self._asked if ip in answers]
        for ip in answered:
            self._macs[ip] = answers[ip]
        if answered:
            self._witness, self._misses, self.isolated = answered[0], 0, False
            self._reached_at = self._asked_at
        elif self._asked and (self._macs or self._expects):
            self._misses += 1
            self.isolated |= self._misses >= (MISSES if self._macs else self._windows)
        self._asked = ()

    def begin_round(self, whom: Collection[IPAddress]) -> list[tuple[IPAddress, bytes]]:
        """Return whom to ask, each with its MAC; without one, everybody is to hear the question.

        One neighbour is enough while it answers. When it falls silent, those that have ever
        answered and the first of all are asked, and later all others in turn. `whom` are all that
        there are, in order; any other is forgotten.
        """
        self._macs = {ip: self._macs[ip] for ip in whom if ip in self._macs}
        self._alone = 0 if whom else self._alone + 1
        if not whom:
            if self._alone >= _ALONE:
                self.clear()
            return []
        self._rounds += 1
        self._windows = max(MISSES, ceil(min(len(whom), _ENOUGH) / NEIGHBOURS))
        first = next(iter(whom))
        if self._witness in self._macs and not self._misses and not self.isolated:
            asked = [first] if self._rounds % _RETURN == 0 else []
            asked += [self._witness] if self._witness not in asked else []
            return [(ip, self._macs.get(ip, b"")) for ip in asked]
        searching = self._misses or self._rounds <= _SEARCHES
        if self._macs and self._misses <= _SEARCHES and searching:
            known = [ip for ip in self._macs if ip == self._witness]
            known += islice((ip for ip in self._macs if ip != self._witness), NEIGHBOURS)
            more = [ip for ip in _first(whom) if ip not in known]
            return [(ip, b"") for ip in (*known, *more)]
        if not self._macs and not self.isolated:
            if self._expects or searching:
                return [(ip, b"") for ip in _first(whom, window=self._rounds - 1)]
            if self._rounds % _SEARCH:
                return []
        self._turn += 1
        turn = self._turn % len(whom)
        in_turn = next(islice(whom, turn, None))
        others = ((ip, mac) for ip, mac in self._macs.items() if ip != in_turn)
        return [*islice(others, NEIGHBOURS), (in_turn, b"")]

    def asked(self, ips: Iterable[IPAddress], now: float) -> None:
        """Take note of which questions of this round went out."""
        self._asked, self._asked_at = tuple(ips), now

    def clear(self) -> None:
        """Take note that this is an interface without neighbours."""
        self.isolated = self._expects = False
        self._macs, self._asked, self._misses = {}, (), 0

    def rest(self) -> None:
        """Take note that nobody can be asked now: no interface, no carrier, no address.

        That is told by itself. A node that was isolated still is when they are back, until somebody
        answers.
        """
        self._asked, self._misses = (), 0


def _first(whom: Collection[IPAddress], *, window: int = 0) -> Iterator[IPAddress]:
    """Return `NEIGHBOURS` of them, those of another window each time."""
    begin = window % ceil(len(whom) / NEIGHBOURS) * NEIGHBOURS
    return islice(whom, begin, begin + NEIGHBOURS)


def _ip(text: str) -> IPAddress | None:
    interface = parse_cidr(text)
    return parse_ip(text) if interface is None else interface.ip


def _reported(node: IpNode) -> Sequence[str]:
    """Return the addresses of the interface that a node's claims are brought up on."""
    links = node.status.links or ()
    return (links[0].addresses or ()) if links else ()
