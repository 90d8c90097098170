"""Assign: wanted IPs, claims and nodes → the writes that put every wanted IP on a node.

The stages are those of kube-scheduler. *Filter* (`candidates`) finds the nodes that may hold a
claim. *Score* and *assign* (`placement`) choose one of them. This module makes the writes of it.

The creation of a claim and its first assignment are one write. Writes are in the order of urgency:
moves, new claims, labels, services of claims, deletions, withdrawals.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from extip.api.ipcontroller_v1 import IpClaim, ServiceReference
from extip.claims.policy.assignment import needs_label, standby_of
from extip.claims.policy.claims import (
    Action,
    ClaimIndex,
    Create,
    Delete,
    SetServices,
    index_claims,
    new_claim,
    parse_cidr,
    plan_claims,
)
from extip.claims.policy.same_ip import is_refused
from extip.net.interfaces import IPInterface
from extip.scheduling.policy.candidates import (
    Filtered,
    filter_claims,
    needs_by_name,
    pinned_load,
)
from extip.scheduling.policy.every_node import plan_every_node, shared_ips
from extip.scheduling.policy.filters import Needs
from extip.scheduling.policy.placement import Candidate, Move, Placement, Strategy, assign
from extip.scheduling.policy.schedule import AssignClaim, CreateClaim, Schedule, absent, joined
from extip.scheduling.policy.snapshot import Snapshot, link_wishes, needs_of_new, not_served
from extip.scheduling.policy.standing import Standing
from extip.scheduling.policy.withdrawal import with_withdrawals
from extip.services.policy.requests import Owner

_NOBODY: frozenset[str] = frozenset()
_NO_POOLS: Mapping[IPInterface, str] = MappingProxyType({})


def plan_schedule(
    wanted: Mapping[IPInterface, tuple[Owner, ...]],
    claims: Sequence[IpClaim],
    snapshot: Snapshot,
    strategy: Strategy,
    *,
    pools: Mapping[IPInterface, str] = _NO_POOLS,
) -> Schedule:
    """Plan for all claims at once. After the writes, another plan soon has none.

    All arguments must be complete: a managed claim of an IP that is not in `wanted` is deleted.
    `pools` has the pool that an IP was allocated from.
    """
    return plan_some(wanted, claims, Standing(snapshot, strategy), pools=pools)


def plan_some(
    wanted: Mapping[IPInterface, tuple[Owner, ...]],
    claims: Sequence[IpClaim],
    standing: Standing,
    *,
    pools: Mapping[IPInterface, str] = _NO_POOLS,
) -> Schedule:
    """Plan for some IPs, of which `wanted` and `claims` are all.

    `standing` has the loads of the claims of all other IPs, and afterwards also of these.
    """
    schedule = _plan_placement(wanted, claims, standing, pools)
    return with_withdrawals(schedule, claims, standing.snapshot)


def _plan_placement(
    wanted: Mapping[IPInterface, tuple[Owner, ...]],
    claims: Sequence[IpClaim],
    standing: Standing,
    pools: Mapping[IPInterface, str],
) -> Schedule:
    """Plan which claims there are, and where."""
    shared = shared_ips(wanted, claims, standing.snapshot, pools)
    if not shared:
        return _plan_one_node(wanted, claims, standing, pools)
    ips = {one.interface.ip for one in shared}
    others = [c for c in claims if (i := parse_cidr(c.spec.cidr)) is None or i.ip not in ips]
    rest = {interface: owners for interface, owners in wanted.items() if interface.ip not in ips}
    return joined(
        _plan_one_node(rest, others, standing, pools),
        plan_every_node(shared, standing, taken={claim.metadata.name for claim in others}),
    )


def _plan_one_node(
    wanted: Mapping[IPInterface, tuple[Owner, ...]],
    claims: Sequence[IpClaim],
    standing: Standing,
    pools: Mapping[IPInterface, str],
) -> Schedule:
    """Plan for IPs that are to be on one node each."""
    snapshot = standing.snapshot
    changes = _changes(wanted, claims, pools, snapshot)
    needs = _needs(changes, snapshot)
    filtered = filter_claims(needs, _holders(changes, snapshot), changes.groups(), standing)
    candidates = filtered.candidates(_standbys(changes))
    fixed = pinned_load(changes.staying, filtered, standing.strategy)
    placed = _place([*candidates, *fixed], changes, filtered, standing)
    refused = placed.refused()
    standbys = {
        candidate.claim: filtered.filters.standby(
            needs[candidate.claim], candidate.node, candidate.standby
        )
        for candidate in candidates
        if candidate.claim in changes.staying and placed.stays(candidate)
    }
    return Schedule(
        writes=(
            *_moves(changes, placed, needs),
            *_creations(changes, placed),
            *_labels(changes, placed, refused),
            *_service_changes(changes),
            *_deletions(changes, placed),
        ),
        waiting={
            candidate.claim: filtered.filters.filter_nodes(needs[candidate.claim]).explain()
            for candidate in candidates
            if not candidate.eligible
        },
        in_the_way=changes.in_the_way,
        refused=refused,
        not_served=_not_served(changes.staying, placed, snapshot),
        second_choice=placed.second_choices(),
        astray=placed.astray(candidates),
        groups={c.claim: c.apart.group for c in candidates if c.apart is not None},
        absent=absent(claims, snapshot),
        counted={c.claim: n for c in (*candidates, *fixed) if (n := placed.counted(c))},
        uneasy=frozenset(
            name
            for name in needs
            if placed.is_uneasy(name, needs[name], standby=standbys.get(name, ""))
        ),
        standbys=standbys,
        holders={name: filtered.holders[name] for name in needs},
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Changes:
    """The difference between wanted IPs and claims, before any claim has a node."""

    index: ClaimIndex
    actions: tuple[Action, ...]
    staying: Mapping[str, IpClaim]
    """Claims that are not deleted, by name."""
    creates: Mapping[str, Create]
    """Claims to create, by name."""
    in_the_way: Mapping[str, IPInterface]

    def groups(self) -> list[list[IpClaim]]:
        """Return the claims that share an IP and stay."""
        return [
            [claim for claim in group if claim.metadata.name in self.staying]
            for group in self.index.values()
            if len(group) > 1
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Placed:
    """The node of each claim after this plan."""

    filtered: Filtered
    moves: Mapping[str, Move]
    """Claims that get another node, by name, in the order of urgency."""
    parting: Mapping[str, AssignClaim | None]
    """Claims that are to go while another one of their IP stays elsewhere: see `_parting`."""
    placement: Placement
    """The loads with this plan."""

    def node_of(self, name: str) -> str:
        """Return the node of a claim after the plan; empty for none."""
        move = self.moves.get(name)
        return self.filtered.holders[name] if move is None else move.target

    def counted(self, candidate: Candidate) -> str:
        """Return the node whose load counts the candidate after the plan; empty for none."""
        move = self.moves.get(candidate.claim)
        if move is not None:
            return move.target
        return candidate.node if candidate.node in candidate.eligible else ""

    def stays(self, candidate: Candidate) -> bool:
        """Whether the candidate has a node that may hold it, and stays there."""
        return candidate.claim not in self.moves and candidate.node in candidate.eligible

    def is_uneasy(self, name: str, needs: Needs, *, standby: str) -> bool:
        """Whether a change of any node may change the decision about a claim.

        A claim at rest, on a node that passes all filters and with such a standby, depends on
        those two only. A claim without a standby gets one in quiet times.
        """
        holder, filters = self.filtered.holders[name], self.filtered.filters
        better = filters.preferred.better
        return (
            name in self.moves
            or any(
                not filters.is_plain(needs, node) or better(node, needs.preference)
                for node in ([holder, standby] if standby else [holder])
            )
            or self.placement.spread.count(needs.group, holder) > 1
        )

    def second_choices(self) -> dict[str, str]:
        """Return which nodes claims prefer to their own before the plan, by the claim's name."""
        better, holders = self.filtered.filters.preferred.better, self.filtered.holders
        return {
            name: clause
            for name, need in self.filtered.needs.items()
            if need.preference is not None
            and holders[name]
            and not need.group  # its first choice may have another claim of the group
            and (clause := better(holders[name], need.preference))
        }

    def astray(self, candidates: Iterable[Candidate]) -> frozenset[str]:
        """Return the claims, by name, that stay on a node though another one is better."""
        fixed = self.filtered.groups.not_rebalanced | self.filtered.staying()
        return frozenset(
            one.claim
            for one in candidates
            if one.claim not in self.moves
            and one.claim not in fixed
            and self.placement.is_astray(one)
        )

    def refused(self) -> dict[str, str]:
        """Return why pinned claims are refused: another claim has their IP on another node."""
        return {
            name: f"claim {leader} holds the same IP"
            for name, leader in self.filtered.groups.conflicting.items()
            if self.node_of(leader) != self.filtered.holders[name]
        }


