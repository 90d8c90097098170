"""Claims → what keeps a node from being empty, for the person who drains it."""

from collections.abc import Iterable
from dataclasses import dataclass

from extip.api.ipcontroller_v1 import ACCEPTED, ASSIGNED, UP, IpClaim
from extip.api.meta_v1 import Condition
from extip.plan.claims import is_pinned
from extip.plan.conditions import find_condition


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """A claim that no other node has up."""

    name: str
    cidr: str
    why: str
    pinned: bool = False
    """A person chose the node: no scheduler will move it."""


def left(node: str, claims: Iterable[IpClaim]) -> list[Left]:
    """Return the claims that the node has, or had until their next holder is up; in order.

    The latter it need not have any more: it keeps them for its ``--drain-timeout`` alone, and only
    their next holder reports on them.
    """
    found = {claim.metadata.name: one for claim in claims if (one := _left(node, claim))}
    return sorted(found.values(), key=_cidr)


def held_before(node: str, claims: Iterable[IpClaim]) -> set[str]:
    """Return the names of claims whose last holder the node is, wherever they were given since."""
    return {claim.metadata.name for claim in claims if claim.status.holder == node}


def _left(node: str, claim: IpClaim) -> Left | None:
    name, cidr, target = claim.metadata.name, claim.spec.cidr, claim.spec.node_name
    if target != node:
        if claim.status.holder != node:
            return None
        if not target:
            return Left(name=name, cidr=cidr, why=f"no node has it now: {_unassigned(claim)}")
        why = _reported(claim) or "it has not reported yet"
        return Left(
            name=name, cidr=cidr, why=f"given to {target}, which does not have it up: {why}"
        )
    if is_pinned(claim):
        why = "pinned by hand: its spec.nodeName names this node"
        return Left(name=name, cidr=cidr, why=why, pinned=True)
    return Left(name=name, cidr=cidr, why=_unassigned(claim))


def _unassigned(claim: IpClaim) -> str:
    """Return why no node takes it."""
    condition = find_condition(claim.status.conditions, ASSIGNED)
    if condition is not None and condition.status == "False":
        return condition.message
    return "no scheduler has moved it yet"


def _reported(claim: IpClaim) -> str:
    """Return what the next holder says of it; empty when it has said nothing yet."""
    for kind in (ACCEPTED, UP):
        condition = find_condition(claim.status.conditions, kind)
        if condition is not None and condition.status == "False" and _is_of_now(condition, claim):
            return condition.message
    return ""


def _is_of_now(condition: Condition, claim: IpClaim) -> bool:
    return condition.observed_generation == claim.metadata.generation


def _cidr(one: Left) -> str:
    return one.cidr
