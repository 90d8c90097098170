"""Claims x eligible nodes → which node holds which claim.

Two strategies. *Fair*: the eligible node with the fewest claims, ties by name. *First alive*: all
claims together, on the node that holds most of them, or else the first to have registered.

A decision takes O(log n) for n nodes, amortised, however many claims there are. `Placement` is a
data structure with no effects; it holds numbers only, and who holds what stays with the caller.
"""

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from enum import StrEnum
from heapq import heapify, heappop, heappush, heapreplace, nsmallest

from msgspec import Struct


class Strategy(StrEnum):
    """How claims are spread; the values are those of ``--nodefilter``."""

    FAIR = "fair"
    FIRST_ALIVE = "first-alive"


class Candidate(Struct, frozen=True, kw_only=True, gc=False):
    """A claim as placement sees it.

    A struct, like `Move`: making a hundred thousand dataclasses takes longer than placing them.
    """

    claim: str
    node: str = ""
    """Who holds it, dead or alive; empty for nobody."""
    eligible: frozenset[str]
    """Who may. Claims with the same rules share one set, the very same object where possible:
    comparing and hashing large sets would cost more than the decision."""


class Move(Struct, frozen=True, kw_only=True, gc=False, order=True):
    """One claim goes to another node; `source` is empty when it had none."""

    claim: str
    source: str
    target: str


_Entry = tuple[int, str, str]
"""Rank by load, registration, name: the smallest is chosen."""

_FEW = 16
"""Sets of eligible nodes up to this size are searched, not kept as heaps."""

_MAX_GROUPS = 32
"""Sets of eligible nodes whose heaps are kept; the oldest is built anew when it is used again."""

_SLACK = 64
"""Outdated entries that a heap may hold beyond one for each node before it is built anew."""

_UNREGISTERED = "~"
"""Sorts after every time: who has not registered yet comes last."""


class Placement:
    """How many claims each node holds, and which node takes the next one."""

    def __init__(self, strategy: Strategy, registered: Mapping[str, str] | None = None) -> None:
        """Begin with no claims.

        `registered` says when each node registered (any text that sorts by time, RFC 3339 does);
        only `FIRST_ALIVE` looks at it.
        """
        first_alive = strategy is Strategy.FIRST_ALIVE
        self._sign = -1 if first_alive else 1
        self._registered = dict(registered or {}) if first_alive else {}
        self._loads: dict[str, int] = {}
        self._heaps: OrderedDict[frozenset[str], list[_Entry]] = OrderedDict()

    def load(self, node: str) -> int:
        """Return how many claims the node holds."""
        return self._loads.get(node, 0)

    def hold(self, node: str) -> None:
        """Count one more claim on the node."""
        self._change(node, 1)

    def release(self, node: str) -> None:
        """Count one claim less on the node."""
        self._change(node, -1)

    def choose(self, eligible: frozenset[str]) -> str | None:
        """Return the node for one more claim, without counting it; None when none is eligible."""
        if len(eligible) <= _FEW:
            return min(map(self._entry, eligible))[2] if eligible else None
        return self._first(eligible)[0][2]

    def place(self, eligible: frozenset[str]) -> str | None:
        """Choose a node and count the claim there; None when none is eligible."""
        if self._sign < 0 or len(eligible) <= _FEW:
            node = self.choose(eligible)
            if node is not None:
                self._change(node, 1)
            return node
        # The same, but the heap at hand is brought up to date in one step: this is the hot path.
        heap = self._first(eligible)
        load, registered, node = heap[0]
        self._loads[node] = load + 1
        heapreplace(heap, (load + 1, registered, node))
        return node

    def _entry(self, node: str) -> _Entry:
        rank = self._loads.get(node, 0) * self._sign
        return rank, self._registered.get(node, _UNREGISTERED), node

    def _change(self, node: str, by: int) -> None:
        self._loads[node] = self._loads.get(node, 0) + by
        if by * self._sign > 0:
            return  # it goes down in rank: outdated entries are found when they surface
        entry = self._entry(node)
        for eligible, heap in self._heaps.items():
            if node in eligible:
                heappush(heap, entry)

    def _first(self, eligible: frozenset[str]) -> list[_Entry]:
        """Return the heap of a group, with an entry that is up to date on top.

        Each node has an entry of its rank or of a better one, so the first entry that is up to
        date is the best of all.
        """
        heap = self._heaps.get(eligible)
        if heap is None or len(heap) > 2 * len(eligible) + _SLACK:
            heap = self._build(eligible)
        loads, sign = self._loads, self._sign
        while True:
            rank, registered, node = heap[0]
            actual = loads.get(node, 0) * sign
            if rank == actual:
                return heap
            heapreplace(heap, (actual, registered, node))

    def _build(self, eligible: frozenset[str]) -> list[_Entry]:
        heap = list(map(self._entry, eligible))
        heapify(heap)
        self._heaps[eligible] = heap
        if len(self._heaps) > _MAX_GROUPS:
            self._heaps.popitem(last=False)
        return heap