def _changes(
    wanted: Mapping[IPInterface, tuple[Owner, ...]],
    claims: Sequence[IpClaim],
    pools: Mapping[IPInterface, str],
    snapshot: Snapshot,
) -> _Changes:
    index = index_claims(claims)
    links = link_wishes(wanted, pools, snapshot)
    actions = plan_claims(wanted, index, pools, links)
    deleted = {a.claim.metadata.name for a in actions if isinstance(a, Delete)}
    staying = {c.metadata.name: c for c in claims if c.metadata.name not in deleted}
    creates = {a.name: a for a in actions if isinstance(a, Create)}
    return _Changes(
        index=index,
        actions=actions,
        staying=staying,
        in_the_way={n: creates.pop(n).interface for n in creates.keys() & staying.keys()},
        creates=creates,
    )


def _needs(changes: _Changes, snapshot: Snapshot) -> dict[str, Needs]:
    """Return the needs of each claim that gets a node, by name."""
    new = {
        name: needs_of_new(create, snapshot)
        for name, create in changes.creates.items()
        if not create.replaces
    }
    return new | needs_by_name(changes.staying.values(), snapshot)


def _holders(changes: _Changes, snapshot: Snapshot) -> dict[str, str]:
    """Return the node of each claim; for a new claim the node that has its IP up already."""
    up_on = snapshot.located
    new = {name: up_on.get(one.interface.ip, "") for name, one in changes.creates.items()}
    return new | {name: claim.spec.node_name for name, claim in changes.staying.items()}


