"""Score and assign: claims x eligible nodes → the node of each claim. Pure.

There are two strategies. *Fair* chooses the eligible node with the fewest claims, and of equals the
first name. *First alive* keeps all claims together: on the node that holds most of them, else on
the node that registered first.

One decision over n nodes takes O(log n), amortised, for any number of claims. `Placement` counts
claims only; the caller knows which node holds which claim.
"""

from collections import OrderedDict
from collections.abc import Collection, Iterable, Mapping
from enum import StrEnum
from heapq import heapify, heappop, heappush, heapreplace, nsmallest

from msgspec import Struct


class Strategy(StrEnum):
    """How claims are distributed; the values are those of ``--nodefilter``."""

    FAIR = "fair"
    FIRST_ALIVE = "first-alive"


class Candidate(Struct, frozen=True, kw_only=True, gc=False):
    """A claim, with its node and the nodes that passed the filters.

    `Candidate` and `Move` are structs for speed: the creation of a hundred thousand dataclasses
    takes longer than their placement.
    """

    claim: str
    node: str = ""
    """The node that holds it, dead or alive; empty for none."""
    eligible: frozenset[str]
    """The nodes that may hold it. Claims with the same needs share one set object where possible:
    hashing large sets costs more than the decision."""
    preferred: frozenset[str] | None = None
    """The best of them, of which none is better; None when all are equal."""
    standby: str = ""
    """The node that was chosen to take it from its node; empty for none."""

    @property
    def best(self) -> frozenset[str]:
        """The nodes to choose from."""
        return self.eligible if self.preferred is None else self.preferred

    @property
    def is_astray(self) -> bool:
        """Whether it is on a node that may hold it, and another one is better."""
        return (
            self.preferred is not None
            and self.node in self.eligible
            and self.node not in self.preferred
        )


class Move(Struct, frozen=True, kw_only=True, gc=False, order=True):
    """One claim gets another node; `source` is empty when it had none."""

    claim: str
    source: str
    target: str


Entry = tuple[int, str, str]
"""The score of a node: load, registration, name. The smallest wins."""

_FEW = 16
"""Sets of eligible nodes up to this size are searched; larger ones have a heap."""

_MAX_GROUPS = 32
"""The number of heaps that are kept. The oldest one is dropped, and built anew on its next use."""

_SLACK = 64
"""Outdated entries that a heap may hold, beyond one for each node, before it is built anew."""

_UNREGISTERED = "~"
"""Sorts after every time: a node that has not registered yet comes last."""


