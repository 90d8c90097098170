"""Does anybody on the segment still hear this node? What to ask whom, and what to make of silence.

An interface may have carrier and lead nowhere: a switch that has lost its uplink, a port in the
wrong VLAN. Heartbeats often take another network and say nothing about it. So a node asks
neighbours that are known to answer: its gateways, and other nodes with a controller.

Only rounds of questions that went out and that nobody answered count, never time that passed: a
process that stood still has asked nobody. And only neighbours that have answered before count.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from extip.api.ipcontroller_v1 import IpNode
from extip.plan.claims import parse_cidr
from extip.plan.link import IPAddress, IPInterface
from extip.plan.requests import parse_ip

MISSES = 3
"""Rounds in a row that nobody answered, before a node takes itself for isolated."""

ANSWERS = 5
"""Rounds in a row that somebody answered, before an isolated node takes itself for back."""

NEIGHBOURS = 16
"""Neighbours that are asked at most: in a large cluster each node has others."""

_SEARCH = 5
"""Of so many rounds without any neighbour that has ever answered, one asks them all."""


def neighbours(nodes: Mapping[str, IpNode], node: str) -> dict[IPAddress, IPAddress]:
    """Return whom `node` may ask, each with the node's own address in the same subnet.

    Gateways come first; then other nodes, in the order of names that begins after its own.
    """
    own = _addresses(nodes.get(node))
    if not own:
        return {}
    names = sorted(nodes)
    after = [name for name in names if name > node] + [name for name in names if name < node]
    gateways = nodes[node].status.gateways or ()
    candidates = [ip for text in gateways if (ip := parse_ip(text)) is not None]
    for name in after:
        candidates += [address.ip for address in _addresses(nodes[name])]
    found: dict[IPAddress, IPAddress] = {}
    for ip in candidates:
        source = next((a.ip for a in own if ip in a.network and ip != a.ip), None)
        if source is not None and len(found) < NEIGHBOURS:
            found.setdefault(ip, source)
    return found


@dataclass(slots=True)
class Isolation:
    """What one interface has found out; a plain value that is told what happens."""

    isolated: bool = False
    """No neighbour answers, though some did."""
    _macs: dict[IPAddress, bytes] = field(default_factory=dict)
    """Of neighbours that have ever answered; the last one that did comes last."""
    _answered: bool = False
    _asked: bool = False
    _misses: int = 0
    _answers: int = 0
    _rounds: int = 0

    def heard(self, ip: IPAddress, mac: bytes) -> None:
        """Take note of a neighbour that says anything."""
        self._macs.pop(ip, None)
        self._macs[ip] = mac
        self._answered = True

    def end_round(self) -> None:
        """Judge what came in since the questions of the last round, if they went out."""
        if self._answered:
            self._misses, self._answers = 0, self._answers + 1
        elif self._asked and self._macs:
            self._misses, self._answers = self._misses + 1, 0
        self._answered = self._asked = False
        self.isolated = self._answers < ANSWERS if self.isolated else self._misses >= MISSES

    def begin_round(self, whom: Iterable[IPAddress]) -> list[tuple[IPAddress, bytes]]:
        """Return whom to ask, each with its MAC; without one, everybody is to hear the question.

        One neighbour that answered last is enough, until it is silent. `whom` are those that there
        are; any other is forgotten.
        """
        known = tuple(whom)
        self._macs = {ip: mac for ip, mac in self._macs.items() if ip in known}
        self._rounds += 1
        if self._macs and not self._misses and not self.isolated:
            ip, mac = next(reversed(self._macs.items()))
            return [(ip, mac)]
        if self._macs or self._rounds % _SEARCH == 1:
            return [(ip, b"") for ip in known]
        return []

    def asked(self) -> None:
        """Take note that a question of this round went out."""
        self._asked = True

    def rest(self) -> None:
        """Take note that there is nobody to ask now: the interface is missing, or has no carrier.

        That is told by itself. Who has answered before is still known when it is back.
        """
        self.isolated = self._answered = self._asked = False
        self._misses = self._answers = 0


def _addresses(node: IpNode | None) -> list[IPInterface]:
    """Return the addresses of the interface that claims are brought up on."""
    links = () if node is None else node.status.links or ()
    texts = links[0].addresses or () if links else ()
    return [found for text in texts if (found := parse_cidr(text)) is not None]
