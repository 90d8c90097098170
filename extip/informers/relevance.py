"""The parts of objects whose change triggers a pass; other parts change more often."""

from extip.api.conditions import find_condition
from extip.api.ipcontroller_v1 import ASSIGNED, IpClaim, IpNode
from extip.pools.policy.set_aside import taken


def relevant_parts_of_claim(claim: IpClaim) -> object:
    """Return the parts that a pass looks at; of the status only that another station has the IP."""
    meta = claim.metadata
    assigned = find_condition(claim.status.conditions, ASSIGNED)
    return meta.uid, meta.labels, meta.annotations, claim.spec, assigned, bool(taken(claim))


def relevant_parts_of_node(node: IpNode) -> object:
    """Return what a pass looks at: not how many claims it has, for one."""
    status = node.status
    return node.metadata.created, node.spec, status.links, status.held, status.refused
