"""May this IP come up here? Refuses what would hurt the node or its network.

Decides over what the node itself knows (its addresses, subnets and gateways), the addresses of
all cluster nodes, and the operator's allow-list. First match wins, so each refusal has one reason.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Network

from extip.plan.link import IPAddress, IPInterface, ObservedAddress

IPNetwork = IPv4Network | IPv6Network


class Reason(StrEnum):
    """Why an IP is not brought up; the value is the reason of Events and metrics."""

    MALFORMED = "MalformedAddress"
    UNSPECIFIED = "UnspecifiedAddress"
    LOOPBACK = "LoopbackAddress"
    MULTICAST = "MulticastAddress"
    LINK_LOCAL = "LinkLocalAddress"
    RESERVED = "ReservedAddress"
    NETWORK = "NetworkAddress"
    BROADCAST = "BroadcastAddress"
    GATEWAY = "GatewayAddress"
    LOCAL = "AddressInUseLocally"
    NODE = "NodeAddress"
    NOT_ALLOWED = "AddressNotAllowed"


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why an IP stays down, for a machine (`reason`) and for a person (`message`)."""

    reason: Reason
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What an external IP must not collide with."""

    foreign: frozenset[IPAddress] = frozenset()
    """Addresses on this node that somebody else put there."""
    subnets: frozenset[IPNetwork] = frozenset()
    """On-link subnets of those addresses."""
    gateways: frozenset[IPAddress] = frozenset()
    """Next hops of all routing tables of this node."""
    nodes: frozenset[IPAddress] = frozenset()
    """Addresses of all nodes of the cluster, from their Node objects."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Guard:
    """The operator's part of the rules; an empty `allowed` allows every IP that does no harm."""

    allowed: tuple[IPNetwork, ...] = field(default=())

    def refuse(self, candidate: IPInterface, around: Surroundings) -> Refusal | None:
        """Return why `candidate` must not come up, or None when it may."""
        return (
            _special(candidate.ip)
            or _edge_of_subnet(candidate, around.subnets)
            or _taken(candidate.ip, around)
            or self._outside(candidate.ip)
        )

    def _outside(self, ip: IPAddress) -> Refusal | None:
        if not self.allowed or any(ip in network for network in self.allowed):
            return None
        return Refusal(Reason.NOT_ALLOWED, f"{ip} is in none of the networks of --allow-cidr")


def surroundings(
    observed: Iterable[ObservedAddress],
    *,
    gateways: frozenset[IPAddress],
    nodes: frozenset[IPAddress],
    exempt_links: frozenset[int] = frozenset(),
) -> Surroundings:
    """Gather what a candidate must not collide with.

    `exempt_links` are indexes of interfaces whose addresses do not count as the node's own:
    kube-proxy in ipvs mode binds every external IP to `kube-ipvs0` of every node.
    """
    foreign = [a for a in observed if not a.ours and a.link_index not in exempt_links]
    return Surroundings(
        foreign=frozenset(a.interface.ip for a in foreign),
        subnets=frozenset(
            a.interface.network
            for a in foreign
            if a.interface.network.prefixlen < a.interface.max_prefixlen
        ),
        gateways=gateways,
        nodes=nodes,
    )


def _special(ip: IPAddress) -> Refusal | None:
    """Refuse what the address registries set apart (RFC 6890)."""
    for is_so, reason, what in (
        (ip.is_unspecified or _in_this_network(ip), Reason.UNSPECIFIED, "the unspecified address"),
        (ip.is_loopback, Reason.LOOPBACK, "a loopback address"),
        (ip.is_multicast, Reason.MULTICAST, "a multicast address"),
        (ip.is_link_local, Reason.LINK_LOCAL, "a link-local address"),
        (str(ip) == "255.255.255.255", Reason.BROADCAST, "the limited broadcast address"),
        (ip.is_reserved or _is_mapped(ip), Reason.RESERVED, "a reserved address"),
    ):
        if is_so:
            return Refusal(reason, f"{ip} is {what}")
    return None


def _in_this_network(ip: IPAddress) -> bool:
    """0.0.0.0/8, "this network" (RFC 1122 section 3.2.1.3)."""
    return ip.version == 4 and int(ip) >> 24 == 0  # noqa: PLR2004


def _is_mapped(ip: IPAddress) -> bool:
    return ip.version == 6 and ip.ipv4_mapped is not None  # noqa: PLR2004


def _edge_of_subnet(candidate: IPInterface, subnets: frozenset[IPNetwork]) -> Refusal | None:
    """Refuse the first address of a subnet, and the last one where it means broadcast.

    For IPv6 the first one is the subnet-router anycast address (RFC 4291 section 2.6.1). Subnets
    of two addresses have neither (RFC 3021, RFC 6164).
    """
    ip = candidate.ip
    for network in (candidate.network, *sorted(subnets, key=str)):
        if ip not in network or network.prefixlen >= network.max_prefixlen - 1:
            continue
        if ip == network.network_address:
            return Refusal(Reason.NETWORK, f"{ip} is the network address of {network}")
        if isinstance(ip, IPv4Address) and ip == network.broadcast_address:
            return Refusal(Reason.BROADCAST, f"{ip} is the broadcast address of {network}")
    return None


def _taken(ip: IPAddress, around: Surroundings) -> Refusal | None:
    if ip in around.nodes:
        return Refusal(Reason.NODE, f"{ip} is the address of a cluster node")
    if ip in around.gateways:
        return Refusal(Reason.GATEWAY, f"{ip} is a gateway in a routing table of this node")
    if ip in around.foreign:
        return Refusal(
            Reason.LOCAL, f"{ip} is on this node already, and extip did not put it there"
        )
    return None
