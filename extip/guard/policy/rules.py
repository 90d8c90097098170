"""The guard: refuses IPs that would hurt the node, the cluster or the network. Pure.

It looks at the facts of the node (addresses, subnets, gateways), at addresses that the cluster
uses, and at the operator's allow-list. The first rule that matches gives the reason of a refusal.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from ipaddress import IPv4Network, ip_interface, ip_network
from types import MappingProxyType
from typing import NamedTuple, Self

from extip.guard.policy.reserved import Reserved
from extip.net.interfaces import IPAddress, IPInterface, ObservedAddress, prefix_length
from extip.net.networks import IPNetwork, Networks
from extip.printable import printable
from extip.services.policy.refusal import Reason, Refusal

__all__ = ["Guard", "IPNetwork", "Reason", "Refusal", "Surroundings", "Verdicts", "surroundings"]


_NO_STATIONS: Mapping[IPAddress, str] = MappingProxyType({})

_REMEMBERED = 100_000
"""The number of verdicts that are kept."""


class _Prefix(NamedTuple):
    """A network as integers: a match takes a tenth of the time of `ipaddress`."""

    version: int
    mask: int
    base: int

    @classmethod
    def of(cls, network: IPNetwork) -> Self:
        """Return the prefix of a network."""
        return cls(network.version, int(network.netmask), int(network.network_address))


def _registry(
    entries: Iterable[tuple[str, Reason, str]],
) -> tuple[tuple[_Prefix, Reason, str], ...]:
    return tuple((_Prefix.of(ip_network(text)), reason, what) for text, reason, what in entries)


_RESERVED_V6 = (
    "::/8 100::/8 200::/7 400::/6 800::/5 1000::/4 4000::/3 6000::/3 8000::/3 a000::/3 c000::/3 "
    "e000::/4 f000::/5 f800::/6 fe00::/9"
)
_SPECIAL = {
    4: _registry(
        (
            ("0.0.0.0/8", Reason.UNSPECIFIED, "the unspecified address"),  # and RFC 1122, 3.2.1.3
            ("127.0.0.0/8", Reason.LOOPBACK, "a loopback address"),
            ("224.0.0.0/4", Reason.MULTICAST, "a multicast address"),
            ("169.254.0.0/16", Reason.LINK_LOCAL, "a link-local address"),
            ("255.255.255.255/32", Reason.BROADCAST, "the limited broadcast address"),
            ("240.0.0.0/4", Reason.RESERVED, "a reserved address"),
        )
    ),
    6: _registry(
        (
            ("::/128", Reason.UNSPECIFIED, "the unspecified address"),
            ("::1/128", Reason.LOOPBACK, "a loopback address"),
            ("ff00::/8", Reason.MULTICAST, "a multicast address"),
            ("fe80::/10", Reason.LINK_LOCAL, "a link-local address"),
            *((text, Reason.RESERVED, "a reserved address") for text in _RESERVED_V6.split()),
        )
    ),
}
"""Networks that the address registries set apart, the most particular first."""


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """The addresses and networks that an external IP must not collide with."""

    foreign: frozenset[IPAddress] = frozenset()
    """Addresses on this node that extip did not add, and their peers."""
    subnets: frozenset[IPNetwork] = frozenset()
    """On-link subnets of those addresses."""
    gateways: frozenset[IPAddress] = frozenset()
    """Next hops of all routing tables of this node."""
    stations: Mapping[IPAddress, str] = field(default_factory=dict)
    """Single stations behind other interfaces, each with the name of that, by this node's routes;
    at least those that somebody wants as an external IP."""
    reserved: Reserved = field(default_factory=Reserved)
    """Addresses and networks that the cluster uses."""
    kept: frozenset[IPAddress] = frozenset()
    """External IPs that were up before a Node or a pod listed them."""

    @cached_property
    def edges(self) -> Mapping[IPAddress, Refusal]:
        """The network and broadcast addresses of the subnets, each with its refusal."""
        found: dict[IPAddress, Refusal] = {}
        for network in sorted(self.subnets, key=str):
            for ip in (network.network_address, network.broadcast_address):
                refusal = _edge(ip, network)
                if refusal is not None:
                    found.setdefault(ip, refusal)
        return found


@dataclass(frozen=True, kw_only=True)
class Guard:
    """The rules with the operator's allow-list. An empty list allows every IP that does no harm."""

    allowed: tuple[IPNetwork, ...] = field(default=())

    def refuse(self, candidate: IPInterface, around: Surroundings) -> Refusal | None:
        """Return why `candidate` must not come up, or None when it may."""
        ip = candidate.ip
        return (
            _special(ip)
            or (_edge(ip, candidate.network) if _is_at_an_end(candidate) else None)
            or around.edges.get(ip)
            or _taken(ip, around)
            or self._outside(ip)
        )

    def doubt(self, candidate: IPInterface, around: Surroundings) -> Refusal | None:
        """Return the warning about a candidate that is not refused; None for no warning."""
        ip = candidate.ip
        if ip not in around.kept or self.refuse(candidate, around) is not None:
            return None
        whose = "a Node object" if ip in around.reserved.listed else "a pod"
        return Refusal(
            Reason.LISTED,
            f"{ip} is among the addresses of {whose}; it stays up, since it was up before as an "
            "external IP",
        )

    @cached_property
    def _allowed(self) -> Networks:
        return Networks(frozenset(self.allowed))

    def _outside(self, ip: IPAddress) -> Refusal | None:
        if not self.allowed or ip in self._allowed:
            return None
        return Refusal(
            Reason.NOT_ALLOWED, f"{ip} is in none of the networks of --allow-cidr and --allow"
        )