def _standbys(changes: _Changes) -> dict[str, str]:
    return {name: node for name, claim in changes.staying.items() if (node := standby_of(claim))}


def _place(
    candidates: Sequence[Candidate], changes: _Changes, filtered: Filtered, standing: Standing
) -> _Placed:
    """Choose nodes; claims that follow another claim of their IP come after it."""
    moves = {move.claim: move for move in assign(candidates, standing.placement)}
    leading = _Placed(filtered=filtered, moves=moves, parting={}, placement=standing.placement)
    following = {
        name: Move(claim=name, source=filtered.holders[name], target=leading.node_of(leader))
        for name, leader in filtered.groups.followers.items()
        if leading.node_of(leader) != filtered.holders[name]
    }
    return replace(leading, moves=moves | following, parting=_parting(changes, leading))


def _parting(changes: _Changes, placed: _Placed) -> dict[str, AssignClaim | None]:
    """Return claims that are to go while another claim of their IP stays elsewhere, by name.

    A deletion may take long (`ClaimStore.delete`). So such a claim first goes to the node of the
    claim that stays. While that one has no node, it stays as it is (None).
    """
    groups = placed.filtered.groups
    going = {a.claim.metadata.name: a.claim for a in changes.actions if isinstance(a, Delete)}
    found: dict[str, AssignClaim | None] = {}
    for name, claim in going.items():
        interface = parse_cidr(claim.spec.cidr)
        of_its_ip = changes.index[interface.ip] if interface else ()
        stay = (other.metadata.name for other in of_its_ip if other.metadata.name not in going)
        leader = next((n for n in stay if not groups.is_led(n)), "")
        if not leader or claim.spec.node_name in ("", placed.node_of(leader)):
            continue
        target = placed.node_of(leader)
        found[name] = _following(claim, target, leader) if target else None
    return found


def _moves(changes: _Changes, placed: _Placed, needs: Mapping[str, Needs]) -> list[AssignClaim]:
    """Return the writes that give a claim another node: those that lead, follow, and go."""
    followers = placed.filtered.groups.followers
    existing = [move for name, move in placed.moves.items() if name in changes.staying]
    leading = [
        AssignClaim(
            claim=changes.staying[move.claim],
            node=move.target,
            why=placed.filtered.filters.why_not(move.source, needs[move.claim]),
        )
        for move in existing
        if move.claim not in followers
    ]
    following = [
        _following(changes.staying[move.claim], move.target, followers[move.claim])
        for move in existing
        if move.claim in followers
    ]
    return leading + following + [one for one in placed.parting.values() if one is not None]


def _following(claim: IpClaim, node: str, leader: str) -> AssignClaim:
    return AssignClaim(claim=claim, node=node, why=f"claim {leader} held the same IP")


def _creations(changes: _Changes, placed: _Placed) -> list[CreateClaim]:
    """Return the writes of new claims; with another prefix length an IP stays where it is."""
    return [
        CreateClaim(claim=new_claim(create, node=placed.node_of(create.replaces or name)))
        for name, create in changes.creates.items()
    ]


def _labels(changes: _Changes, placed: _Placed, refused: Mapping[str, str]) -> list[AssignClaim]:
    """Return the writes that mend the label of a claim, by which its node sees it.

    A person may have set only `nodeName`. A node sees a refused claim only after the refusal can be
    read in it.
    """
    return [
        AssignClaim(claim=claim, node=claim.spec.node_name, why="its label named another node")
        for name, claim in changes.staying.items()
        if (name not in refused or is_refused(claim))
        and name not in placed.moves
        and needs_label(claim)
    ]


def _service_changes(changes: _Changes) -> list[SetServices]:
    actions = (one for one in changes.actions if isinstance(one, SetServices))
    return [one for one in actions if one.claim.metadata.name in changes.staying]


def _deletions(changes: _Changes, placed: _Placed) -> list[Delete]:
    """Return the deletions of now: a claim that is parting goes to another node first."""
    actions = (one for one in changes.actions if isinstance(one, Delete))
    return [one for one in actions if one.claim.metadata.name not in placed.parting]


def _not_served(
    staying: Mapping[str, IpClaim], placed: _Placed, snapshot: Snapshot
) -> dict[str, tuple[ServiceReference, ...]]:
    """Return services without an endpoint where their claim is.

    A claim that is on its way, or that waits for a node, is reported elsewhere.
    """
    if not snapshot.local_endpoints:
        return {}
    eligible = placed.filtered.eligible
    at_rest = (
        claim
        for name, claim in staying.items()
        if name not in placed.moves and claim.spec.node_name in eligible.get(name, _NOBODY)
    )
    return not_served(at_rest, snapshot)
