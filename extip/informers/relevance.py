"""The parts of objects whose change triggers a pass; other parts change more often."""

from collections.abc import Container

from extip.api.conditions import find_condition
from extip.api.ipcontroller_v1 import ASSIGNED, IpClaim, IpNode
from extip.claims.policy.claims import pool_of
from extip.pools.policy.set_aside import taken


def relevant_parts_of_claim(claim: IpClaim, every_node: Container[str] = ()) -> object:
    """Return the parts that a pass looks at.

    Of the status these are the condition `Assigned`, and whether another station has the IP. Where
    each node has a claim of the IP, it also matters whether this one is up. `every_node` are the
    pools of such IPs, by the `label_value` of their names.
    """
    meta = claim.metadata
    assigned = find_condition(claim.status.conditions, ASSIGNED)
    up = pool_of(claim) in every_node and bool(claim.status.holder)
    return meta.uid, meta.labels, meta.annotations, claim.spec, assigned, bool(taken(claim)), up


def relevant_parts_of_node(node: IpNode) -> object:
    """Return the parts that a pass looks at; the number of its claims is none of them."""
    status = node.status
    dead = bool(status.failed_over)
    return node.metadata.created, node.spec, status.links, status.held, status.refused, dead