class Verdicts:
    """The verdicts of a guard in certain surroundings; each candidate is judged once."""

    def __init__(self, guard: Guard, around: Surroundings) -> None:
        self._guard = guard
        self._around = around
        self._known: dict[IPInterface, Refusal | None] = {}

    @property
    def around(self) -> Surroundings:
        """The surroundings of these verdicts."""
        return self._around

    def within(self, around: Surroundings) -> "Verdicts":
        """Return the verdicts for other surroundings; `self` when they are the same."""
        return self if around == self._around else Verdicts(self._guard, around)

    def refuse(self, candidate: IPInterface) -> Refusal | None:
        """Return why `candidate` must not come up, or None when it may."""
        if candidate in self._known:
            return self._known[candidate]
        if len(self._known) >= _REMEMBERED:
            self._known.clear()  # most of them are of candidates that are gone
        verdict = self._known[candidate] = self._guard.refuse(candidate, self._around)
        return verdict

    def doubts(self, candidates: Iterable[IPInterface]) -> dict[IPInterface, Refusal]:
        """Return the warnings about candidates that are not refused."""
        if not self._around.kept:
            return {}
        found = {one: self._guard.doubt(one, self._around) for one in candidates}
        return {one: doubt for one, doubt in found.items() if doubt is not None}


def surroundings(
    observed: Iterable[ObservedAddress],
    *,
    gateways: frozenset[IPAddress],
    reserved: Reserved,
    exempt_links: frozenset[int] = frozenset(),
    kept: frozenset[IPAddress] = frozenset(),
    stations: Mapping[IPAddress, str] = _NO_STATIONS,
) -> Surroundings:
    """Return the surroundings of a node.

    `exempt_links` are indexes of interfaces whose addresses do not count as the node's own:
    kube-proxy in ipvs mode binds every external IP to `kube-ipvs0` of every node. IPs in `kept`
    stay up although Nodes or pods list them.
    """
    foreign = [a for a in observed if not a.ours and a.link_index not in exempt_links]
    peers = [a.peer for a in foreign if a.peer is not None]
    networks = {_on_link(a) for a in foreign}
    return Surroundings(
        foreign=frozenset([a.interface.ip for a in foreign] + peers),
        subnets=frozenset(n for n in networks if n.prefixlen < n.max_prefixlen),
        gateways=gateways,
        stations=stations,
        reserved=reserved,
        kept=kept,
    )


