"""Decides which nodes this node watches on the segment, and which of them have fallen silent.

Nodes form a ring by their names. Each one watches the next `WATCHED` that answer it, so each is
watched by as many. The cost does not grow with the cluster.

Silence is counted in questions, and a question counts only when another station answered in the
same round. So neither a process that stood still nor a node that is cut off calls others silent. A
node that never answered is not watched: its firewall may drop questions, or its VLAN is another.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice

from extip.net.interfaces import IPAddress

WATCHED = 2
"""Nodes that each node watches."""

SILENT = 10
"""Rounds in a row without its answer after which a node is silent. One frame of five may be lost:
then all ten are lost once in 30,000 times."""

_MOST = 80
"""Rounds after which a node is silent that came back again and again."""

_FALSE = 10
"""A node that answers again within this many rounds, some two seconds, was not dead: next time
it takes longer. A machine takes longer than that to start again."""

_CALM = 3000
"""Rounds with answers after which that is forgiven by half: some ten minutes."""

_FALLEN = 50
"""Rounds in which a node that fell silent is asked each time. Later it is asked now and then."""

_RETURN = 4
"""One round of this many asks a silent node nearer than the watched ones: it may be back."""

_SEARCH = 40
"""One round of this many asks a nearer node that never answered: its firewall may let it now."""

_NEW = 4
"""Nodes that are new on the list and nearer than the watched ones, and rounds in which they are
asked at once."""


@dataclass(slots=True)
class _Node:
    mac: bytes
    missed: int = 0
    """Rounds in a row without its answer."""
    silent: bool = False
    needed: int = SILENT
    rounds: int = 0
    """Rounds since it fell silent, or has answered again."""


@dataclass(slots=True)
class Silence:
    """The nodes that this node watches; a plain value that is told what happens."""

    _names: Mapping[IPAddress, str] = field(default_factory=dict)
    _nodes: dict[IPAddress, _Node] = field(default_factory=dict)
    _watched: tuple[tuple[IPAddress, _Node], ...] = ()
    """The next ones on the ring that answer; chosen anew when that changes."""
    _judged: Collection[IPAddress] = ()
    """The nodes whose answers are missed in this round."""
    _new: dict[IPAddress, int] = field(default_factory=dict)
    """Nodes that are new on the list, each with the round before which it is asked."""
    _rounds: int = 0
    _turn: int = 0

    @property
    def silent(self) -> frozenset[str]:
        """The nodes that have fallen silent."""
        return frozenset(self._names[ip] for ip, node in self._nodes.items() if node.silent)

    @property
    def doubts(self) -> bool:
        """Whether a node did not answer, and has to be asked again at once."""
        return any(node.missed for _, node in self._watched)

    @property
    def watched(self) -> int:
        """The number of nodes that are watched."""
        return len(self._watched)

    def begin_round(self, names: Mapping[IPAddress, str]) -> list[tuple[IPAddress, bytes]]:
        """Return the nodes to ask, each with its MAC; without a MAC the question is broadcast.

        `names` are all other nodes on the segment in the order of the ring, each with an address.
        It is another mapping when they differ: no round looks at each of a thousand nodes.
        """
        self._rounds += 1
        if names is not self._names:
            self._take(names)
        fallen = ((ip, n) for ip, n in self._nodes.items() if n.silent and n.rounds < _FALLEN)
        judged = [*self._watched, *islice(fallen, WATCHED)]
        self._judged = [ip for ip, _ in judged]
        asked = [(ip, _mac(node)) for ip, node in judged]
        asked += [
            (ip, b"")
            for ip, until in self._new.items()
            if self._rounds < until and ip not in self._nodes
        ]
        for every, known in ((_RETURN, True), (_SEARCH, False)):
            if self._rounds % every == 0:
                asked += self._nearer_in_turn(known=known)
        return asked

    def end_round(self, asked: Iterable[IPAddress], answers: Mapping[IPAddress, bytes]) -> None:
        """Judge the answers of all stations that were asked in the round."""
        for ip in asked:
            if ip in answers and ip in self._names:
                self._answered(ip, answers[ip])
            elif ip in self._judged and answers:
                self._missed(self._nodes[ip])
        for node in self._nodes.values():
            node.rounds += 1
            if not node.silent and node.rounds % _CALM == 0:
                node.needed = max(SILENT, node.needed // 2)

    def clear(self) -> None:
        """Record that this interface has no neighbours."""
        self._names, self._nodes, self._watched, self._judged, self._new = {}, {}, (), (), {}

    def rest(self) -> None:
        """Record that nobody can be asked now; what was missed does not count."""
        for node in self._nodes.values():
            node.missed = 0

    def _take(self, names: Mapping[IPAddress, str]) -> None:
        before, self._names = self._names, names
        self._nodes = {ip: self._nodes[ip] for ip in names if ip in self._nodes}
        self._choose()
        # One that has not answered yet keeps its rounds: the list may differ in each of them.
        until = {ip: self._rounds + _NEW for ip in names if ip not in before} | {
            ip: last for ip, last in self._new.items() if ip in names and self._rounds < last
        }
        new = (ip for ip in self._nearer() if ip in until and ip not in self._nodes)
        self._new = {ip: until[ip] for ip in islice(new, _NEW)}

    def _choose(self) -> None:
        in_order = ((ip, self._nodes[ip]) for ip in self._names if ip in self._nodes)
        self._watched = tuple(islice((pair for pair in in_order if not pair[1].silent), WATCHED))

    def _nearer(self) -> Iterator[IPAddress]:
        """Return the nodes that would be watched if they answered."""
        watched = [ip for ip, _ in self._watched]
        left = WATCHED
        for ip in self._names:
            if ip not in watched:
                yield ip
                continue
            left -= 1
            if not left:
                return

    def _nearer_in_turn(self, *, known: bool) -> list[tuple[IPAddress, bytes]]:
        """Return one of those that is not asked anyway."""
        found = [
            ip for ip in self._nearer() if (ip in self._nodes) == known and ip not in self._judged
        ]
        if not found:
            return []
        self._turn += 1
        ip = found[self._turn % len(found)]
        return [(ip, _mac(self._nodes.get(ip)))]

    def _answered(self, ip: IPAddress, mac: bytes) -> None:
        node = self._nodes.get(ip)
        if node is None:
            node = self._nodes[ip] = _Node(mac)
            self._choose()
        if node.silent and node.rounds < _FALSE:
            node.needed = min(2 * node.needed, _MOST)
        if node.silent:
            node.silent, node.rounds = False, 0
            self._choose()
        node.mac, node.missed = mac, 0

    def _missed(self, node: _Node) -> None:
        node.missed += 1
        if not node.silent and node.missed >= node.needed:
            node.silent, node.rounds = True, 0
            self._choose()


def _mac(node: _Node | None) -> bytes:
    """Return its MAC; in every fourth question of a doubt none, since it may have changed."""
    return b"" if node is None or node.missed % 4 == 3 else node.mac  # noqa: PLR2004
