"""Loads that are uneven → the moves that even them out, or bring all claims together. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from heapq import heapify, heappop, heapreplace, nsmallest

from extip.scheduling.policy.placement import Candidate, Cause, Move, Placement, Strategy


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


def bring_home(candidate: Candidate, placement: Placement) -> Move:
    """Move a claim that is astray to a better node."""
    apart, node = candidate.apart, candidate.node
    crowded = apart is not None and placement.spread.count(apart.group, node) > 1
    placement.unseat(candidate)
    target = placement.seat(candidate) or node
    cause = Cause.APART if crowded else Cause.PREFERRED
    return Move(claim=candidate.claim, source=node, target=target, cause=cause)


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


def _claim(candidate: Candidate) -> str:
    return candidate.claim
