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
from heapq import heapify, heappush, heapreplace

from msgspec import Struct

from extip.scheduling.policy.spread import Apart, Spread


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
    apart: Apart | None = None
    """Present when it is to be apart from other claims. `preferred` does not count then."""


class Cause(StrEnum):
    """The reason for which a claim leaves a node that may hold it."""

    LOAD = "load"
    PREFERRED = "preferred"
    """Its service or pool prefers the other node."""
    APART = "apart"
    """The node has other claims of its group."""


class Move(Struct, frozen=True, kw_only=True, gc=False, order=True):
    """One claim gets another node; `source` is empty when it had none."""

    claim: str
    source: str
    target: str
    cause: Cause = Cause.LOAD


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
        self.spread = Spread()
        """The nodes of claims that are to be apart."""

    def reregister(self, registered: Mapping[str, str]) -> None:
        """Take other times of registration; the loads stay."""
        if self._sign < 0 and registered != self._registered:
            self._registered = dict(registered)
            self._heaps.clear()

    def part(self, nodes: Iterable[str]) -> "Placement":
        """Return the loads of these nodes alone, to try moves with; `spread` is empty there."""
        found = Placement(
            Strategy.FAIR if self._sign > 0 else Strategy.FIRST_ALIVE, self._registered
        )
        found._loads = {node: self.load(node) for node in nodes}
        return found

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

    def keep(self, candidate: Candidate) -> None:
        """Count a candidate on its node."""
        self.hold(candidate.node)
        if candidate.apart is not None:
            self.spread.hold(candidate.apart.group, candidate.node)

    def best(self, candidate: Candidate, *, holder: str = "") -> frozenset[str]:
        """Return the nodes for a candidate, of which none is better. `holder` counts it by now."""
        if candidate.apart is not None and candidate.eligible:
            return self.spread.best(candidate.apart, candidate.eligible, holder)
        return candidate.eligible if candidate.preferred is None else candidate.preferred

    def is_astray(self, candidate: Candidate) -> bool:
        """Whether a candidate that is counted on its node has a better one."""
        node = candidate.node
        return node in candidate.eligible and node not in self.best(candidate, holder=node)

    def seat(self, candidate: Candidate) -> str | None:
        """Choose a node for a candidate and count it there; return None when none is eligible."""
        best = self.best(candidate)
        if candidate.apart is None:
            return self.place(best)
        node = self.place(frozenset({candidate.standby}) & best or best)
        if node is not None:
            self.spread.hold(candidate.apart.group, node)
        return node

    def unseat(self, candidate: Candidate) -> None:
        """Count a candidate no more."""
        self.release(candidate.node)
        if candidate.apart is not None:
            self.spread.release(candidate.apart.group, candidate.node)

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
        loads, sign, registered = self._loads, self._sign, self._registered
        heap = [
            (loads.get(node, 0) * sign, registered.get(node, _UNREGISTERED), node)
            for node in eligible
        ]
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
            placement.keep(candidate)
        elif candidate.apart is None and candidate.standby in placement.best(candidate):
            placement.hold(candidate.standby)
            moves.append(_move(candidate, candidate.standby))
        elif candidate.eligible:
            homeless.append(candidate)
    for candidate in sorted(homeless, key=_claim):
        target = placement.seat(candidate)
        if target is not None:
            moves.append(_move(candidate, target))
    return tuple(sorted(moves))


def is_balanced(placement: Placement, steady: Collection[str], strategy: Strategy) -> bool:
    """Whether it is certain that neither `rebalance` nor `consolidate` (`balancing`) moves one.

    Claims that are not on the best node are the caller's to know.
    """
    if strategy is Strategy.FIRST_ALIVE:
        return len(placement.loaded()) <= 1
    loads = [placement.load(node) for node in steady]
    return max(loads, default=0) - min(loads, default=0) <= 1


def _move(candidate: Candidate, target: str) -> Move:
    return Move(claim=candidate.claim, source=candidate.node, target=target)


def _claim(candidate: Candidate) -> str:
    return candidate.claim
