"""Services with ``externalTrafficPolicy: Local`` whose IPs are up where none of their endpoints is.

kube-proxy drops what comes in for them there.
"""

from collections.abc import Collection, Iterable, Mapping
from collections.abc import Set as AbstractSet

from extip.api.core_v1 import Node
from extip.plan.link import IPAddress, IPInterface
from extip.plan.requests import Owner


def own_node(nodes: Iterable[Node], own: AbstractSet[IPAddress], hostname: str) -> str:
    """Return the name of the Node that this machine is; empty when that is not clear.

    It is the one that lists an address of this machine. Where none does, or several do, the one
    that has its name.
    """
    known = list(nodes)
    # As texts, which kubelets write in one way: each pass looks, and nodes may be thousands.
    texts = {str(ip) for ip in own}
    listing = [
        node.metadata.name
        for node in known
        if any(a.address in texts for a in node.status.addresses or ())
    ]
    if len(listing) == 1:
        return listing[0]
    return hostname if hostname in (node.metadata.name for node in known) else ""


def without_endpoint(
    node: str,
    endpoints: Mapping[str, frozenset[str]],
    wanted: Mapping[IPInterface, Iterable[Owner]],
    up: Collection[IPInterface],
) -> dict[Owner, tuple[IPAddress, ...]]:
    """Return the services that have no ready endpoint on the node, with their IPs that are up.

    `endpoints` has the nodes of each service with local traffic alone, by ``namespace/name``.
    """
    absent = {name for name, nodes in endpoints.items() if node not in nodes}
    found: dict[Owner, tuple[IPAddress, ...]] = {}
    if not absent:
        return found
    for interface, owners in wanted.items():
        if interface in up:
            for owner in owners:
                if str(owner) in absent:
                    found[owner] = (*found.get(owner, ()), interface.ip)
    return found
