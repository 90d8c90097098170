"""A claim that left this node → whether its address is still needed here.

Make before break: while the new holder does not have the IP up, the old one goes on answering. Both
forward correctly, so an overlap is harmless and a gap is not. A claim that was deleted needs no
handover.
"""

from enum import Enum

from extip.api.conditions import find_condition
from extip.api.ipcontroller_v1 import ACCEPTED, UP, IpClaim
from extip.api.meta_v1 import Condition, parse_version
from extip.claims.policy.same_ip import DUPLICATE

UNKNOWN_S = 0.5
"""Seconds that an address stays while the fate of its claim is unknown. Two watches report the two
halves of a move, in any order."""


class Fate(Enum):
    """The state of a claim that left."""

    UNKNOWN = "unknown"
    GONE = "gone"
    """Deleted: no service wants the IP."""
    MOVING = "moving"
    """Assigned to another node that does not have it up yet, or to none."""
    ARRIVED = "arrived"
    """Another node has it up, perhaps for another claim of the same IP."""


def fate(claim: IpClaim, *, node: str) -> Fate:
    """Return the fate of a claim that left `node`, from its present state.

    A holder counts only when it reported for the present assignment: the report of an earlier
    holder may still stand. A claim may also have gone to a node that refuses it, since another
    claim's holder has the IP. Then that holder has it, and the claim has arrived.
    """
    status, assigned = claim.status, claim.spec.node_name
    if assigned in ("", node):
        return Fate.MOVING
    up = _of_now(claim, UP)
    if status.holder == assigned and up is not None and up.status == "True":
        return Fate.ARRIVED
    accepted = _of_now(claim, ACCEPTED)
    if accepted is not None and (accepted.status, accepted.reason) == ("False", DUPLICATE):
        return Fate.ARRIVED
    return Fate.MOVING


def _of_now(claim: IpClaim, kind: str) -> Condition | None:
    """Return a condition if it is about the present generation, or counts no generations."""
    found = find_condition(claim.status.conditions, kind)
    known = found is not None and found.observed_generation in (0, claim.metadata.generation)
    return found if known else None


def version_of(claim: IpClaim) -> int:
    """Return the claim's resourceVersion, which grows with each change; 0 for none."""
    return parse_version(claim.metadata.resource_version)


def keep_until(state: Fate, *, left_at: float, timeout_s: float) -> float | None:
    """Return until when the address stays, on the clock of `left_at`; None: it goes now.

    `timeout_s` bounds the wait for a new holder.
    """
    match state:
        case Fate.UNKNOWN:
            return left_at + min(UNKNOWN_S, timeout_s)
        case Fate.MOVING:
            return left_at + timeout_s
        case Fate.GONE | Fate.ARRIVED:
            return None
