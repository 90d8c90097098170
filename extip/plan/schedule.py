"""Wanted IPs, claims and nodes → the writes that put every wanted IP on a node that may hold it.

Creating a claim and assigning it is one write. The order of writes is the order of urgency: claims
whose node is gone first, then new ones, then who wants what, then what nobody wants any more.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from extip.api.ipcontroller_v1 import IpClaim, ServiceReference
from extip.plan.claims import (
    Action,
    ClaimIndex,
    Create,
    Delete,
    SetServices,
    claim_name,
    index_claims,
    is_pinned,
    needs_label,
    new_claim,
    parse_cidr,
    plan_claims,
)
from extip.plan.cluster import Cluster, Rules, needs_of, needs_of_new, not_served
from extip.plan.duplicates import Duplicates, find_duplicates, is_refused, of_the_same_ip
from extip.plan.eligibility import Needs, presumed_alive
from extip.plan.link import IPInterface
from extip.plan.placement import Candidate, Move, Strategy, gather, rebalance, settle
from extip.plan.requests import Owner

_NOBODY: frozenset[str] = frozenset()
_NO_POOLS: Mapping[IPInterface, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateClaim:
    """Write a new claim, assigned already where somebody can take it."""

    claim: IpClaim


@dataclass(frozen=True, slots=True, kw_only=True)
class AssignClaim:
    """Give a claim to another node."""

    claim: IpClaim
    node: str
    why: str
    """Why it did not stay where it was, for people, who read it later."""


Write = CreateClaim | AssignClaim | SetServices | Delete


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """What to write, and what cannot be placed."""

    writes: tuple[Write, ...]
    waiting: Mapping[str, str]
    """Claims that nobody can take, by name, with the reason."""
    in_the_way: Mapping[str, IPInterface]
    """Claims that somebody gave the name of the claim of another IP, by that name, with that IP:
    nothing can be done for it."""
    refused: Mapping[str, str] = field(default_factory=dict)
    """Claims whose IP another claim holds on another node, by name, with the reason."""
    not_served: Mapping[str, tuple[ServiceReference, ...]] = field(default_factory=dict)
    """Services that want local endpoints and have none on the node that serves the most of those
    which share the claim's IP, by the claim's name."""
    absent: frozenset[str] = _NOBODY
    """Nodes that claims name, and that have no controller: no IpNode, and no heartbeats."""


def plan_schedule(
    wanted: Mapping[IPInterface, tuple[Owner, ...]],
    claims: Sequence[IpClaim],
    cluster: Cluster,
    strategy: Strategy,
    *,
    pools: Mapping[IPInterface, str] = _NO_POOLS,
) -> Schedule:
    """Plan for all claims at once; applying the writes, and planning again, soon gives none.

    All arguments must be complete: a claim that the scheduler made and that is not wanted goes.
    `pools` has the names of the pools that wanted IPs were allocated from.
    """
    index = index_claims(claims)
    actions = plan_claims(wanted, index, pools)
    deleted = {a.claim.metadata.name for a in actions if isinstance(a, Delete)}
    by_name = {c.metadata.name: c for c in claims if c.metadata.name not in deleted}
    creates = {claim_name(a.interface): a for a in actions if isinstance(a, Create)}
    in_the_way = {name: creates.pop(name).interface for name in creates.keys() & by_name.keys()}
    rules = Rules(cluster)
    needs = {
        name: needs_of_new(create, cluster)
        for name, create in creates.items()
        if not create.replaces
    }
    needs |= _needs(by_name.values(), cluster)
    located = cluster.located
    holders = {name: located.get(create.interface.ip, "") for name, create in creates.items()}
    holders |= {name: claim.spec.node_name for name, claim in by_name.items()}
    newcomers = rules
    if strategy is Strategy.FIRST_ALIVE:
        awaited = cluster.unknown & {holders[name] for name in needs}
        newcomers = Rules(replace(cluster, nodes=presumed_alive(cluster.nodes, awaited)))
    eligible = {
        name: (rules if holders[name] else newcomers).eligible(need, holders[name])
        for name, need in needs.items()
    }
    twins = _duplicates(
        (
            [c for c in group if c.metadata.name in by_name]
            for group in index.by_ip.values()
            if len(group) > 1
        ),
        eligible,
        rules,
        cluster,
    )
    candidates = _candidates(eligible, holders, twins)
    moves = settle(
        [*candidates, *_fixed(by_name, eligible, twins, strategy)], strategy, cluster.registered
    )
    placed = {move.claim: move for move in moves}

    def node_of(name: str) -> str:
        return placed[name].target if name in placed else holders[name]

    followers = [
        Move(claim=name, source=holders[name], target=node_of(leader))
        for name, leader in twins.follows.items()
        if node_of(leader) != holders[name]
    ]
    parting = _parting(actions, index, twins, node_of)
    refused = {
        name: f"claim {leader} holds the same IP"
        for name, leader in twins.rivals.items()
        if node_of(leader) != holders[name]
    }
    writes: list[Write] = [
        AssignClaim(
            claim=by_name[move.claim],
            node=move.target,
            why=rules.why_not(move.source, needs[move.claim]),
        )
        for move in moves
        if move.claim in by_name
    ]
    writes += [_following(by_name, move, twins) for move in followers]
    writes += [one for one in parting.values() if isinstance(one, AssignClaim)]
    placed |= {move.claim: move for move in followers}
    for name, create in creates.items():
        # With another prefix length an IP does not move, unless it has to anyway.
        as_placed = create.replaces or name
        node = placed[as_placed].target if as_placed in placed else holders[as_placed]
        writes.append(CreateClaim(claim=new_claim(create, node=node)))
    # Its node does not see what is refused before that can be read in it.
    seen = (c for name, c in by_name.items() if name not in refused or is_refused(c))
    writes += _mislabelled(seen, placed)
    writes += [
        a for a in actions if isinstance(a, SetServices) and a.claim.metadata.name in by_name
    ]
    writes += [
        a for a in actions if isinstance(a, Delete) and parting.get(a.claim.metadata.name, a) is a
    ]
    waiting = {
        candidate.claim: rules.judge(needs[candidate.claim]).explain()
        for candidate in candidates
        if not candidate.eligible
    }
    return Schedule(
        writes=tuple(writes),
        waiting=waiting,
        in_the_way=in_the_way,
        refused=refused,
        not_served=_not_served(by_name, eligible, placed, cluster),
        absent=_absent(claims, cluster),
    )


def plan_rebalance(
    claims: Iterable[IpClaim],
    cluster: Cluster,
    *,
    steady: frozenset[str],
    limit: int,
    strategy: Strategy = Strategy.FAIR,
    fixed: AbstractSet[str] = _NOBODY,
) -> tuple[AssignClaim, ...]:
    """Return up to `limit` moves to where the strategy wants claims, to `steady` nodes alone.

    The claims called `fixed` stay where they are.

    *Fair*: towards an even load. *First alive*: together, and only when all that hold any are
    steady: whom to join is not clear before.
    """
    by_name = {claim.metadata.name: claim for claim in claims}
    holders = {name: claim.spec.node_name for name, claim in by_name.items()}
    rules = Rules(cluster)
    eligible = {
        name: rules.eligible(need, holders[name])
        for name, need in _needs(by_name.values(), cluster).items()
    }
    twins = _duplicates(of_the_same_ip(by_name.values()), eligible, rules, cluster)
    known = _candidates(eligible, holders, twins) + _fixed(by_name, eligible, twins, strategy)
    staying = twins.anchored | fixed
    candidates = [
        Candidate(
            claim=c.claim,
            node=c.node,
            eligible=(frozenset({c.node}) if c.claim in staying else c.eligible) & steady
            if c.node in steady
            else _NOBODY,
        )
        for c in known
    ]
    if strategy is Strategy.FAIR:
        moves = rebalance(candidates, limit=limit)
        return tuple(_moved(by_name, move, why="it held more than its share") for move in moves)
    if any(c.node in c.eligible and c.node not in steady for c in known):
        return ()
    moves = gather(candidates, cluster.registered, limit=limit)
    return tuple(_moved(by_name, move, why=f"to join those on {move.target}") for move in moves)


def _moved(by_name: Mapping[str, IpClaim], move: Move, *, why: str) -> AssignClaim:
    return AssignClaim(claim=by_name[move.claim], node=move.target, why=why)


def _following(by_name: Mapping[str, IpClaim], move: Move, twins: Duplicates) -> AssignClaim:
    leader = twins.follows[move.claim]
    return _moved(by_name, move, why=f"claim {leader} held the same IP")


def _needs(claims: Iterable[IpClaim], cluster: Cluster) -> dict[str, Needs]:
    """Return the needs of claims that placement decides about, by name.

    Left out are those that cannot be read, and those that a person pinned to a node.
    """
    return {
        claim.metadata.name: needs
        for claim in claims
        if not is_pinned(claim) and (needs := needs_of(claim, cluster)) is not None
    }


def _candidates(
    eligible: Mapping[str, frozenset[str]], holders: Mapping[str, str], twins: Duplicates
) -> list[Candidate]:
    """Return what placement decides about: not those that follow another claim of their IP."""
    return [
        Candidate(claim=name, node=holders[name], eligible=nodes)
        for name, nodes in eligible.items()
        if name not in twins.follows
    ]


def _absent(claims: Iterable[IpClaim], cluster: Cluster) -> frozenset[str]:
    known = {node.name for node in cluster.nodes if node.alive}.union(
        cluster.registered, cluster.unknown
    )
    return frozenset({c.spec.node_name for c in claims if c.spec.node_name} - known)


def _fixed(
    by_name: Mapping[str, IpClaim],
    eligible: Mapping[str, frozenset[str]],
    twins: Duplicates,
    strategy: Strategy,
) -> list[Candidate]:
    """Return the pinned claims: where loads are to be even, they count, though nothing moves them.

    Where all claims are to be together they do not: people pin to have some elsewhere.
    """
    if strategy is not Strategy.FAIR:
        return []
    pinned = (by_name[name] for name in by_name.keys() - eligible.keys() - twins.rivals.keys())
    return [
        Candidate(
            claim=claim.metadata.name,
            node=claim.spec.node_name,
            eligible=frozenset({claim.spec.node_name}),
        )
        for claim in pinned
        if is_pinned(claim) and parse_cidr(claim.spec.cidr) is not None
    ]


def _duplicates(
    groups: Iterable[Sequence[IpClaim]],
    eligible: Mapping[str, frozenset[str]],
    rules: Rules,
    cluster: Cluster,
) -> Duplicates:
    return find_duplicates(
        groups,
        eligible,
        serves=rules.serves,
        ifaces={node.name: node.link for node in cluster.nodes},
    )


def _parting(
    actions: Iterable[Action],
    index: ClaimIndex,
    twins: Duplicates,
    node_of: Callable[[str], str],
) -> dict[str, AssignClaim | None]:
    """Return claims that are to go, while another one of their IP stays, elsewhere: by name.

    A deletion may take long (`ClaimStore.delete`). So they go to the node of the one that stays
    first; or stay as they are, None, while that one has no node.
    """
    going = {a.claim.metadata.name: a.claim for a in actions if isinstance(a, Delete)}
    found: dict[str, AssignClaim | None] = {}
    for name, claim in going.items():
        interface = parse_cidr(claim.spec.cidr)
        stay = [
            other.metadata.name
            for other in (index.by_ip[interface.ip] if interface else ())
            if other.metadata.name not in going
        ]
        leader = next((n for n in stay if n not in twins.follows and n not in twins.rivals), "")
        if not leader or claim.spec.node_name in ("", node_of(leader)):
            continue
        target, why = node_of(leader), f"claim {leader} held the same IP"
        found[name] = AssignClaim(claim=claim, node=target, why=why) if target else None
    return found


def _not_served(
    by_name: Mapping[str, IpClaim],
    eligible: Mapping[str, frozenset[str]],
    placed: Mapping[str, Move],
    cluster: Cluster,
) -> dict[str, tuple[ServiceReference, ...]]:
    """Leave out what is on its way, and what waits for any node: that is said elsewhere."""
    if not cluster.local_endpoints:
        return {}
    settled = (
        claim
        for name, claim in by_name.items()
        if name not in placed and claim.spec.node_name in eligible.get(name, _NOBODY)
    )
    return not_served(settled, cluster)


def _mislabelled(claims: Iterable[IpClaim], placed: Mapping[str, Move]) -> list[Write]:
    """Return claims whose node cannot see them, for instance since a person set only nodeName."""
    return [
        AssignClaim(claim=claim, node=claim.spec.node_name, why="its label named another node")
        for claim in claims
        if claim.metadata.name not in placed and needs_label(claim)
    ]
