"""Claims → the nodes that a rebalancing may move them to, and the write of a move. Pure."""

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet

from extip.api.ipcontroller_v1 import IpClaim
from extip.claims.policy.claims import pool_of
from extip.claims.policy.same_ip import same_ip_groups
from extip.scheduling.policy.candidates import Filtered, filter_with, needs_by_name, pinned_load
from extip.scheduling.policy.node_filters import NodeFilters
from extip.scheduling.policy.placement import Candidate, Cause, Move, Strategy
from extip.scheduling.policy.schedule import AssignClaim
from extip.scheduling.policy.snapshot import Snapshot

_NOBODY: frozenset[str] = frozenset()


def candidates_among(
    claims: Iterable[IpClaim],
    snapshot: Snapshot,
    filters: NodeFilters,
    *,
    steady: frozenset[str],
    strategy: Strategy,
    fixed: AbstractSet[str],
) -> list[Candidate]:
    """Return claims that count on their nodes, with the nodes that they may be moved to.

    `claims` are all claims of some IPs.
    """
    known, staying = known_claims(claims, snapshot, filters, strategy)
    found = (confined(candidate, steady, staying | fixed) for candidate in known)
    return [candidate for candidate in found if candidate.node in candidate.eligible]


def known_claims(
    claims: Iterable[IpClaim], snapshot: Snapshot, filters: NodeFilters, strategy: Strategy
) -> tuple[list[Candidate], frozenset[str]]:
    """Return the claims that count as load, and the names of those that move only if they must."""
    by_name = {
        claim.metadata.name: claim for claim in claims if pool_of(claim) not in snapshot.every_node
    }
    filtered = _filtered(by_name, snapshot, filters)
    known = filtered.candidates() + pinned_load(by_name, filtered, strategy)
    return known, filtered.groups.not_rebalanced | filtered.staying()


def _filtered(by_name: Mapping[str, IpClaim], snapshot: Snapshot, filters: NodeFilters) -> Filtered:
    holders = {name: claim.spec.node_name for name, claim in by_name.items()}
    needs = needs_by_name(by_name.values(), snapshot)
    groups = same_ip_groups(by_name.values())
    # Each claim stays or moves between steady nodes: none waits for a node of unknown liveness.
    return filter_with(needs, holders, groups, filters, filters)


def confined(candidate: Candidate, steady: frozenset[str], staying: AbstractSet[str]) -> Candidate:
    """Return the candidate with the nodes that a rebalancing may move it to."""
    preferred = candidate.preferred
    nodes = candidate.eligible & steady if candidate.node in steady else _NOBODY
    if preferred is not None:
        preferred &= steady
    if nodes and (candidate.claim in staying or preferred == _NOBODY):
        nodes, preferred = frozenset({candidate.node}), None
    return Candidate(
        claim=candidate.claim,
        node=candidate.node,
        eligible=nodes,
        preferred=preferred,
        apart=candidate.apart,
    )


def assignment(claim: IpClaim, move: Move, strategy: Strategy) -> AssignClaim:
    """Return the write of a move."""
    return AssignClaim(claim=claim, node=move.target, why=_why(move, strategy))


def _why(move: Move, strategy: Strategy) -> str:
    match move.cause:
        case Cause.PREFERRED:
            return f"{move.target} is preferred"
        case Cause.APART:
            return "another address of its service was there"
        case Cause.LOAD:
            fair = strategy is Strategy.FAIR
            return "it held more than its share" if fair else f"to join those on {move.target}"
