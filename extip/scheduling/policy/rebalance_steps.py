"""In quiet times: the claims that move so that the strategy is fulfilled again, planned in steps.

Claims go to better nodes first. Then the load is evened out between nodes that are as good for a
claim, or all claims are brought together. The loads are those that the state keeps. A plan looks at
the claims that are astray, and at those on the fullest nodes. It ends where no node can be too
full.

The state counts claims where they are to come. A write that is refused may never be made, so such
claims are counted where they are.

The state may change between two steps: whoever carries a move out asks before whether it `holds`.
"""

from collections import Counter
from collections.abc import Collection, Generator, Iterable, Mapping
from collections.abc import Set as AbstractSet
from heapq import heapify, heappop, heappush, heapreplace, nsmallest

from extip.claims.policy.claims import parse_cidr
from extip.scheduling.policy.keys import Key
from extip.scheduling.policy.placement import Candidate, Cause, Move, Placement, Strategy
from extip.scheduling.policy.rebalancing import candidates_among
from extip.scheduling.policy.standing import Standing
from extip.scheduling.policy.state import ScheduleState

_NOBODY: frozenset[str] = frozenset()
_NO_KEYS: frozenset[Key] = frozenset()


class RebalanceSteps:
    """One plan for `limit` moves; each step looks at up to `most` IPs."""

    def __init__(
        self,
        state: ScheduleState,
        standing: Standing,
        *,
        steady: frozenset[str],
        limit: int,
        most: int,
        fixed: AbstractSet[str] = _NOBODY,
    ) -> None:
        """Compose; claims move between `steady` nodes only, and `fixed` ones stay."""
        self._state = state
        self._standing = standing
        self.strategy = standing.strategy
        self._steady = steady
        self._limit = limit
        self._most = most
        self._fixed = fixed
        self._placement = standing.placement.part(steady)
        """The loads while moves are tried."""
        self._elsewhere: Counter[str] = Counter()
        """How many more claims are on each node than the state counts there."""
        self._unmade: AbstractSet[Key] = _NO_KEYS
        """The IPs with writes that were not made then."""
        self._moves: list[Move] = []
        self._work = self._plan()

    def step(self) -> tuple[Move, ...] | None:
        """Take a step; return the moves after the last one, else None."""
        try:
            next(self._work)
        except StopIteration:
            return tuple(self._moves)
        return None

    def _plan(self) -> Generator[None]:
        fair = self._standing.strategy is Strategy.FAIR
        if not fair and not self._steady.issuperset(self._standing.placement.loaded()):
            return  # the node to join is not certain
        if fair:
            yield from self._count_where_they_are()
        yield from self._bring_home()
        yield from self._even_out() if fair else self._consolidate()

    def _count_where_they_are(self) -> Generator[None]:
        """Correct the loads by the claims whose writes are not made."""
        self._unmade = frozenset(self._state.writes)
        for keys in self._parts(self._unmade):
            for node in (node for key in keys for node in self._state.counted(key)):
                self._elsewhere[node] -= 1
            for candidate in self._candidates(keys):
                self._elsewhere[candidate.node] += 1
            yield
        for node in self._steady.intersection(self._elsewhere):
            for _ in range(self._elsewhere[node]):
                self._placement.hold(node)
            for _ in range(-self._elsewhere[node]):
                self._placement.release(node)

    def _bring_home(self) -> Generator[None]:
        """Move claims from nodes to better ones, in the order of claims' names."""
        placement = self._placement
        found: list[tuple[str, Candidate]] = []
        for keys in self._parts(self._state.astray):
            for candidate in self._candidates(keys):
                if placement.is_astray(candidate):
                    heappush(found, (candidate.claim, candidate))
            yield
        while found and len(self._moves) < self._limit:
            _, candidate = heappop(found)
            if placement.is_astray(candidate):
                self._moves.append(bring_home(candidate, placement))

    def _even_out(self) -> Generator[None]:
        """Move claims from the fullest nodes to those with the least load.

        When every claim may go to every node, these are the fewest moves to a difference of at most
        one claim. Each move narrows the gap between two nodes, so repetition ends. Where claims are
        confined to some nodes, a repetition may find moves that earlier moves made room for.
        """
        placement, open_nodes = self._placement, self._standing.filters.open_nodes
        nodes = [node for node in self._steady if placement.load(node) or node in open_nodes]
        fullest = [(-placement.load(node), node) for node in nodes]
        heapify(fullest)
        least = min(map(placement.load, nodes), default=0)
        movable: dict[str, dict[frozenset[str], list[str]]] = {}
        apart: set[str] = set()
        while fullest and len(self._moves) < self._limit:
            _, source = fullest[0]
            if placement.load(source) - least <= 1:
                return
            if source not in movable:
                movable[source] = yield from self._movable(source, apart)
            move = next_move(placement, source, movable[source])
            if move is None:
                heappop(fullest)
                continue
            self._moves.append(move)
            if move.claim in apart:
                return  # other nodes are the best now for the others of its group
            heapreplace(fullest, (-placement.load(source), source))
            least = min(map(placement.load, nodes))

    def _movable(
        self, node: str, apart: set[str]
    ) -> Generator[None, None, dict[frozenset[str], list[str]]]:
        """Return heaps of the claims on a node by their best nodes; add to those to be apart."""
        gone = {move.claim for move in self._moves}
        found: dict[frozenset[str], list[str]] = {}
        for keys in self._parts(self._state.on(node)):
            for candidate in self._candidates(keys):
                if candidate.node != node or candidate.claim in gone:
                    continue
                best = self._placement.best(candidate, holder=node)
                if node in best:
                    heappush(found.setdefault(best, []), candidate.claim)
                if candidate.apart is not None:
                    apart.add(candidate.claim)
            yield
        return found

    def _consolidate(self) -> Generator[None]:
        """Bring all claims together, on the node to which `assign` gives new ones.

        It is the node with the most claims, and of equals the one that registered first. So the
        fewest claims move, each once, also when an earlier first node comes back. A claim for which
        that node is not one of the best stays where it is.
        """
        placement = self._placement
        loaded = placement.loaded()
        first = placement.choose(frozenset(loaded))
        gone = {move.claim for move in self._moves}
        left = self._limit - len(self._moves)
        found: list[Move] = []
        for node in sorted(loaded):
            for keys in () if node == first else self._parts(self._state.on(node)):
                found += (
                    Move(claim=one.claim, source=node, target=first)
                    for one in self._candidates(keys)
                    if one.node == node
                    and one.claim not in gone
                    and one.apart is None
                    and first in placement.best(one)
                )
                found = nsmallest(left, found)
                yield
        self._moves += found

    def _candidates(self, keys: Iterable[Key]) -> list[Candidate]:
        found = candidates_among(
            [claim for key in keys for claim in self._state.claims_of(key)],
            self._standing.snapshot,
            self._standing.filters,
            steady=self._steady,
            strategy=self._standing.strategy,
            fixed=self._fixed,
        )
        for apart in (one.apart for one in found if one.apart is not None):
            counts = self._standing.placement.spread.counts(apart.group)
            self._placement.spread.adopt(apart.group, counts)
        return found

    def _parts(self, keys: Collection[Key]) -> Iterable[list[Key]]:
        now = list(keys)
        return (now[at : at + self._most] for at in range(0, len(now), self._most))

    def holds(self, move: Move, steady: frozenset[str], fixed: AbstractSet[str]) -> bool:
        """Whether a planned move makes things better still, with these nodes and claims now."""
        state, standing = self._state, self._standing
        claim = state.claims.get(move.claim)
        interface = None if claim is None else parse_cidr(claim.spec.cidr)
        if interface is None or move.claim in fixed:
            return False
        self._steady, self._fixed = steady, fixed
        known = self._candidates((interface.ip,))
        candidate = next((one for one in known if one.claim == move.claim), None)
        if candidate is None or candidate.node != move.source:
            return False
        placement = standing.placement
        if move.target not in placement.best(candidate, holder=move.source):
            return False
        if move.cause is not Cause.LOAD:
            return placement.is_astray(candidate)
        if standing.strategy is Strategy.FIRST_ALIVE:
            return move.target == placement.choose(frozenset(placement.loaded()))
        counted = self._unmade <= state.writes.keys()  # else they count elsewhere by now
        return counted and self._load(move.source) - self._load(move.target) > 1

    def _load(self, node: str) -> int:
        return self._standing.placement.load(node) + self._elsewhere[node]


