"""Claims → the drain blockers of a node: claims that keep it from being empty. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass

from extip.api.conditions import find_condition
from extip.api.ipcontroller_v1 import ACCEPTED, ASSIGNED, UP, IpClaim
from extip.api.meta_v1 import Condition
from extip.claims.policy.claims import is_pinned


@dataclass(frozen=True, slots=True, kw_only=True)
class DrainBlocker:
    """A claim that no other node has up."""

    name: str
    cidr: str
    why: str
    pinned: bool = False
    """A person chose the node: no scheduler moves it."""


def drain_blockers(node: str, claims: Iterable[IpClaim]) -> list[DrainBlocker]:
    """Return the claims of the node, and its former claims whose next holder is not up; in order.

    The node keeps a former claim for at most its ``--drain-timeout``. Only the next holder reports
    on it.
    """
    found = {claim.metadata.name: one for claim in claims if (one := _left(node, claim))}
    return sorted(found.values(), key=_cidr)


def held_before(node: str, claims: Iterable[IpClaim]) -> set[str]:
    """Return the names of claims whose last holder is the node; they may have another node now."""
    return {claim.metadata.name for claim in claims if claim.status.holder == node}


def _left(node: str, claim: IpClaim) -> DrainBlocker | None:
    name, cidr, target = claim.metadata.name, claim.spec.cidr, claim.spec.node_name
    if target != node:
        if claim.status.holder != node:
            return None
        if not target:
            return DrainBlocker(
                name=name, cidr=cidr, why=f"no node has it now: {_unassigned(claim)}"
            )
        why = _reported(claim) or "it has not reported yet"
        return DrainBlocker(
            name=name, cidr=cidr, why=f"given to {target}, which does not have it up: {why}"
        )
    if is_pinned(claim):
        why = "pinned by hand: its spec.nodeName names this node"
        return DrainBlocker(name=name, cidr=cidr, why=why, pinned=True)
    return DrainBlocker(name=name, cidr=cidr, why=_unassigned(claim))


def _unassigned(claim: IpClaim) -> str:
    """Return the reason for which no node takes the claim."""
    condition = find_condition(claim.status.conditions, ASSIGNED)
    if condition is not None and condition.status == "False":
        return condition.message
    return "no scheduler has moved it yet"


def _reported(claim: IpClaim) -> str:
    """Return the report of the next holder; empty before it reports a problem."""
    for kind in (ACCEPTED, UP):
        condition = find_condition(claim.status.conditions, kind)
        if condition is not None and condition.status == "False" and _is_of_now(condition, claim):
            return condition.message
    return ""


def _is_of_now(condition: Condition, claim: IpClaim) -> bool:
    return condition.observed_generation == claim.metadata.generation


def _cidr(one: DrainBlocker) -> str:
    return one.cidr