class Placement:
    """The load of each node, and the node for the next claim."""

    def __init__(self, strategy: Strategy, registered: Mapping[str, str] | None = None) -> None:
        """Begin with no claims.

        `registered` is the time at which each node registered, as text that sorts by time (RFC 3339
        does). Only `FIRST_ALIVE` uses it.
        """
        first_alive = strategy is Strategy.FIRST_ALIVE
        self._sign = -1 if first_alive else 1
        self._registered = dict(registered or {}) if first_alive else {}
        self._loads: dict[str, int] = {}
        self._heaps: OrderedDict[frozenset[str], list[Entry]] = OrderedDict()

    def reregister(self, registered: Mapping[str, str]) -> None:
        """Take other times of registration; the loads stay."""
        if self._sign < 0 and registered != self._registered:
            self._registered = dict(registered)
            self._heaps.clear()

    def load(self, node: str) -> int:
        """Return the number of claims that the node holds."""
        return self._loads.get(node, 0)

    def loaded(self) -> list[str]:
        """Return the nodes that hold claims."""
        return [node for node, load in self._loads.items() if load > 0]

    def hold(self, node: str) -> None:
        """Count one more claim on the node."""
        self._change(node, 1)

    def release(self, node: str) -> None:
        """Count one claim fewer on the node."""
        self._change(node, -1)

    def choose(self, eligible: frozenset[str]) -> str | None:
        """Return the node for the next claim, or None. Loads do not change."""
        if len(eligible) <= _FEW:
            return min(map(self.entry, eligible))[2] if eligible else None
        return self._first(eligible)[0][2]

    def place(self, eligible: frozenset[str]) -> str | None:
        """Choose a node and count the claim there; return None when none is eligible."""
        if self._sign < 0 or len(eligible) <= _FEW:
            node = self.choose(eligible)
            if node is not None:
                self._change(node, 1)
            return node
        # The hot path: the same, and the heap is brought up to date in one step.
        heap = self._first(eligible)
        load, registered, node = heap[0]
        self._loads[node] = load + 1
        heapreplace(heap, (load + 1, registered, node))
        return node

    def entry(self, node: str, more: int = 0) -> Entry:
        """Return the score of a node that gets so many more claims; the smallest is chosen."""
        rank = (self._loads.get(node, 0) + more) * self._sign
        return rank, self._registered.get(node, _UNREGISTERED), node

    def _change(self, node: str, by: int) -> None:
        self._loads[node] = self._loads.get(node, 0) + by
        if by * self._sign > 0:
            return  # its score gets worse: `_first` finds the outdated entry when it is on top
        entry = self.entry(node)
        overgrown: list[frozenset[str]] = []
        for eligible, heap in self._heaps.items():
            if node in eligible:
                heappush(heap, entry)
                if len(heap) > 2 * len(eligible) + _SLACK:
                    overgrown.append(eligible)
        for eligible in overgrown:  # nobody has chosen among these nodes for long
            del self._heaps[eligible]

    def _first(self, eligible: frozenset[str]) -> list[Entry]:
        """Return the heap of a set of nodes, with an up-to-date entry on top.

        Each node has an entry with its score or a better one. So the first entry that is up to date
        is the best of all.
        """
        heap = self._heaps.get(eligible)
        if heap is None:
            heap = self._build(eligible)
        loads, sign = self._loads, self._sign
        while True:
            rank, registered, node = heap[0]
            actual = loads.get(node, 0) * sign
            if rank == actual:
                return heap
            heapreplace(heap, (actual, registered, node))

    def _build(self, eligible: frozenset[str]) -> list[Entry]:
        heap = list(map(self.entry, eligible))
        heapify(heap)
        self._heaps[eligible] = heap
        if len(self._heaps) > _MAX_GROUPS:
            self._heaps.popitem(last=False)
        return heap


def assign(candidates: Iterable[Candidate], placement: Placement) -> tuple[Move, ...]:
    """Give a node to each claim without a node, or with a node that is not eligible. Others stay.

    A claim goes to its standby, if that one is eligible and no other is better. The others are
    spread after those.

    A claim without an eligible node stays where it is: nothing moves when all nodes are dead. The
    result is in the order of claims' names, and does not depend on the order of the input.
    `placement` has the loads of all other claims, and afterwards also of these.
    """
    homeless: list[Candidate] = []
    moves: list[Move] = []
    for candidate in candidates:
        if candidate.node in candidate.eligible:
            placement.hold(candidate.node)
        elif candidate.standby in candidate.best:
            placement.hold(candidate.standby)
            moves.append(_move(candidate, candidate.standby))
        elif candidate.eligible:
            homeless.append(candidate)
    for candidate in sorted(homeless, key=_claim):
        target = placement.place(candidate.best)
        if target is not None:
            moves.append(_move(candidate, target))
    return tuple(sorted(moves))


def rebalance(candidates: Iterable[Candidate], *, limit: int) -> tuple[Move, ...]:
    """Return up to `limit` moves: claims go to better nodes first, then the load is evened out.

    Load is evened out between nodes that are as good for a claim. When every claim may go to every
    node, these are the fewest moves to a difference of at most one claim. Each move narrows the gap
    between two nodes, so repetition ends. Where claims are confined to some nodes, a repetition may
    find moves that earlier moves made room for. A claim on a node that is not eligible does not
    count: `assign` is about to move it.
    """
    placement = Placement(Strategy.FAIR)
    known = list(candidates)
    held = _hold_in_place(known, placement)
    moves = _bring_home(known, placement, limit=limit)
    fullest = [(-placement.load(node), node) for node in held]
    heapify(fullest)
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