def bring_home(candidate: Candidate, placement: Placement) -> Move:
    """Move a claim that is astray to a better node."""
    apart, node = candidate.apart, candidate.node
    crowded = apart is not None and placement.spread.count(apart.group, node) > 1
    placement.unseat(candidate)
    target = placement.seat(candidate) or node
    cause = Cause.APART if crowded else Cause.PREFERRED
    return Move(claim=candidate.claim, source=node, target=target, cause=cause)


def next_move(
    placement: Placement, source: str, groups: dict[frozenset[str], list[str]]
) -> Move | None:
    """Take the next claim from a node that holds too many; return None where none is to move.

    `groups` has the names of its claims by their best nodes: a heap for each.
    """
    best = _best_target(placement, groups)
    if best is None or placement.load(source) - placement.load(best[0]) <= 1:
        return None
    target, nodes = best
    claim = heappop(groups[nodes])
    if not groups[nodes]:
        del groups[nodes]
    placement.release(source)
    placement.hold(target)
    return Move(claim=claim, source=source, target=target)


def _best_target(
    placement: Placement, groups: Mapping[frozenset[str], list[str]]
) -> tuple[str, frozenset[str]] | None:
    """Return the node with the least load that a claim of these groups may go to, and its group."""
    # The names of claims differ, so the order never depends on a comparison of sets.
    options = [
        (placement.load(node), node, claims[0], nodes)
        for nodes, claims in groups.items()
        if (node := placement.choose(nodes)) is not None
    ]
    if not options:
        return None
    _, node, _, nodes = min(options)
    return node, nodes
