"""Plain values: the node's interfaces, addresses and changes of them.

`extip.net` reads them by netlink; policies decide over them.
"""

from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
    ip_interface,
)
from typing import NamedTuple

IPAddress = IPv4Address | IPv6Address
IPInterface = IPv4Interface | IPv6Interface


class Gateways(NamedTuple):
    """The next hops of routes, of both families and all tables."""

    every: frozenset[IPAddress] = frozenset()
    of_default_routes: frozenset[IPAddress] = frozenset()
    """Next hop objects of such routes count while ``net.ipv4.nexthop_compat_mode`` is on."""


class CachedIPv4Address(IPv4Address):
    """An address that computes its hash once: it is the key of many indexes."""

    __slots__ = ("_hash",)

    def __hash__(self) -> int:
        """Return the hash that an equal `IPv4Address` has."""
        try:
            return self._hash
        except AttributeError:
            self._hash: int = super().__hash__()
            return self._hash


class CachedIPv6Address(IPv6Address):
    """The same for IPv6."""

    __slots__ = ("_hash",)

    def __hash__(self) -> int:
        """Return the hash that an equal `IPv6Address` has."""
        try:
            return self._hash
        except AttributeError:
            self._hash: int = super().__hash__()
            return self._hash


# A service, its claim and its pool write one address. With one object for all, indexes find it
# without a comparison of numbers.
@lru_cache(maxsize=2**18)  # type: ignore[misc]  # its own type has Any
def ip_address_of(text: str) -> IPAddress:
    """Return the address that `text` writes. Raises ValueError when it writes none."""
    return CachedIPv6Address(text) if ":" in text else CachedIPv4Address(text)


class _Compact:
    """The common part of the compact interfaces of both families."""

    __slots__ = ()

    length: int
    _ip: int
    """The address as the base class has it."""
    _bits: int
    """The length of an address."""

    @property
    def _prefixlen(self) -> int:  # the base class writes its texts with it
        return self.length

    def __eq__(self, other: object) -> bool:
        if type(other) is type(self) and isinstance(other, _Compact):
            return self.length == other.length and self._ip == other._ip
        if type(other) is IPv4Interface:  # what the kernel has: no network is made for it
            same = self._bits == other.max_prefixlen and self._ip == int(other)
            return same and self.length == other.network.prefixlen
        return super().__eq__(other)

    def __hash__(self) -> int:
        """Return the hash that an equal interface of the base class has."""
        number, host = self._ip, self._bits - self.length
        return hash((number, self.length, number >> host << host))

    def __reduce__(self) -> tuple[object, ...]:
        return ip_interface, (str(self),)


class CompactIPv4Interface(_Compact, IPv4Interface):
    """An interface that makes its network for each use, and keeps none: there are many claims.

    It equals an `IPv4Interface` with the same text.
    """

    __slots__ = ("ip", "length")
    _bits = 32

    def __init__(self, ip: IPv4Address, length: int) -> None:
        """Take an address, and a prefix length from 0 to 32."""
        IPv4Address.__init__(self, int(ip))
        self.ip = ip  # type: ignore[misc]  # a property of the base class
        self.length = length

    @property
    def network(self) -> IPv4Network:  # type: ignore[override]  # nobody sets it
        """The network of the address."""
        return IPv4Network((int(self), self.length), strict=False)


class CompactIPv6Interface(_Compact, IPv6Interface):
    """The same for IPv6, with a prefix length from 0 to 128."""

    __slots__ = ("ip", "length")
    _bits = 128

    def __init__(self, ip: IPv6Address, length: int) -> None:
        IPv6Address.__init__(self, int(ip))
        self.ip = ip  # type: ignore[misc]  # a property of the base class
        self.length = length

    @property
    def network(self) -> IPv6Network:  # type: ignore[override]  # nobody sets it
        """The network of the address."""
        return IPv6Network((int(self), self.length), strict=False)


def compact(ip: IPAddress, length: int) -> IPInterface:
    """Return an address with a prefix length. Raises ValueError when its family has no such one."""
    if not 0 <= length <= ip.max_prefixlen:
        raise ValueError(f"{length} is no prefix length")
    if isinstance(ip, IPv4Address):
        return CompactIPv4Interface(ip, length)
    return CompactIPv6Interface(ip, length)


def prefix_length(interface: IPInterface) -> int:
    """Return the prefix length; a compact interface makes no network for it."""
    if isinstance(interface, _Compact):
        return interface.length
    return interface.network.prefixlen


LOOPBACK = "lo"
"""The interface without a segment: several nodes may have the same IP on theirs."""

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
    carrier_losses: int = 0
    """How often it has lost its carrier (Linux 4.16). Between two looks it may have come back."""

    def was_cut_since(self, before: "Link") -> bool:
        """Return whether the same interface had no carrier at a look before, or since then."""
        return not before.carrier or before.carrier_losses != self.carrier_losses


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
