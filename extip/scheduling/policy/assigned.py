"""The schedule → the condition `Assigned` of a claim. Pure."""

from collections.abc import Sequence

from extip.api.conditions import find_condition
from extip.api.ipcontroller_v1 import ASSIGNED, IpClaim, ServiceReference
from extip.api.meta_v1 import Condition
from extip.claims.policy.claims import parse_cidr
from extip.claims.policy.history import Placed, history_in, to_node
from extip.claims.policy.same_ip import DUPLICATE
from extip.scheduling.policy.schedule import Schedule

_SHOWN = 3
"""The number of services that a message names."""


def assigned_condition(
    claim: IpClaim, schedule: Schedule, *, past: Placed | None
) -> Condition | None:
    """Return the condition that the claim should get; None when it has it already.

    `past` is the last decision of this process about the claim. Without one, the history that an
    earlier leader wrote stays.
    """
    name, node = claim.metadata.name, claim.spec.node_name
    known = find_condition(claim.status.conditions, ASSIGNED)
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
        better = schedule.second_choice.get(name)
        though = f", though {better}" if better else ""
        every = ", as to each node that may have it" if name in schedule.on_every_node else ""
        place = f"{to_node(node)}{though}{every}{_but(schedule.not_served.get(name, ()))}"
        why = history_in("" if known is None else known.message, node)
        if past is not None and past.node == node:
            why = past.text
        status, reason, message = "True", "Assigned", place + (f"; {why}" if why else "")
    else:
        return None
    if known is not None and (known.status, known.reason, known.message) == (
        status,
        reason,
        message,
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
