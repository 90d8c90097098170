"""What the cluster itself uses: no service may have any of it as an external IP. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from ipaddress import ip_interface, ip_network

from extip.api.core_v1 import Node
from extip.api.ipcontroller_v1 import IpNode
from extip.plan.link import IPAddress
from extip.plan.networks import IPNetwork, Networks
from extip.plan.requests import parse_ip

IPVS_LINK = "kube-ipvs0"
"""kube-proxy in ipvs mode binds every external IP here, on every node; that is not a conflict."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reserved:
    """Addresses and networks of the cluster, from the API server."""

    nodes: frozenset[IPAddress] = frozenset()
    """Of all nodes: of their Node objects, and of the interfaces that controllers report."""
    listed: frozenset[IPAddress] = frozenset()
    """Those of them that only Node objects have. A kubelet lists what it finds on an interface: if
    an external IP was up there, that one, and for as long as nobody corrects it."""
    gateways: frozenset[IPAddress] = frozenset()
    """Next hops in the routing tables of nodes with a controller."""
    api_servers: frozenset[IPAddress] = frozenset()
    """Where this process, and where pods, reach the API server."""
    cluster_ips: frozenset[IPAddress] = frozenset()
    """Cluster IPs of services; at least those that somebody wants as an external IP."""
    pod_ips: frozenset[IPAddress] = frozenset()
    """Of pods, where Nodes have no pod networks; only those that somebody wants."""
    pods: Networks = field(default_factory=Networks)
    """Networks that nodes give addresses of to pods."""
    services: Networks = field(default_factory=Networks)
    """Networks of cluster IPs, where the server tells them."""
    in_between: Networks = field(default_factory=Networks)
    """Where it does not, the part of them that is certain: it grows as cluster IPs are given."""

    def hearsay(self) -> frozenset[IPAddress]:
        """Return what may be an external IP that somebody found on an interface.

        A kubelet lists it; a pod on the host's network then has it.
        """
        return self.listed | self.pod_ips

    def single(self) -> frozenset[IPAddress]:
        """Return all addresses in it that are not there as part of a network."""
        return self.nodes | self.gateways | self.api_servers | self.cluster_ips


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeNetwork:
    """What one node uses."""

    ips: frozenset[IPAddress] = frozenset()
    gateways: frozenset[IPAddress] = frozenset()
    pods: frozenset[IPNetwork] = frozenset()


def network_of(node: Node) -> NodeNetwork | None:
    """Return what a Node object says; None when that is nothing. Its names do not matter here."""
    found = NodeNetwork(
        ips=parse_ips(address.address for address in node.status.addresses or ()),
        pods=parse_networks(node.spec.pod_cidrs or ()),
    )
    return found if found.ips or found.pods else None


def reported_network(node: IpNode) -> NodeNetwork | None:
    """Return what a controller reports of its node's interfaces and routes; None for nothing."""
    found = NodeNetwork(
        ips=frozenset(
            ip
            for link in node.status.links or ()
            if link.name != IPVS_LINK
            for text in link.addresses or ()
            if (ip := _interface_ip(text)) is not None
        ),
        gateways=parse_ips(node.status.gateways or ()),
    )
    return found if found.ips or found.gateways else None


def unite(parts: Iterable[NodeNetwork]) -> NodeNetwork:
    """Bring together what all nodes use."""
    known = tuple(parts)
    return NodeNetwork(
        ips=frozenset().union(*(part.ips for part in known)),
        gateways=frozenset().union(*(part.gateways for part in known)),
        pods=frozenset().union(*(part.pods for part in known)),
    )


def parse_ips(texts: Iterable[str]) -> frozenset[IPAddress]:
    """Return the addresses that texts write; what is none is left out."""
    found = (parse_ip(text) for text in texts)
    return frozenset(ip for ip in found if ip is not None)


def parse_networks(texts: Iterable[str]) -> frozenset[IPNetwork]:
    """Return the networks that texts write in CIDR form; what is none is left out.

    A network of all addresses is none: it would refuse everything.
    """
    found = (_network(text) for text in texts)
    return frozenset(network for network in found if network is not None and network.prefixlen)


def _network(text: str) -> IPNetwork | None:
    try:
        return ip_network(text, strict=False)
    except ValueError:
        return None


def _interface_ip(text: str) -> IPAddress | None:
    try:
        return parse_ip(str(ip_interface(text).ip))
    except ValueError:
        return None
