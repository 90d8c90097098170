"""A claim that left this node → whether its address is still needed here.

Make before break: while the new holder is not up, the old one goes on answering; both forward
correctly, so an overlap is harmless and a gap is not. A claim that is gone needs no handover.
"""

from enum import Enum

from extip.api.ipcontroller_v1 import ACCEPTED, UP, IpClaim
from extip.api.meta_v1 import Condition, parse_version
from extip.plan.conditions import find_condition
from extip.plan.duplicates import DUPLICATE

UNKNOWN_S = 0.5
"""How long an address stays while nobody knows what became of its claim: the watch that tells is
another one than the watch that told that it left, and they are not ordered."""


class Fate(Enum):
    """What became of a claim."""

    UNKNOWN = "unknown"
    GONE = "gone"
    """Deleted: nobody wants the IP."""
    MOVING = "moving"
    """Given to another node that does not have it up yet, or to nobody."""
    ARRIVED = "arrived"
    """Another node has it up, be it for another claim of the same IP."""


def fate(claim: IpClaim, *, node: str) -> Fate:
    """Return what became of a claim that left `node`, from what it says now.

    A holder counts only when it reported for the very assignment that the claim has: what an
    earlier one wrote may still stand there. A claim that went where another one holds its IP comes
    up no more: that one has it.
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
    """Return a condition if it is about the claim as it is, or of one who counts no versions."""
    found = find_condition(claim.status.conditions, kind)
    known = found is not None and found.observed_generation in (0, claim.metadata.generation)
    return found if known else None


def version_of(claim: IpClaim) -> int:
    """Return the claim's version, which grows with each change; 0 for none."""
    return parse_version(claim.metadata.resource_version)


def keep_until(state: Fate, *, left_at: float, timeout_s: float) -> float | None:
    """Return until when the address stays, in seconds on the clock of `left_at`; None: no longer.

    `timeout_s` bounds the wait for a new holder.
    """
    match state:
        case Fate.UNKNOWN:
            return left_at + min(UNKNOWN_S, timeout_s)
        case Fate.MOVING:
            return left_at + timeout_s
        case Fate.GONE | Fate.ARRIVED:
            return None
