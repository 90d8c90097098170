"""What was decided about a claim → its condition `Assigned`."""

from collections.abc import Sequence

from extip.api.ipcontroller_v1 import ASSIGNED, IpClaim, ServiceReference
from extip.api.meta_v1 import Condition
from extip.plan.claims import parse_cidr
from extip.plan.conditions import find_condition
from extip.plan.duplicates import DUPLICATE
from extip.plan.schedule import Schedule

_SHOWN = 3
"""Services that are named."""


def assigned_condition(claim: IpClaim, schedule: Schedule, *, why: str) -> Condition | None:
    """Return the condition that the claim should have and has not.

    `why` it is on its node, as far as this process knows; empty when another decided that.
    """
    name, node = claim.metadata.name, claim.spec.node_name
    if parse_cidr(claim.spec.cidr) is None:
        status, reason = "False", "Malformed"
        message = f"{claim.spec.cidr!r} is no IP address with a prefix length; create another claim"
    elif refused := schedule.refused.get(name):
        status, reason, message = "False", DUPLICATE, refused
    elif waiting := schedule.waiting.get(name):
        status, reason, message = "False", "NoEligibleNode", waiting
    elif node in schedule.absent:
        status, reason = "False", "NoController"
        message = f"there is no controller on a node of the name {node}"
    elif node:
        place = f"to {node}{_but(schedule.not_served.get(name, ()))}"
        status, reason, message = "True", "Assigned", place + (f"; {why}" if why else "")
    else:
        return None
    known = find_condition(claim.status.conditions, ASSIGNED)
    if (
        known is not None
        and (known.status, known.reason) == (status, reason)
        # A new leader does not know why; what the last one wrote stays.
        and (known.message == message or known.message.startswith(f"{message}; "))
    ):
        return None
    return Condition(
        type=ASSIGNED,
        status=status,
        reason=reason,
        message=message,
        observed_generation=claim.metadata.generation,
    )


def _but(services: Sequence[ServiceReference]) -> str:
    names = ", ".join(str(service) for service in services[:_SHOWN])
    more = len(services) - _SHOWN
    if not names:
        return ""
    return f", which has no ready endpoint of {names}{f' and {more} more' if more > 0 else ''}"
