"""IpClaimPools → which addresses each of them gives, and which one is the next.

An address belongs to one pool alone: where pools overlap, to the first of them in order. So it
has one prefix length, hence one name of its claim, and two schedulers that gave it away at the same
time could not both create that claim.

Left out is what could never come up: the network and broadcast address of the pool's network,
special-purpose addresses (RFC 6890), and what the operator's allow-list does not hold. Nothing here
walks through a pool: one of IPv6 addresses has up to 2^64 of them and more.
"""

from bisect import bisect_right
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface

from extip.api.ipcontroller_v1 import IpClaimPool, IpClaimPoolSpec
from extip.plan.claims import parse_cidr
from extip.plan.link import IPAddress, IPInterface
from extip.plan.pool_ranges import host_bits, range_of
from extip.plan.selector import selects
from extip.plan.spans import (
    UNICAST,
    IPNetwork,
    Spans,
    holds,
    intersect,
    span_of,
    subtract,
    union,
)

_V4, _V6 = 4, 6
_OCTET = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """What one pool gives, and to whom."""

    name: str
    version: int
    """4 or 6."""
    prefixlen: int
    """What its addresses get on the interface."""
    spans: Spans
    """Its addresses."""
    spec: IpClaimPoolSpec
    overlaps: tuple[str, ...] = ()
    """Names of the pools that have some of its addresses too."""
    problem: str = ""
    """What cannot be read; empty when all can."""

    @property
    def size(self) -> int:
        """How many addresses it has."""
        size = sum(last - first + 1 for first, last in self.spans)
        if self._skips_edges:
            size -= sum(_edges_up_to(last) - _edges_up_to(first - 1) for first, last in self.spans)
        return size

    def interface(self, ip: IPAddress) -> IPInterface:
        """Return an address of it as it goes on the interface."""
        if ip.version == _V4:
            return IPv4Interface((int(ip), self.prefixlen))
        return IPv6Interface((int(ip), self.prefixlen))

    def serves(self, labels: Mapping[str, str], namespace_labels: Mapping[str, str]) -> bool:
        """Whether a service with these labels, in such a namespace, may have its addresses."""
        return selects(self.spec.service_selector, labels) and selects(
            self.spec.namespace_selector, namespace_labels
        )

    def gives(self, value: int) -> bool:
        """Whether the address is to be given at all, and not to be avoided."""
        return not self._skips_edges or 0 < value % _OCTET < _OCTET - 1

    def free(self, taken: Container[IPAddress], freed: Iterable[IPAddress]) -> Iterator[IPAddress]:
        """Yield the free addresses: those never used in order, then the `freed` ones in theirs.

        `taken` is asked anew for each address and may grow meanwhile. All of them together cost
        the time for what is taken and freed, not for what the pool has.
        """
        later = {ip: True for ip in freed if ip.version == self.version}  # in order
        for first, last in self.spans:
            value = first
            while value <= last:  # range() cannot be that long
                ip = _address(self.version, value)
                if ip not in taken and ip not in later and self.gives(value):
                    yield ip
                value += 1
        for ip in later:
            if ip not in taken and holds(self.spans, int(ip)) and self.gives(int(ip)):
                yield ip

    @property
    def _skips_edges(self) -> bool:
        return self.spec.avoid_network_addresses and self.version == _V4


@dataclass(frozen=True)
class Pools:
    """All pools, in the order in which they are used."""

    ordered: tuple[Pool, ...] = ()

    def of(self, ip: IPAddress) -> Pool | None:
        """Return the pool that gives the address; O(log n) in the number of all ranges."""
        starts, pools = self._index[ip.version]
        value = int(ip)
        at = bisect_right(starts, value) - 1
        if at < 0:
            return None
        last, pool = pools[at]
        return pool if value <= last and pool.gives(value) else None

    @cached_property
    def by_name(self) -> Mapping[str, Pool]:
        """The pools by name."""
        return {pool.name: pool for pool in self.ordered}

    @cached_property
    def _index(self) -> Mapping[int, tuple[list[int], list[tuple[int, Pool]]]]:
        """By IP version: where each span starts, and where it ends with its pool."""
        index: dict[int, tuple[list[int], list[tuple[int, Pool]]]] = {}
        for version in (_V4, _V6):
            found = {
                first: (last, pool)
                for pool in self.ordered
                if pool.version == version
                for first, last in pool.spans
            }
            starts = sorted(found)
            index[version] = (starts, [found[start] for start in starts])
        return index


def compile_pools(pools: Iterable[IpClaimPool], *, allowed: Sequence[IPNetwork] = ()) -> Pools:
    """Read the pools; without `allowed` networks, every address that can come up is allowed.

    Order: the greatest priority first, then by name. Of a pool that cannot be read wholly, what
    can be is used, and `problem` says what cannot.
    """
    found = [(pool, _read(pool.spec, allowed)) for pool in sorted(pools, key=_order)]
    compiled: list[Pool] = []
    for pool, read in found:
        others = [
            (other.metadata.name, theirs)
            for other, theirs in found
            if other is not pool and theirs.version == read.version
        ]
        spans = read.spans
        for earlier in compiled:
            if earlier.version == read.version:
                spans = subtract(spans, earlier.spans)
        compiled.append(
            Pool(
                name=pool.metadata.name,
                version=read.version,
                prefixlen=read.prefixlen,
                spans=spans,
                spec=pool.spec,
                overlaps=tuple(
                    name for name, theirs in others if intersect(read.spans, theirs.spans)
                ),
                problem=read.problem,
            )
        )
    return Pools(tuple(compiled))


@dataclass(frozen=True, slots=True)
class _Read:
    version: int
    prefixlen: int
    spans: Spans
    problem: str = ""


def _read(spec: IpClaimPoolSpec, allowed: Sequence[IPNetwork]) -> _Read:
    cidr = parse_cidr(spec.cidr)
    if cidr is None:
        return _Read(_V4, 32, (), f"spec.cidr {spec.cidr!r} is no network")
    network, version = cidr.network, cidr.version
    hosts = subtract((span_of(network),), _edges(network))
    if int(cidr.ip) > hosts[0][0] and not spec.ranges:
        return _Read(version, network.prefixlen, (), host_bits(cidr))
    spans = intersect(hosts, UNICAST[version])
    if allowed:
        spans = intersect(spans, union(span_of(n) for n in allowed if n.version == version))
    problem = ""
    if spec.ranges:
        ranges = [range_of(entry, network) for entry in spec.ranges]
        spans = intersect(spans, union(span for span, _ in ranges if span is not None))
        problem = "; ".join(dict.fromkeys((why for _, why in ranges if why), 0))
    return _Read(version, network.prefixlen, spans, problem)


def _order(pool: IpClaimPool) -> tuple[int, str]:
    return -pool.spec.priority, pool.metadata.name


def _edges(network: IPNetwork) -> Spans:
    """Return what no host may have; networks of one or two addresses have none of it.

    For IPv6 that is the subnet-router anycast address alone (RFC 4291 section 2.6.1).
    """
    first, last = span_of(network)
    if network.prefixlen >= network.max_prefixlen - 1:
        return ()
    return ((first, first), (last, last)) if network.version == _V4 else ((first, first),)


def _edges_up_to(value: int) -> int:
    """Count the numbers from 0 to `value` whose last octet is 0 or 255."""
    return 2 * ((value + 1) // _OCTET) + (1 if (value + 1) % _OCTET else 0)


def _address(version: int, value: int) -> IPAddress:
    return IPv4Address(value) if version == _V4 else IPv6Address(value)
