"""Claims of the same IP → which of them leads; the others go where it goes, or stay down.

Services cannot ask for an IP twice, people who write claims can: with another prefix length, for
one. And a claim that takes another one's place is there with it for a while. Placing each for
itself would bring the IP up on two nodes. So one leads: the claim that is on a node which may hold
it, the oldest of several. What a person pinned to another node than the leader's is not moved, but
refused.

Who leads depends on nothing that following changes, so that claims do not chase each other.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum

from extip.api.ipcontroller_v1 import ASSIGNED, IpClaim
from extip.plan.claims import is_pinned, parse_cidr
from extip.plan.conditions import find_condition

_LOOPBACK = "lo"

DUPLICATE = "DuplicateAddress"
"""Reason of conditions: another claim holds the same IP."""


class Standing(IntEnum):
    """How good a claim is at leading, the best first."""

    IN_PLACE = 0
    """Its node may hold it."""
    PLACEABLE = 1
    """Another node may."""
    STUCK = 2
    """It has a node that may not hold it, and no other may."""
    NOWHERE = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Duplicates:
    """Claims of IPs that have several, by name."""

    follows: Mapping[str, str] = field(default_factory=dict)
    """Claims that go where another one goes, which is on a node or gets one: the name of that."""
    rivals: Mapping[str, str] = field(default_factory=dict)
    """Pinned claims that do not lead: the name of the one that does. They are refused where that
    is on another node."""
    anchored: frozenset[str] = frozenset()
    """Claims that lead a pinned one: moved for the sake of balance, they would leave it behind, or
    be called back by it, again and again. And those that lead, or are, one that the scheduler made:
    it has several for one IP only while some of them are about to go."""


def seniority(created: str, name: str) -> tuple[str, str]:
    """Return what sorts claims of one IP that are equal otherwise; the smallest holds the IP.

    `created` is RFC 3339 in UTC. Schedulers and controllers must agree about this.
    """
    return created, name


def is_refused(claim: IpClaim) -> bool:
    """Whether the scheduler has told the claim that another one holds its IP on another node."""
    return bool(refusal(claim))


def refusal(claim: IpClaim) -> str:
    """Return why the claim must stay down wherever it is, for people; empty when it need not.

    Also counts when the claim was changed since: better down until the scheduler has looked at it
    than on two nodes.
    """
    told = find_condition(claim.status.conditions, ASSIGNED)
    if told is None or (told.status, told.reason) != ("False", DUPLICATE):
        return ""
    return told.message or "another claim holds the same IP"


def of_the_same_ip(claims: Iterable[IpClaim]) -> list[list[IpClaim]]:
    """Return claims that share their IP, together; all others are left out."""
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


def find_duplicates(
    groups: Iterable[Sequence[IpClaim]],
    eligible: Mapping[str, frozenset[str]],
    *,
    serves: Callable[[IpClaim], bool],
    ifaces: Mapping[str, str],
) -> Duplicates:
    """Choose who leads in each group of claims of one IP.

    `eligible` has the nodes that may hold a claim, of all that are not pinned. `serves`
    says whether the node of a pinned one can have it up. `ifaces` are the interfaces that the
    nodes' controllers were given.
    """
    follows: dict[str, str] = {}
    rivals: dict[str, str] = {}
    anchored: set[str] = set()

    def rank(claim: IpClaim) -> tuple[Standing, bool, tuple[str, str]]:
        meta = claim.metadata
        # Who was refused does not take the IP away from who has it, when its node is back.
        return (
            _standing(claim, eligible.get(meta.name), serves),
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
        rivals |= dict.fromkeys(pinned, name)
        if pinned or any(claim.managed for claim in claims):
            anchored.add(name)
        if rank(leader)[0] <= Standing.PLACEABLE:
            # Or else each stays where it is: nothing moves when all nodes are dead.
            follows |= {other: name for other in others if other not in rivals}
    return Duplicates(follows=follows, rivals=rivals, anchored=frozenset(anchored))


def _standing(
    claim: IpClaim, eligible: frozenset[str] | None, serves: Callable[[IpClaim], bool]
) -> Standing:
    node = claim.spec.node_name
    if serves(claim) if eligible is None else node in eligible:
        return Standing.IN_PLACE
    if eligible:
        return Standing.PLACEABLE
    return Standing.STUCK if node else Standing.NOWHERE


def _is_shared(claim: IpClaim, ifaces: Mapping[str, str]) -> bool:
    """Whether it is pinned to a loopback interface, where several nodes may have an IP."""
    return is_pinned(claim) and (claim.spec.link or ifaces.get(claim.spec.node_name)) == _LOOPBACK
