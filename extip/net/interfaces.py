"""Plain values: the node's interfaces, addresses and changes of them.

`extip.net` reads them by netlink; policies decide over them.
"""

from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface
from typing import NamedTuple

IPAddress = IPv4Address | IPv6Address
IPInterface = IPv4Interface | IPv6Interface


class Gateways(NamedTuple):
    """The next hops of routes, of both families and all tables."""

    every: frozenset[IPAddress] = frozenset()
    of_default_routes: frozenset[IPAddress] = frozenset()
    """Next hop objects of such routes count while ``net.ipv4.nexthop_compat_mode`` is on."""


class CachedIPv4Interface(IPv4Interface):
    """An interface that makes its address once: it may be the key of many indexes."""

    @cached_property
    def ip(self) -> IPv4Address:
        """The address without its prefix length."""
        return super().ip


class CachedIPv6Interface(IPv6Interface):
    """The same for IPv6."""

    @cached_property
    def ip(self) -> IPv6Address:
        """The address without its prefix length."""
        return super().ip


IPVS_LINK = "kube-ipvs0"
"""kube-proxy in ipvs mode binds every external IP here, on every node; that is not a conflict."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A network interface as the kernel reports it (rtnetlink(7), ``RTM_NEWLINK``)."""

    index: int
    name: str
    mac: bytes
    """Hardware address; empty or zeros where the interface has none."""
    up: bool
    """Administratively up (``IFF_UP``)."""
    carrier: bool
    """Up and with carrier (``IFF_UP`` and ``IFF_LOWER_UP``): frames can leave."""
    announces: bool
    """Neighbours resolve addresses here by ARP or NDP: neither loopback nor ``IFF_NOARP``."""
    mtu: int
    promotes_secondaries: bool
    """``promote_secondaries`` is on: deleting an IPv4 primary address keeps its secondaries."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ObservedAddress:
    """An address that is on an interface now."""

    interface: IPInterface
    """The address with its prefix length."""
    link_index: int
    ours: bool
    """Carries extip's mark."""
    valid_s: int | None
    """Remaining valid lifetime in seconds; None is for ever."""
    tentative: bool = False
    """IPv6 duplicate address detection is not over, or it failed."""
    peer: IPAddress | None = None
    """The other end of a point-to-point address; its prefix length is the one in `interface`."""
    secondary: bool = False
    """IPv4: another address of its subnet came first (``IFA_F_SECONDARY``)."""
    routed: bool = True
    """It brings the route to its subnet along (no ``IFA_F_NOPREFIXROUTE``)."""


class Operation(Enum):
    """The operation of a change."""

    ADD = "add"
    """Fails with ``EEXIST`` when the IP (with that prefix) is there, whoever put it there."""
    REFRESH = "refresh"
    """Start the valid lifetime of one of our addresses anew."""
    DELETE = "delete"
    MOVE = "move"
    """Delete one of our addresses and add it again at once: it comes behind all others then."""


class Change(NamedTuple):
    """One operation on one address of one link; a tuple like its result, for the same reason."""

    operation: Operation
    link_index: int
    interface: IPInterface
    routed: bool = True
    """Whether the address brings the route to its subnet along."""


class ChangeResult(NamedTuple):
    """How the kernel answered a change; a tuple, since thousands are made in the hot path."""

    change: Change
    errno: int
    """0 for success, otherwise the errno of the kernel's answer."""
