"""IpClaimPools → the addresses of each pool, and the next free one. Pure.

An address belongs to one pool: where pools overlap, to the first of them in order. So it has one
prefix length, and its claim has one name. Two schedulers that allocate it at the same time cannot
both create that claim.

A pool does not contain addresses that could never come up: the network and broadcast address of its
network, special-purpose addresses (RFC 6890), and addresses outside the operator's allow-list. No
code here walks through a pool, since an IPv6 pool may have 2^64 addresses and more.
"""

from bisect import bisect_right
from collections.abc import Collection, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain, islice

from extip.api.ipcontroller_v1 import EVERY_NODE, IpClaimPool, IpClaimPoolSpec
from extip.api.pool_parts import DRAINING, OPEN
from extip.api.selector import selects
from extip.claims.policy.claims import parse_cidr
from extip.net.interfaces import (
    CachedIPv4Address,
    CachedIPv6Address,
    IPAddress,
    IPInterface,
    compact,
)
from extip.pools.policy.ranges import host_bits, range_of
from extip.pools.policy.spans import (
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
_FULL = {_V4: 32, _V6: 128}
_OCTET = 256


@dataclass(slots=True)
class Cursor:
    """How far a pool was searched: no address before it is free, apart from known ones."""

    at: tuple[int, int] = (0, 0)
    """The number of a span, and an address."""


@dataclass(frozen=True, slots=True)
class PoolNetwork:
    """One network of a pool."""

    version: int
    """4 or 6."""
    prefixlen: int
    """The prefix length of its addresses on the interface."""
    spans: Spans
    """Its addresses that the pool gives."""

    def has(self, ip: IPAddress) -> bool:
        """Whether the address is one of them; O(log n) in the number of spans."""
        return ip.version == self.version and holds(self.spans, int(ip))


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """One pool: its addresses, and the services that may have them."""

    name: str
    networks: tuple[PoolNetwork, ...]
    """Their addresses are different ones."""
    spec: IpClaimPoolSpec
    overlaps: tuple[str, ...] = ()
    """The names of pools that contain some of its addresses, too."""
    problem: str = ""
    """The error in its spec; empty for none."""

    @property
    def size(self) -> int:
        """The number of its addresses."""
        return sum(map(self.size_of, self.versions))

    @property
    def is_open(self) -> bool:
        """Whether it gives new addresses."""
        return self.spec.allocation == OPEN

    @property
    def is_draining(self) -> bool:
        """Whether services are to have addresses of other pools in place of its own."""
        return self.spec.allocation == DRAINING

    @property
    def versions(self) -> frozenset[int]:
        """The IP versions of its networks."""
        return frozenset(network.version for network in self.networks)

    def size_of(self, version: int) -> int:
        """Return the number of its addresses of an IP version."""
        spans = self._spans(version)
        size = sum(last - first + 1 for first, last in spans)
        if self._skips_edges(version):
            size -= sum(_edges_up_to(last) - _edges_up_to(first - 1) for first, last in spans)
        return size

    def interface(self, ip: IPAddress) -> IPInterface:
        """Return an address of the pool with its prefix length."""
        return compact(ip, self.prefixlen(ip))

    def prefixlen(self, ip: IPAddress) -> int:
        """Return the prefix length that an address of the pool gets on the interface."""
        networks = self.networks
        if len(networks) > 1:
            return next(network.prefixlen for network in networks if network.has(ip))
        return networks[0].prefixlen

    def serves(self, labels: Mapping[str, str], namespace_labels: Mapping[str, str]) -> bool:
        """Whether a service with these labels may have its addresses, in a namespace with those."""
        return selects(self.spec.service_selector, labels) and selects(
            self.spec.namespace_selector, namespace_labels
        )

    def gives(self, version: int, value: int) -> bool:
        """Whether the pool does not avoid an address that is in one of its networks."""
        return not self._skips_edges(version) or 0 < value % _OCTET < _OCTET - 1

    def free(
        self,
        version: int,
        taken: Container[IPAddress],
        freed: Collection[IPAddress],
        *,
        cursor: Cursor | None = None,
        released: Iterable[IPAddress] = (),
    ) -> Iterator[IPAddress]:
        """Yield the free addresses of an IP version in order, then the `freed` ones in theirs.

        `taken` is asked for each address, and may grow meanwhile. The search begins at the `cursor`
        and moves it; before that, only `released` addresses are looked at.
        """
        spans, cursor = self._spans(version), Cursor() if cursor is None else cursor
        places = (self.place(ip) for ip in released if ip.version == version)
        early = sorted(place for place in places if place is not None and place < cursor.at)
        for number in chain((number for _, number in early), _from(spans, cursor)):
            ip = _address(version, number)
            if ip not in taken and ip not in freed and self.gives(version, number):
                yield ip
        for ip in freed:
            known = ip.version == version and self.place(ip) is not None
            if known and ip not in taken and self.gives(version, int(ip)):
                yield ip

    def search(
        self,
        version: int,
        taken: Container[IPAddress],
        freed: Collection[IPAddress],
        *,
        cursor: Cursor,
        most: int,
    ) -> int:
        """Move the cursor to the next address for `free`, over `most` at most.

        Return how many more it might have moved over; 0 when the search has to go on.
        """
        looked = 0
        for number in islice(_from(self._spans(version), cursor), most):
            ip = _address(version, number)
            if ip not in taken and ip not in freed and self.gives(version, number):
                break
            looked += 1
        return most - looked

    def place(self, ip: IPAddress) -> tuple[int, int] | None:
        """Return the place of an address as a `Cursor` has it; None for that of no network."""
        number = int(ip)
        for at, (first, last) in enumerate(self._spans(ip.version)):
            if first <= number <= last:
                return at, number
        return None

    def _spans(self, version: int) -> Spans:
        """Return the addresses of an IP version, network by network."""
        return tuple(
            s for network in self.networks if network.version == version for s in network.spans
        )

    def _skips_edges(self, version: int) -> bool:
        return self.spec.avoid_network_addresses and version == _V4


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
        return pool if value <= last and pool.gives(ip.version, value) else None

    def meet(self, version: int, first: int, last: int) -> bool:
        """Whether a pool has an address from `first` to `last`, both included."""
        starts, pools = self._index[version]
        at = bisect_right(starts, last) - 1
        return at >= 0 and pools[at][0] >= first

    @cached_property
    def by_name(self) -> Mapping[str, Pool]:
        """The pools by name."""
        return {pool.name: pool for pool in self.ordered}

    @cached_property
    def _index(self) -> Mapping[int, tuple[list[int], list[tuple[int, Pool]]]]:
        """The starts of all spans, and their ends with their pools, by IP version."""
        index: dict[int, tuple[list[int], list[tuple[int, Pool]]]] = {}
        for version in (_V4, _V6):
            found = {
                first: (last, pool)
                for pool in self.ordered
                for network in pool.networks
                if network.version == version
                for first, last in network.spans
            }
            starts = sorted(found)
            index[version] = (starts, [found[start] for start in starts])
        return index


def compile_pools(pools: Iterable[IpClaimPool], *, allowed: Sequence[IPNetwork] = ()) -> Pools:
    """Read the pools. Without `allowed` networks, every address that can come up is allowed.

    The order is by priority, the greatest first, then by name. The readable part of a malformed
    pool is used; `problem` tells the error.
    """
    found = [(pool, *_read(pool.spec, allowed)) for pool in sorted(pools, key=_order)]
    compiled: list[Pool] = []
    given: dict[int, Spans] = {_V4: (), _V6: ()}
    for pool, read, problem in found:
        networks: list[PoolNetwork] = []
        for network in read:
            spans = subtract(network.spans, given[network.version])
            networks.append(replace(network, spans=spans))
            given[network.version] = union((*given[network.version], *spans))
        compiled.append(
            Pool(
                name=pool.metadata.name,
                networks=tuple(networks),
                spec=pool.spec,
                overlaps=tuple(
                    other.metadata.name
                    for other, theirs, _ in found
                    if other is not pool and _overlap(read, theirs)
                ),
                problem=problem,
            )
        )
    return Pools(tuple(compiled))


def _overlap(some: Iterable[PoolNetwork], others: Sequence[PoolNetwork]) -> bool:
    return any(
        one.version == other.version and intersect(one.spans, other.spans)
        for one in some
        for other in others
    )


def _read(
    spec: IpClaimPoolSpec, allowed: Sequence[IPNetwork]
) -> tuple[tuple[PoolNetwork, ...], str]:
    """Return the networks of a pool, and the errors in its spec."""
    written = [("spec.cidr", spec.cidr, spec.ranges)] if spec.cidr else []
    written += [
        (f"spec.networks[{at}].cidr", one.cidr, one.ranges)
        for at, one in enumerate(spec.networks or ())
    ]
    if not written:
        return (), f"spec.cidr {spec.cidr!r} is no network"
    read = [_read_network(field, cidr, ranges or (), allowed) for field, cidr, ranges in written]
    problems = dict.fromkeys((problem for _, problem in read if problem), 0)
    networks = (network for network, _ in read if network is not None)
    if spec.placement == EVERY_NODE:  # on lo, the node would take the whole network for its own
        networks = (replace(one, prefixlen=_FULL[one.version]) for one in networks)
    return tuple(networks), "; ".join(problems)


def _read_network(
    field: str, text: str, ranges: Sequence[Sequence[str]], allowed: Sequence[IPNetwork]
) -> tuple[PoolNetwork | None, str]:
    cidr = parse_cidr(text)
    if cidr is None:
        return None, f"{field} {text!r} is no network"
    network, version = cidr.network, cidr.version
    hosts = subtract((span_of(network),), _edges(network))
    if int(cidr.ip) > hosts[0][0] and not ranges:
        return PoolNetwork(version, network.prefixlen, ()), host_bits(field, cidr)
    spans = intersect(hosts, UNICAST[version])
    if allowed:
        spans = intersect(spans, union(span_of(n) for n in allowed if n.version == version))
    problem = ""
    if ranges:
        found = [range_of(entry, network) for entry in ranges]
        spans = intersect(spans, union(span for span, _ in found if span is not None))
        problem = "; ".join(dict.fromkeys((why for _, why in found if why), 0))
    return PoolNetwork(version, network.prefixlen, spans), problem


def _from(spans: Spans, cursor: Cursor) -> Iterator[int]:
    """Yield the addresses from the cursor on, and move it along."""
    start, number = cursor.at
    for at in range(start, len(spans)):
        first, last = spans[at]
        number = max(number, first) if at == start else first
        while number <= last:  # an IPv6 span is too long for range()
            cursor.at = at, number
            yield number
            number += 1
    cursor.at = len(spans), 0


def _order(pool: IpClaimPool) -> tuple[int, str]:
    return -pool.spec.priority, pool.metadata.name


def _edges(network: IPNetwork) -> Spans:
    """Return the addresses that no host may have; a network of one or two addresses has none.

    For IPv6 it is only the subnet-router anycast address (RFC 4291 section 2.6.1).
    """
    first, last = span_of(network)
    if network.prefixlen >= network.max_prefixlen - 1:
        return ()
    return ((first, first), (last, last)) if network.version == _V4 else ((first, first),)


def _edges_up_to(value: int) -> int:
    """Count the numbers from 0 to `value` whose last octet is 0 or 255."""
    return 2 * ((value + 1) // _OCTET) + (1 if (value + 1) % _OCTET else 0)


def _address(version: int, value: int) -> IPAddress:
    return CachedIPv4Address(value) if version == _V4 else CachedIPv6Address(value)
