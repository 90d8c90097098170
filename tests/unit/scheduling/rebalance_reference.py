"""A plan of a rebalancing in one piece: `RebalanceSteps` has to come to the same moves."""

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from heapq import heapify, heappop, heapreplace, nsmallest

from extip.api.ipcontroller_v1 import IpClaim
from extip.scheduling.policy.node_filters import NodeFilters
from extip.scheduling.policy.placement import Candidate, Move, Placement, Strategy
from extip.scheduling.policy.rebalance_steps import bring_home, next_move
from extip.scheduling.policy.rebalancing import assignment, confined, known_claims
from extip.scheduling.policy.schedule import AssignClaim
from extip.scheduling.policy.snapshot import Snapshot

_NOBODY: frozenset[str] = frozenset()


def plan_rebalance(
    claims: Iterable[IpClaim],
    snapshot: Snapshot,
    *,
    steady: frozenset[str],
    limit: int,
    strategy: Strategy = Strategy.FAIR,
    fixed: AbstractSet[str] = _NOBODY,
) -> tuple[AssignClaim, ...]:
    """Return up to `limit` moves, between `steady` nodes only.

    `fixed` are the names of claims that stay where they are.

    Claims go to nodes that they prefer. *Fair* moves towards an even load. *First alive* moves all
    claims to one node, and only while each node that holds a claim is steady: before, the node to
    join is not certain.
    """
    by_name = {claim.metadata.name: claim for claim in claims}
    known, staying = known_claims(by_name.values(), snapshot, NodeFilters(snapshot), strategy)
    candidates = [confined(candidate, steady, staying | fixed) for candidate in known]
    if strategy is Strategy.FAIR:
        moves = rebalance(candidates, limit=limit)
    elif any(c.node in c.eligible and c.node not in steady for c in known):
        return ()
    else:
        moves = consolidate(candidates, snapshot.registered, limit=limit)
    return tuple(assignment(by_name[move.claim], move, strategy) for move in moves)


def rebalance(candidates: Iterable[Candidate], *, limit: int) -> tuple[Move, ...]:
    """Return up to `limit` moves: claims go to better nodes first, then the load is evened out.

    Load is evened out between nodes that are as good for a claim. When every claim may go to every
    node, these are the fewest moves to a difference of at most one claim. Each move narrows the gap
    between two nodes, so repetition ends. Where claims are confined to some nodes, a repetition may
    find moves that earlier moves made room for. A claim on a node that is not eligible does not
    count: `assign` is about to move it.
    """
    placement = Placement(Strategy.FAIR)
    held = _held(candidates, placement)
    moves = _bring_home(held, placement, limit=limit)
    gone = {move.claim for move in moves}
    movable = _by_best([one for one in held if one.claim not in gone], placement)
    apart = {one.claim for one in held if one.apart is not None}
    fullest = [(-placement.load(node), node) for node in movable]
    heapify(fullest)
    while fullest and len(moves) < limit:
        _, source = fullest[0]
        move = next_move(placement, source, movable[source])
        if move is None:
            heappop(fullest)
            continue
        moves.append(move)
        if move.claim in apart:
            break  # other nodes are the best now for the others of its group
        heapreplace(fullest, (-placement.load(source), source))
    return tuple(moves)


def consolidate(
    candidates: Iterable[Candidate], registered: Mapping[str, str], *, limit: int
) -> tuple[Move, ...]:
    """Return up to `limit` moves: claims go to better nodes first, then all are brought together.

    They go to the node to which `assign` gives new claims: the node with the most claims, and of
    equals the one that registered first. So the fewest claims move, each once, also when an earlier
    first node comes back. A claim for which that node is not one of the best stays where it is.
    """
    placement = Placement(Strategy.FIRST_ALIVE, registered)
    held = _held(candidates, placement)
    moves = _bring_home(held, placement, limit=limit)
    first = placement.choose(frozenset(placement.loaded()))
    if first is None:
        return ()
    gone = {move.claim for move in moves}
    others = (
        Move(claim=candidate.claim, source=candidate.node, target=first)
        for candidate in held
        if candidate.claim not in gone
        and candidate.node != first
        and candidate.apart is None
        and first in placement.best(candidate)
    )
    return (*moves, *nsmallest(limit - len(moves), others))


def _held(candidates: Iterable[Candidate], placement: Placement) -> list[Candidate]:
    """Count the claims that stay, and return them in the order of names."""
    held = [one for one in sorted(candidates, key=_claim) if one.node in one.eligible]
    for candidate in held:
        placement.keep(candidate)
    return held


def _bring_home(held: Iterable[Candidate], placement: Placement, *, limit: int) -> list[Move]:
    """Move claims from nodes to better ones, in the order of claims' names."""
    moves: list[Move] = []
    for candidate in held:
        if len(moves) >= limit:
            break
        if placement.is_astray(candidate):
            moves.append(bring_home(candidate, placement))
    return moves


def _by_best(
    held: Sequence[Candidate], placement: Placement
) -> dict[str, dict[frozenset[str], list[str]]]:
    """Return the names of claims by node and best nodes, in order.

    A claim that has better nodes has no entry.
    """
    found: dict[str, dict[frozenset[str], list[str]]] = {}
    for candidate in held:
        best = placement.best(candidate, holder=candidate.node)
        if candidate.node in best:
            found.setdefault(candidate.node, {}).setdefault(best, []).append(candidate.claim)
    return found


def _claim(candidate: Candidate) -> str:
    return candidate.claim
