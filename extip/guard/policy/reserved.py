"""Reserved: the addresses that the cluster uses. No service may have one as external IP. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from ipaddress import ip_interface, ip_network

from extip.api.core_v1 import Node
from extip.api.ipcontroller_v1 import IpNode
from extip.net.interfaces import IPVS_LINK, IPAddress
from extip.net.networks import IPNetwork, Networks
from extip.services.policy.requests import parse_ip


@dataclass(frozen=True, slots=True, kw_only=True)
class Reserved:
    """Addresses and networks of the cluster, from the API server."""

    nodes: frozenset[IPAddress] = frozenset()
    """Addresses of all nodes, from Node objects and from the reports of controllers."""
    listed: frozenset[IPAddress] = frozenset()
    """The part of `nodes` that only Node objects have. A kubelet lists the addresses that it finds
    on an interface. That may be an external IP, until somebody corrects it."""
    gateways: frozenset[IPAddress] = frozenset()
    """Next hops in the routing tables of nodes with a controller."""
    api_servers: frozenset[IPAddress] = frozenset()
    """The addresses at which this process, and pods, reach the API server."""
    cluster_ips: frozenset[IPAddress] = frozenset()
    """Cluster IPs of services; at least those that are requested, or that a pool could give."""
    pod_ips: frozenset[IPAddress] = frozenset()
    """IPs of pods, where Nodes have no pod networks; only those that are requested."""
    pods: Networks = field(default_factory=Networks)
    """Pod networks of nodes."""
    services: Networks = field(default_factory=Networks)
    """Networks of cluster IPs, from servers that tell them."""
    in_between: Networks = field(default_factory=Networks)
    """The certain part of those networks, with other servers. It grows with the cluster IPs."""

    def hearsay(self) -> frozenset[IPAddress]:
        """Return addresses that may be external IPs which a kubelet found on an interface.

        The kubelet lists such an IP in its Node; a pod on the host's network then has it, too.
        """
        return self.listed | self.pod_ips

    def differing(self, other: "Reserved") -> frozenset[IPAddress] | None:
        """Return the addresses that another value tells otherwise of; None when networks differ."""
        if (self.pods, self.services, self.in_between) != (
            other.pods,
            other.services,
            other.in_between,
        ):
            return None
        pairs = (
            (self.nodes, other.nodes),
            (self.listed, other.listed),
            (self.gateways, other.gateways),
            (self.api_servers, other.api_servers),
            (self.cluster_ips, other.cluster_ips),
            (self.pod_ips, other.pod_ips),
        )
        return frozenset[IPAddress]().union(*(new ^ old for new, old in pairs if new is not old))

    def single(self) -> frozenset[IPAddress]:
        """Return the single addresses, without networks."""
        return self.nodes | self.gateways | self.api_servers | self.cluster_ips


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeNetwork:
    """The addresses and networks of one node."""

    ips: frozenset[IPAddress] = frozenset()
    gateways: frozenset[IPAddress] = frozenset()
    pods: frozenset[IPNetwork] = frozenset()


def network_of(node: Node) -> NodeNetwork | None:
    """Return the addresses of a Node object; None when it has none. Host names do not count."""
    found = NodeNetwork(
        ips=parse_ips(address.address for address in node.status.addresses or ()),
        pods=parse_networks(node.spec.pod_cidrs or ()),
    )
    return found if found.ips or found.pods else None


def reported_network(node: IpNode) -> NodeNetwork | None:
    """Return the addresses in a controller's report; None when it has none."""
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
    """Combine the addresses of all nodes."""
    known = tuple(parts)
    return NodeNetwork(
        ips=frozenset().union(*(part.ips for part in known)),
        gateways=frozenset().union(*(part.gateways for part in known)),
        pods=frozenset().union(*(part.pods for part in known)),
    )


def parse_ips(texts: Iterable[str]) -> frozenset[IPAddress]:
    """Return the addresses that texts write, without malformed ones."""
    found = (parse_ip(text) for text in texts)
    return frozenset(ip for ip in found if ip is not None)


def parse_networks(texts: Iterable[str]) -> frozenset[IPNetwork]:
    """Return the networks that texts write in CIDR form, without malformed ones.

    A network of all addresses is left out: it would refuse every IP.
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
