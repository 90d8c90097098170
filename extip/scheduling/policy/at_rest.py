"""Claims that are right and on a node that passes all filters: a plan changes nothing there. Pure.

Most claims are at rest when a scheduler begins to lead, or when a fact about their node changes.
The test is cautious: it may leave a claim at rest to a plan, which has the same outcome.
"""

from collections.abc import Sequence

from extip.api.ipcontroller_v1 import IpClaim
from extip.api.names import label_value
from extip.claims.policy.assignment import needs_label, standby_of
from extip.claims.policy.claims import pool_of
from extip.claims.policy.names import claim_name
from extip.claims.policy.ports import ports_text
from extip.net.interfaces import IPInterface
from extip.scheduling.policy.filters import Needs
from extip.scheduling.policy.snapshot import link_wish, needs_of
from extip.scheduling.policy.standing import Standing
from extip.scheduling.policy.withdrawal import is_unanswered
from extip.services.policy.requests import Owner


def is_at_rest(
    claim: IpClaim,
    interface: IPInterface,
    owners: Sequence[Owner],
    pool: str,
    standing: Standing,
) -> bool:
    """Whether the only claim of a wanted IP is as it should be, whatever other nodes do.

    `interface`, `owners` and `pool` are what is wanted. A claim of several services, or with a
    preference of nodes, is left to a plan.
    """
    node, services = claim.spec.node_name, claim.spec.services
    if node not in standing.filters.open_nodes:  # thousands of claims may leave a dead node
        return False
    if services is None or len(services) != 1 or len(owners) != 1 or not claim.managed:
        return False
    service, owner = services[0], owners[0]
    return (
        (service.name, service.namespace, service.uid) == (owner.name, owner.namespace, owner.uid)
        and claim.metadata.name == claim_name(interface)
        and pool_of(claim) == label_value(pool)
        and not ports_text(claim)
        and claim.spec.link == link_wish(owners, pool, standing.snapshot)
        and not needs_label(claim)
        and _is_well_placed(claim, standing)
    )


def _is_well_placed(claim: IpClaim, standing: Standing) -> bool:
    node, cluster = claim.spec.node_name, standing.snapshot
    if cluster.local_endpoints and not _is_served(claim, standing):
        return False
    needs = needs_of(claim, cluster)
    return (
        needs is not None
        and needs.preference is None
        and not needs.every_node
        and is_unanswered(claim, cluster) is claim.spec.withdrawn
        and not needs.group
        and standing.filters.is_plain(needs, node)
        and _has_right_standby(claim, needs, standing)
    )


def _has_right_standby(claim: IpClaim, needs: Needs, standing: Standing) -> bool:
    """Whether the standby may take the IP, whatever other nodes do. None is right, too."""
    standby, filters = standby_of(claim), standing.filters
    if not standby:
        return True
    taking = filters.standby(needs, claim.spec.node_name, standby)
    return taking == standby and filters.is_plain(needs, standby)


def _is_served(claim: IpClaim, standing: Standing) -> bool:
    """Whether each service with local traffic policy has an endpoint on the node of the claim."""
    known, node = standing.snapshot.local_endpoints, claim.spec.node_name
    return all(node in known.get(str(one), (node,)) for one in claim.spec.services or ())
