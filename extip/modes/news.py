"""What of an object makes the scheduler decide anew: all else changes more often."""

from extip.api.ipcontroller_v1 import ASSIGNED, IpClaim, IpNode
from extip.plan.conditions import find_condition
from extip.plan.set_aside import taken


def what_is_decided(claim: IpClaim) -> object:
    """Return what a pass looks at; of what controllers report, only that the IP cannot be had."""
    meta = claim.metadata
    assigned = find_condition(claim.status.conditions, ASSIGNED)
    return meta.uid, meta.labels, meta.annotations, claim.spec, assigned, bool(taken(claim))


def what_decides_about(node: IpNode) -> object:
    """Return what a pass looks at: not how many claims it has, for one."""
    return node.metadata.created, node.spec, node.status.links, node.status.held
