"""Decides whether another station on the segment still hears this node, and which to ask.

An interface may have carrier and lead nowhere: a port in the wrong VLAN, or a switch that lost its
uplink and has no other node. Heartbeats often take another network and do not notice. So a node
asks neighbours: other nodes with a controller, and its gateways.

Only rounds count whose questions went out, and that no neighbour answered. Elapsed time does not
count: a process that stood still has asked nobody. Silence counts only where a neighbour has
answered before. `extip.uplink.policy.reachability` decides what a node's report is worth to others.

All instants are seconds on one monotonic timeline.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import islice
from math import ceil, inf

from extip.api.ipcontroller_v1 import IpNode
from extip.api.node_links import selected_links
from extip.claims.policy.claims import parse_cidr
from extip.net.interfaces import IPAddress, IPInterface
from extip.services.policy.requests import parse_ip

MISSES = 10
"""Rounds in a row without an answer after which a node takes itself for isolated. While it is in
doubt they follow each other quickly."""

ANSWER_S = 0.025
"""Seconds from the questions of a round to the look at the answers. It is also the time between two
rounds of a node in doubt."""

NEIGHBOURS = 16
"""Maximum of neighbours that are asked in one round."""

FRESH = 2.5
"""Rounds, from its question on, for which an answer says that the node is reached. An answer is
read a round later, and counts until the next one is read."""

_ROUNDS, _FASTEST_S, _SLOWEST_S = 0.25, 0.1, 0.25

_NEAREST = 4
_GATEWAYS = 4

_SEARCHES = 2
"""Rounds in which many neighbours are asked: at the start, and when the witness falls silent."""

_ENOUGH = 128
"""Neighbours to ask, if there are so many, before silence counts. This is for a process without any
answer yet, whose predecessor had one. IpNodes of nodes that are gone stay, so many are asked."""

_ALONE = 600
"""Rounds in a row without a neighbour to ask after which a node is not isolated any more."""

_SEARCH = 13
"""While no neighbour has ever answered, one round of this many asks one."""

_RETURN = 20
"""One round of this many also asks the first neighbour of the list: it may be back."""


_Pair = tuple[IPAddress, IPAddress]
"""A neighbour, and the node's own address to ask it from."""


class Reachability(StrEnum):
    """The state of the interface that a node reports with each heartbeat, as in its Lease."""

    UNSURE = "unsure"
    """It has no neighbour to ask, or waits for an answer."""
    REACHED = "reached"
    """A neighbour has just answered it."""
    ISOLATED = "isolated"
    """No neighbour answers any more."""


def round_s(heartbeat_s: float) -> float:
    """Return the seconds between two rounds at rest: four rounds a heartbeat, within bounds."""
    return min(_SLOWEST_S, max(_FASTEST_S, _ROUNDS * heartbeat_s))


def neighbours(
    nodes: Mapping[str, IpNode], node: str, own: Sequence[IPInterface]
) -> dict[IPAddress, IPAddress]:
    """Return the neighbours that `node` may ask, in order, each with the own address to ask from.

    `own` are the addresses that the node has on the interface now; those in the API may be old.
    Of another node each interface counts on which it brings IPs up: it may prefer another one.

    The order: nodes form a ring by their names. The next nodes on the ring come first. So each node
    is asked by few, and its death is a question to all for those alone. Then come nodes ever
    farther away, since nodes of a rack often have names in a row. Then come gateways, and then all
    others.
    """
    of_nodes = [pair for _, pair in _ring(nodes, node, own, _of_all_links)]
    record = nodes.get(node)
    gateways = () if record is None else record.status.gateways or ()
    routers = islice(_with_source(gateways, own), _GATEWAYS)
    found: dict[IPAddress, IPAddress] = {}
    for ip, source in (*_near_and_far(of_nodes), *routers, *of_nodes):
        found.setdefault(ip, source)
    return found


def ring(
    nodes: Mapping[str, IpNode], node: str, own: Sequence[IPInterface]
) -> dict[IPAddress, str]:
    """Return the names of the nodes among the neighbours, by address, in order of the ring.

    Of another node its first interface alone counts: by that one a node is found dead.
    """
    return {ip: name for name, (ip, _) in _ring(nodes, node, own, _of_first_link)}


def _of_all_links(node: IpNode) -> tuple[str, ...]:
    """Return the addresses of the interfaces that a node's claims are brought up on, in order."""
    return tuple(text for link in selected_links(node) for text in link.addresses or ())


def _of_first_link(node: IpNode) -> tuple[str, ...]:
    return tuple(text for link in selected_links(node)[:1] for text in link.addresses or ())


def _ring(
    nodes: Mapping[str, IpNode],
    node: str,
    own: Sequence[IPInterface],
    addresses: Callable[[IpNode], Iterable[str]],
) -> list[tuple[str, _Pair]]:
    """Return the other nodes in a subnet of the node's own, each with its first address there."""
    names = sorted(nodes)
    in_order = [*(n for n in names if n > node), *(n for n in names if n < node)]
    return [
        (name, pair)
        for name in in_order
        for pair in islice(_with_source(addresses(nodes[name]), own), 1)
    ]