def _on_link(address: ObservedAddress) -> IPNetwork:
    """Return the subnet of an address, or the subnet of its peer when it has one."""
    if address.peer is None:
        return address.interface.network
    return ip_interface((address.peer, address.interface.network.prefixlen)).network


def _special(ip: IPAddress) -> Refusal | None:
    """Refuse addresses that the registries set apart (RFC 6890)."""
    number = int(ip)
    for (_, mask, base), reason, what in _SPECIAL[ip.version]:
        if number & mask == base:
            return Refusal(reason, f"{ip} is {what}")
    return None


def _is_at_an_end(candidate: IPInterface) -> bool:
    """Whether it is the first or the last address of its subnet; for most no network is made."""
    host_bits = candidate.max_prefixlen - prefix_length(candidate)
    last = (1 << host_bits) - 1
    return host_bits > 1 and int(candidate.ip) & last in (0, last)


def _edge(ip: IPAddress, network: IPNetwork) -> Refusal | None:
    """Refuse the first address of a subnet, and the last one where it means broadcast.

    For IPv6 the first one is the subnet-router anycast address (RFC 4291 section 2.6.1). Subnets
    of two addresses have neither (RFC 3021, RFC 6164).
    """
    if network.prefixlen >= network.max_prefixlen - 1:
        return None
    if ip == network.network_address:
        return Refusal(Reason.NETWORK, f"{ip} is the network address of {network}")
    if isinstance(network, IPv4Network) and ip == network.broadcast_address:
        return Refusal(Reason.BROADCAST, f"{ip} is the broadcast address of {network}")
    return None


def _taken(ip: IPAddress, around: Surroundings) -> Refusal | None:
    """Refuse addresses that this node or the cluster uses, the surest fact first."""
    reserved = around.reserved
    if ip in reserved.nodes and not (ip in around.kept and ip in reserved.listed):
        return Refusal(Reason.NODE, f"{ip} is the address of a cluster node")
    if ip in around.gateways:
        return Refusal(Reason.GATEWAY, f"{ip} is a gateway in a routing table of this node")
    if ip in reserved.gateways:
        return Refusal(Reason.GATEWAY, f"{ip} is a gateway in a routing table of a cluster node")
    if ip in reserved.api_servers:
        return Refusal(Reason.API_SERVER, f"{ip} is the address of an API server")
    return _here(ip, around) or _inside(ip, around)


def _here(ip: IPAddress, around: Surroundings) -> Refusal | None:
    """Refuse what is on this node, or behind another interface of it."""
    if ip in around.foreign:
        return Refusal(
            Reason.LOCAL,
            f"{ip}, or an address with it as its peer, is on this node already, and extip did not "
            "put it there",
        )
    if ip in around.stations:
        return Refusal(
            Reason.OTHER_LINK,
            f"{ip} is a station behind {printable(around.stations[ip])}, as a route of this node "
            "says; it may be a pod",
        )
    return None


def _inside(ip: IPAddress, around: Surroundings) -> Refusal | None:
    """Refuse addresses that exist inside the cluster only."""
    reserved = around.reserved
    if ip in reserved.cluster_ips:
        return Refusal(Reason.CLUSTER_IP, f"{ip} is the cluster IP of a service")
    network = reserved.services.find(ip)
    if network is not None:
        return Refusal(Reason.SERVICE_NETWORK, f"{ip} is in {network}, a network of cluster IPs")
    if ip in reserved.in_between:  # no network in the text: it may change soon
        return Refusal(Reason.SERVICE_NETWORK, f"{ip} is in the network of cluster IPs")
    if ip in reserved.pod_ips and ip not in around.kept:
        return Refusal(Reason.POD, f"{ip} is the address of a pod")
    network = reserved.pods.find(ip)
    if network is not None:
        return Refusal(Reason.POD_NETWORK, f"{ip} is in {network}, the pod network of a node")
    return None
