"""Claims of the same IP → the one that leads; the others follow it, or stay down. Pure.

The scheduler makes one claim for an IP, but a person may make another, for instance with another
prefix length. Also, a claim exists for a while beside the one that it replaces. Placed separately,
two claims would bring the IP up on two nodes. So one of them leads: a claim whose node may hold it,
and of several the oldest. A claim that a person pinned to another node is not moved, but refused.

The choice of the leader depends on nothing that a following claim changes. So claims do not chase
each other.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum

from extip.api.conditions import find_condition
from extip.api.ipcontroller_v1 import ASSIGNED, IpClaim
from extip.claims.policy.claims import is_pinned, parse_cidr
from extip.net.interfaces import LOOPBACK

DUPLICATE = "DuplicateAddress"
"""Reason of conditions: another claim holds the same IP."""


class LeaderRank(IntEnum):
    """The fitness of a claim to lead, the best first."""

    IN_PLACE = 0
    """Its node may hold it."""
    PLACEABLE = 1
    """Another node may."""
    STUCK = 2
    """It has a node that may not hold it, and no other node may."""
    NOWHERE = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class SameIPGroups:
    """The roles of claims that share their IP with another claim, by name."""

    followers: Mapping[str, str] = field(default_factory=dict)
    """Claims that follow a leader to its node, with the name of the leader."""
    conflicting: Mapping[str, str] = field(default_factory=dict)
    """Pinned claims that do not lead, with the name of the leader. They are refused while the
    leader is on another node."""
    not_rebalanced: frozenset[str] = frozenset()
    """Leaders that rebalancing leaves alone. With a pinned follower a move would be undone again
    and again. And a managed claim has another one beside it only for a moment, while one of them is
    about to go."""

    def is_led(self, name: str) -> bool:
        """Whether another claim of the same IP leads this one."""
        return name in self.followers or name in self.conflicting


def seniority(created: str, name: str) -> tuple[str, str]:
    """Return the sort key of equal claims of one IP; the smallest holds the IP.

    `created` is RFC 3339 in UTC. Schedulers and controllers must use the same order.
    """
    return created, name


def is_refused(claim: IpClaim) -> bool:
    """Whether the scheduler has refused the claim: another claim has its IP on another node."""
    return bool(refusal(claim))


def refusal(claim: IpClaim) -> str:
    """Return the reason for which the claim must stay down on every node; empty for none.

    It also counts when the claim has changed since. Until the scheduler has looked at it, it is
    safer down than on two nodes.
    """
    told = find_condition(claim.status.conditions, ASSIGNED)
    if told is None or (told.status, told.reason) != ("False", DUPLICATE):
        return ""
    return told.message or "another claim holds the same IP"


def same_ip_groups(claims: Iterable[IpClaim]) -> list[list[IpClaim]]:
    """Return the claims that share their IP, one list for each such IP."""
    first: dict[tuple[int, int], IpClaim] = {}
    several: dict[tuple[int, int], list[IpClaim]] = {}
    for claim in claims:
        interface = parse_cidr(claim.spec.cidr)
        if interface is None:
            continue
        ip = interface.version, int(interface)  # hashes faster than an address
        known = first.setdefault(ip, claim)
        if known is not claim:
            several.setdefault(ip, [known]).append(claim)
    return list(several.values())


def group_by_ip(
    groups: Iterable[Sequence[IpClaim]],
    eligible: Mapping[str, frozenset[str]],
    *,
    serves: Callable[[IpClaim], bool],
    ifaces: Mapping[str, str],
) -> SameIPGroups:
    """Choose the leader of each group of claims of one IP.

    `eligible` has the nodes that may hold a claim; a pinned claim has no entry. `serves` tells
    whether the node of a pinned claim can have it up. `ifaces` has the interface of each node's
    controller.
    """
    followers: dict[str, str] = {}
    conflicting: dict[str, str] = {}
    not_rebalanced: set[str] = set()

    def rank(claim: IpClaim) -> tuple[LeaderRank, bool, tuple[str, str]]:
        meta = claim.metadata
        # A refused claim does not take the IP from its holder when the refused one's node is back.
        return (
            _leader_rank(claim, eligible.get(meta.name), serves),
            is_refused(claim),
            seniority(meta.created, meta.name),
        )

    for group in groups:
        claims = [claim for claim in group if not _is_shared(claim, ifaces)]
        if len(claims) <= 1:
            continue
        leader = min(claims, key=rank)
        name = leader.metadata.name
        others = {claim.metadata.name: claim for claim in claims if claim is not leader}
        pinned = [other for other, claim in others.items() if is_pinned(claim)]
        conflicting |= dict.fromkeys(pinned, name)
        if pinned or any(claim.managed for claim in claims):
            not_rebalanced.add(name)
        if rank(leader)[0] <= LeaderRank.PLACEABLE:
            # Otherwise each claim stays where it is: nothing moves when all nodes are dead.
            followers |= {other: name for other in others if other not in conflicting}
    return SameIPGroups(
        followers=followers, conflicting=conflicting, not_rebalanced=frozenset(not_rebalanced)
    )


def _leader_rank(
    claim: IpClaim, eligible: frozenset[str] | None, serves: Callable[[IpClaim], bool]
) -> LeaderRank:
    node = claim.spec.node_name
    if serves(claim) if eligible is None else node in eligible:
        return LeaderRank.IN_PLACE
    if eligible:
        return LeaderRank.PLACEABLE
    return LeaderRank.STUCK if node else LeaderRank.NOWHERE


def _is_shared(claim: IpClaim, ifaces: Mapping[str, str]) -> bool:
    """Whether the claim is pinned to a loopback interface, where several nodes may have an IP."""
    return is_pinned(claim) and (claim.spec.link or ifaces.get(claim.spec.node_name)) == LOOPBACK