def _with_source(texts: Iterable[str], own: Sequence[IPInterface]) -> Iterator[_Pair]:
    """Yield the IPs that are in a subnet of the node's own, each with the own address there."""
    own_ips = {address.ip for address in own}
    for text in texts:
        ip = _ip(text)
        if ip is not None and ip not in own_ips:
            source = next((a.ip for a in own if ip in a.network), None)
            if source is not None:
                yield ip, source


def _near_and_far(ring: Sequence[_Pair]) -> list[_Pair]:
    """Return the next ones on the ring, and some at doubled distances each."""
    far = ((1 << power) - 1 for power in range(3, 3 + NEIGHBOURS - _NEAREST - _GATEWAYS))
    return [*ring[:_NEAREST], *(ring[at] for at in far if at < len(ring))]


@dataclass(slots=True)
class Isolation:
    """The state of one interface; a plain value that is told what happens."""

    round_s: float
    isolated: bool = False
    """No neighbour answers, although one did."""
    unheard_at: float = -inf
    """When it was first noticed, the last time that nobody answered for a moment."""
    _expects: bool = False
    """A neighbour answered the process before this one."""
    _macs: dict[IPAddress, bytes] = field(default_factory=dict)
    """MACs of the neighbours that have ever answered this process."""
    _whom: Collection[IPAddress] = ()
    """The neighbours of the last round."""
    _witness: IPAddress | None = None
    """The neighbour that is asked, for as long as it answers."""
    _asked: tuple[IPAddress, ...] = ()
    _asked_at: float = -inf
    _reached_at: float = -inf
    """When the last question was sent that was answered."""
    _misses: int = 0
    _windows: int = MISSES
    """Rounds in which `_ENOUGH` neighbours are asked."""
    _rounds: int = 0
    _turn: int = 0
    _alone: int = 0

    @property
    def missed(self) -> bool:
        """Whether the last round was the first one without an answer."""
        return self._misses == 1

    @property
    def doubts(self) -> bool:
        """Whether nobody answered, and all have to be asked again at once."""
        return bool(self._macs) and 0 < self._misses < MISSES

    @property
    def calm(self) -> bool:
        """Whether a neighbour has answered, and nothing is in doubt."""
        return bool(self._macs) and not (self._misses or self.isolated)

    @property
    def unheard(self) -> bool:
        """Whether nobody has answered for so long that others may have noticed."""
        return self.isolated or self._misses >= MISSES // 2

    @property
    def known(self) -> int:
        """The number of neighbours that have ever answered."""
        return len(self._macs)

    def reachability(self, now: float) -> Reachability:
        """Return the state that the node may report."""
        if self.isolated:
            return Reachability.ISOLATED
        fresh = now - self._reached_at <= FRESH * self.round_s and not self._misses
        return Reachability.REACHED if fresh else Reachability.UNSURE

    def restore(self, said: Reachability) -> None:
        """Go on from the report of the process before this one: a restart mends no network."""
        if self._reached_at == -inf:
            self.isolated |= said is Reachability.ISOLATED
            self._expects |= said is not Reachability.UNSURE

    def end_round(self, answers: Mapping[IPAddress, bytes]) -> None:
        """Judge the answers, with their MACs, to the questions of the last round."""
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
        """Return the neighbours to ask, each with its MAC; without a MAC the question is broadcast.

        One neighbour is enough while it answers. When it falls silent, those that have ever
        answered are asked, and the first of all. Later all others are asked in turn. `whom` are all
        neighbours, in order; any other is forgotten. It is another collection when they differ.
        """
        self._forget_others(whom)
        # An isolated node without neighbours could never find out that it is reached again.
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

    def _forget_others(self, whom: Collection[IPAddress]) -> None:
        """Forget whoever is no neighbour any more."""
        if whom is not self._whom:  # it is made anew rarely, and may be long
            self._whom = whom
            self._macs = {ip: self._macs[ip] for ip in whom if ip in self._macs}

    def asked(self, ips: Iterable[IPAddress], now: float) -> None:
        """Record the questions of this round that went out."""
        self._asked, self._asked_at = tuple(ips), now

    def clear(self) -> None:
        """Record that this interface has no neighbours."""
        self.isolated = self._expects = False
        self._macs, self._asked, self._misses = {}, (), 0

    def rest(self) -> None:
        """Record that no neighbour can be asked now: no interface, no carrier, or no address.

        That state is reported by itself. A node that was isolated still is when they are back,
        until a neighbour answers.
        """
        self._asked, self._misses = (), 0


def _first(whom: Collection[IPAddress], *, window: int = 0) -> Iterator[IPAddress]:
    """Return `NEIGHBOURS` of them, those of another window each time."""
    begin = window % ceil(len(whom) / NEIGHBOURS) * NEIGHBOURS
    return islice(whom, begin, begin + NEIGHBOURS)


def _ip(text: str) -> IPAddress | None:
    interface = parse_cidr(text)
    return parse_ip(text) if interface is None else interface.ip