def settle(
    candidates: Iterable[Candidate],
    strategy: Strategy,
    registered: Mapping[str, str] | None = None,
) -> tuple[Move, ...]:
    """Give a node to each claim that has none, or one that is not eligible; others stay.

    A claim that nobody is eligible for stays where it is: so nothing moves when all nodes are
    dead. The result is in order of claims' names, and the same for the same input in any order.
    """
    placement = Placement(strategy, registered)
    homeless: list[Candidate] = []
    for candidate in candidates:
        if candidate.node in candidate.eligible:
            placement.hold(candidate.node)
        elif candidate.eligible:
            homeless.append(candidate)
    moves: list[Move] = []
    for candidate in sorted(homeless, key=_claim):
        target = placement.place(candidate.eligible)
        if target is not None:
            moves.append(Move(claim=candidate.claim, source=candidate.node, target=target))
    return tuple(moves)


def rebalance(candidates: Iterable[Candidate], *, limit: int) -> tuple[Move, ...]:
    """Return up to `limit` moves that even the load out.

    They are the fewest that make it even to one claim, when every claim may go everywhere. Only
    moves that narrow the gap between two nodes are made, so repeating this ends; where claims are
    confined to some nodes, a repetition may find moves that earlier ones made room for. Claims on
    a node that is not eligible are not counted: they are about to be settled elsewhere.
    """
    placement = Placement(Strategy.FAIR)
    held: dict[str, dict[frozenset[str], list[str]]] = {}
    for candidate in sorted(candidates, key=_claim, reverse=True):
        if candidate.node in candidate.eligible:
            placement.hold(candidate.node)
            groups = held.setdefault(candidate.node, {})
            groups.setdefault(candidate.eligible, []).append(candidate.claim)
    fullest = [(-placement.load(node), node) for node in held]
    heapify(fullest)
    moves: list[Move] = []
    while fullest and len(moves) < limit:
        _, source = fullest[0]
        best = _best_target(placement, held[source])
        if best is None or placement.load(source) - placement.load(best[0]) <= 1:
            heappop(fullest)
            continue
        target, eligible = best
        claim = held[source][eligible].pop()
        if not held[source][eligible]:
            del held[source][eligible]
        placement.release(source)
        placement.hold(target)
        moves.append(Move(claim=claim, source=source, target=target))
        heapreplace(fullest, (-placement.load(source), source))
    return tuple(moves)


def gather(
    candidates: Iterable[Candidate], registered: Mapping[str, str], *, limit: int
) -> tuple[Move, ...]:
    """Return up to `limit` moves that bring claims together, in order of claims' names.

    They go where `settle` puts new ones: to the node that holds most of them, of several the first
    to have registered. So the fewest move, each once, also when a node that was the first before
    comes back. A claim that may not be there stays where it is.
    """
    held = [candidate for candidate in candidates if candidate.node in candidate.eligible]
    loads: dict[str, int] = {}
    for candidate in held:
        loads[candidate.node] = loads.get(candidate.node, 0) + 1
    if not loads:
        return ()
    _, _, first = min(
        (-load, registered.get(node, _UNREGISTERED), node) for node, load in loads.items()
    )
    moves = (
        Move(claim=candidate.claim, source=candidate.node, target=first)
        for candidate in held
        if candidate.node != first and first in candidate.eligible
    )
    return tuple(nsmallest(limit, moves))


def _best_target(
    placement: Placement, groups: Mapping[frozenset[str], list[str]]
) -> tuple[str, frozenset[str]] | None:
    """Return the emptiest node that some claim of these groups may go to, and its group."""
    # The names of claims differ, so that the order never depends on comparing sets.
    options = [
        (placement.load(node), node, claims[-1], eligible)
        for eligible, claims in groups.items()
        if (node := placement.choose(eligible)) is not None
    ]
    if not options:
        return None
    _, node, _, eligible = min(options)
    return node, eligible


def _claim(candidate: Candidate) -> str:
    return candidate.claim