def _bring_home(candidates: Iterable[Candidate], placement: Placement, *, limit: int) -> list[Move]:
    """Move claims from nodes to better ones, in the order of claims' names."""
    astray = nsmallest(limit, (one for one in candidates if one.is_astray), key=_claim)
    moves: list[Move] = []
    for candidate in astray:
        target = placement.place(candidate.best)
        if target is not None:
            placement.release(candidate.node)
            moves.append(Move(claim=candidate.claim, source=candidate.node, target=target))
    return moves


def is_balanced(placement: Placement, steady: Collection[str], strategy: Strategy) -> bool:
    """Whether it is certain that neither `rebalance` nor `consolidate` moves a claim."""
    if strategy is Strategy.FIRST_ALIVE:
        return len(placement.loaded()) <= 1
    loads = [placement.load(node) for node in steady]
    return max(loads, default=0) - min(loads, default=0) <= 1


def consolidate(
    candidates: Iterable[Candidate], registered: Mapping[str, str], *, limit: int
) -> tuple[Move, ...]:
    """Return up to `limit` moves that bring claims together, in the order of claims' names.

    They go to the node to which `assign` gives new claims: the node with the most claims, and of
    equals the one that registered first. So the fewest claims move, each once, also when an earlier
    first node comes back. A claim that may not be on that node stays where it is. A claim
    that prefers others goes to the one of those with the most claims.
    """
    held = [candidate for candidate in candidates if candidate.node in candidate.eligible]
    loads: dict[str, int] = {}
    for candidate in held:
        loads[candidate.node] = loads.get(candidate.node, 0) + 1
    if not loads:
        return ()

    def order(node: str) -> tuple[int, str, str]:
        return -loads.get(node, 0), registered.get(node, _UNREGISTERED), node

    first = min(loads, key=order)

    def target(candidate: Candidate) -> str:
        if first in candidate.best:
            return first
        return min(candidate.best, key=order) if candidate.is_astray else candidate.node

    moves = (
        Move(claim=candidate.claim, source=candidate.node, target=node)
        for candidate in held
        if (node := target(candidate)) != candidate.node
    )
    return tuple(nsmallest(limit, moves))


def _hold_in_place(
    candidates: Iterable[Candidate], placement: Placement
) -> dict[str, dict[frozenset[str], list[str]]]:
    """Count the claims that stay; return their names by node and best nodes, the last first.

    A claim that has better nodes has no entry.
    """
    held: dict[str, dict[frozenset[str], list[str]]] = {}
    for candidate in sorted(candidates, key=_claim, reverse=True):
        if candidate.node in candidate.eligible:
            placement.hold(candidate.node)
            groups = held.setdefault(candidate.node, {})
            if not candidate.is_astray:
                groups.setdefault(candidate.best, []).append(candidate.claim)
    return held


def _best_target(
    placement: Placement, groups: Mapping[frozenset[str], list[str]]
) -> tuple[str, frozenset[str]] | None:
    """Return the node with the least load that a claim of these groups may go to, and its group."""
    # The names of claims differ, so the order never depends on a comparison of sets.
    options = [
        (placement.load(node), node, claims[-1], eligible)
        for eligible, claims in groups.items()
        if (node := placement.choose(eligible)) is not None
    ]
    if not options:
        return None
    _, node, _, eligible = min(options)
    return node, eligible


def _move(candidate: Candidate, target: str) -> Move:
    return Move(claim=candidate.claim, source=candidate.node, target=target)


def _claim(candidate: Candidate) -> str:
    return candidate.claim
