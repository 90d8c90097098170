"""The interfaces in the record of a node. Pure."""

from extip.api.ipcontroller_v1 import IpNode
from extip.api.node_link import NodeLink


def selected_links(node: IpNode) -> tuple[NodeLink, ...]:
    """Return the interfaces that its controller puts IPs on, the preferred ones first."""
    links = node.status.links or ()
    return tuple(link for link in links if link.takes) or links[:1]
