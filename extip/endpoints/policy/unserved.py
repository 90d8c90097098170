"""Services with ``externalTrafficPolicy: Local`` that have no endpoint on a node. Pure.

kube-proxy drops their traffic there.
"""

from collections.abc import Collection, Iterable, Mapping
from collections.abc import Set as AbstractSet

from extip.api.core_v1 import Node
from extip.net.interfaces import IPAddress, IPInterface
from extip.services.policy.requests import Owner


def own_node(nodes: Iterable[Node], own: AbstractSet[IPAddress], hostname: str) -> str:
    """Return the name of this machine's Node; empty when it is not certain.

    It is the Node that lists an address of this machine. When none or several do, it is the Node
    with its host name.
    """
    known = list(nodes)
    # Texts are compared, for speed: kubelets write addresses in one form, and nodes are many.
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
    among: Collection[IPInterface],
) -> dict[Owner, tuple[IPAddress, ...]]:
    """Return the services without a ready endpoint on the node, with their IPs `among` some.

    `endpoints` has the nodes of each service with local traffic policy, by ``namespace/name``.
    """
    absent = {name for name, nodes in endpoints.items() if node not in nodes}
    found: dict[Owner, tuple[IPAddress, ...]] = {}
    if not absent:
        return found
    for interface, owners in wanted.items():
        if interface in among:
            for owner in owners:
                if str(owner) in absent:
                    found[owner] = (*found.get(owner, ()), interface.ip)
    return found


def unserved(
    node: str,
    endpoints: Mapping[str, frozenset[str]],
    wanted: Mapping[IPInterface, Iterable[Owner]],
) -> frozenset[IPInterface]:
    """Return the IPs for which every service wants local traffic and has no endpoint there.

    `endpoints` is as above.
    """
    absent = {name for name, nodes in endpoints.items() if node not in nodes}
    if not absent:
        return frozenset()
    return frozenset(
        interface
        for interface, owners in wanted.items()
        if all(str(owner) in absent for owner in owners)
    )
