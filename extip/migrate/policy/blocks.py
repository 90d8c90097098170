"""Blocks of addresses, as other programs write them → networks of an IpClaimPool. Pure.

The prefix length of a pool's network is the one that its addresses get on the interface. Other
programs put no address on an interface, so their pools do not say the length of the segment.
"""

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import NamedTuple

from msgspec.structs import replace

from extip.api.ipcontroller_v1 import IpClaimPoolSpec
from extip.api.pool_parts import MAX_NETWORKS, IpClaimPoolNetwork
from extip.api.ranges import MAX_RANGES
from extip.migrate.policy.result import Result
from extip.net.interfaces import IPAddress
from extip.net.networks import IPNetwork
from extip.services.policy.requests import cut, parse_ip

_V4 = 4
_OCTET = 256


class Block(NamedTuple):
    """Addresses from the first to the last one, both included."""

    first: IPAddress
    last: IPAddress

    def __str__(self) -> str:
        return f"{self.first}-{self.last}"

    @property
    def inner(self) -> "Block":
        """The same without its two ends; of one or two addresses, all of them."""
        if int(self.last) - int(self.first) < 2:  # noqa: PLR2004
            return self
        return Block(self.first + 1, self.last - 1)


def read_block(text: str) -> Block:
    """Return the block that ``10.0.0.0/28``, ``10.0.0.1-10.0.0.9`` or one address writes.

    Raises ValueError with a sentence.
    """
    if "/" in text:
        return _network_block(text.strip())
    ends = [parse_ip(part.strip()) for part in text.split("-")]
    first, last = ends[0], ends[-1]
    if first is None or last is None or len(ends) > 2:  # noqa: PLR2004
        raise ValueError(f"{cut(text)!r} is no network, range or IP address")
    if first.version != last.version:
        raise ValueError(f"{cut(text)!r} has an IPv4 and an IPv6 address")
    if int(first) > int(last):
        raise ValueError(f"{cut(text)!r} is reversed: its first address is the greater one")
    return Block(first, last)


def _network_block(text: str) -> Block:
    try:
        network = ip_network(text, strict=False)  # Go's ParseCIDR drops host bits as well
    except ValueError:
        raise ValueError(f"{cut(text)!r} is no network") from None
    return Block(network.network_address, network.broadcast_address)


def with_networks(
    spec: IpClaimPoolSpec, networks: tuple[IpClaimPoolNetwork, ...]
) -> IpClaimPoolSpec:
    """Return the spec with these networks, in the shorter form where there is one."""
    if len(networks) == 1:
        return replace(spec, cidr=networks[0].cidr, ranges=networks[0].ranges)
    return replace(spec, networks=networks)


def read_blocks(texts: Iterable[str], where: str, result: Result) -> list[Block]:
    """Return the blocks that can be read, with a remark on each of the others."""
    found: list[Block] = []
    for text in texts:
        try:
            found.append(read_block(text))
        except ValueError as error:
            result.lose(where, str(error), "correct it, and run this again")
    return found


def pool_networks(
    blocks: Sequence[Block], segments: Sequence[IPNetwork], where: str, result: Result
) -> tuple[IpClaimPoolNetwork, ...]:
    """Return networks that have the addresses of all blocks, and as far as possible no others.

    An address inside of a segment gets its prefix length. Another one gets that of the smallest
    network around its block, which lies inside of whatever network the segment has.
    """
    found: dict[IPNetwork, list[Block]] = {}
    for block in blocks:
        segment = _segment_of(block, segments)
        if segment is None:
            cover = _cover(block)
            _add(found, cover, block)
            for end in _dropped(block, cover):
                if _may_be_given(end):
                    _add(found, _single(end), Block(end, end))
                else:
                    _tell_dropped(end, where, result)
        else:
            _add(found, segment, block)
            for end in _dropped(block, segment):
                _tell_dropped(end, where, result)
    _tell_guess(found, segments, where, result)
    networks = tuple(_network(network, parts) for network, parts in found.items())
    return _limited(networks, where, result)


def _add(found: dict[IPNetwork, list[Block]], network: IPNetwork, block: Block) -> None:
    parts = found.setdefault(network, [])
    if block not in parts:
        parts.append(block)


def _segment_of(block: Block, segments: Iterable[IPNetwork]) -> IPNetwork | None:
    """Return the smallest segment that has all of the block."""
    having = [s for s in segments if block.first in s and block.last in s]
    longest = max((s.prefixlen for s in having), default=0)
    return next((s for s in having if s.prefixlen == longest), None)


def _cover(block: Block) -> IPNetwork:
    """Return the smallest network that has all of the block."""
    differing = (int(block.first) ^ int(block.last)).bit_length()
    return _of(block.first, block.first.max_prefixlen - differing)


def _single(ip: IPAddress) -> IPNetwork:
    return _of(ip, ip.max_prefixlen)


def _of(ip: IPAddress, prefixlen: int) -> IPNetwork:
    if ip.version == _V4:
        return IPv4Network((int(ip), prefixlen), strict=False)
    return IPv6Network((int(ip), prefixlen), strict=False)


def _edges(network: IPNetwork) -> tuple[IPAddress, ...]:
    """Return the addresses of a network that a pool never gives."""
    if network.prefixlen >= network.max_prefixlen - 1:
        return ()
    if network.version == _V4:
        return network.network_address, network.broadcast_address
    return (network.network_address,)


def _dropped(block: Block, network: IPNetwork) -> Iterable[IPAddress]:
    return (ip for ip in _edges(network) if int(block.first) <= int(ip) <= int(block.last))


def _may_be_given(ip: IPAddress) -> bool:
    """Whether an edge of a block is likely to be none of the segment."""
    return ip.version == _V4 and 0 < int(ip) % _OCTET < _OCTET - 1


def _network(network: IPNetwork, parts: Sequence[Block]) -> IpClaimPoolNetwork:
    """Return the network, with ranges unless the parts are all of its addresses."""
    edges = {int(ip) for ip in _edges(network)}
    first, last = int(network.network_address), int(network.broadcast_address)
    first, last = first + (first in edges), last - (last in edges)
    whole = any(int(part.first) <= first and int(part.last) >= last for part in parts)
    ranges = tuple((str(part.first), str(part.last)) for part in parts)
    return IpClaimPoolNetwork(cidr=str(network), ranges=None if whole else ranges)


def _tell_dropped(ip: IPAddress, where: str, result: Result) -> None:
    result.note(where, f"{ip} is the address of a network, or may be, and extip never gives it")


def _tell_guess(
    found: Iterable[IPNetwork], segments: Iterable[IPNetwork], where: str, result: Result
) -> None:
    known = set(segments)
    guessed = [n for n in found if n not in known and n.prefixlen < n.max_prefixlen]
    if guessed:
        result.note(
            where,
            f"addresses of {', '.join(map(str, guessed))} get this prefix length on the interface, "
            "since that of the segment is not known",
            "this works on a segment that has all of it; say --network for another length",
        )


def _limited(
    networks: tuple[IpClaimPoolNetwork, ...], where: str, result: Result
) -> tuple[IpClaimPoolNetwork, ...]:
    """Return what the API server accepts, with a remark on the rest."""
    over = [n.cidr for n in networks if len(n.ranges or ()) > MAX_RANGES]
    if len(networks) > MAX_NETWORKS or over:
        result.lose(
            where,
            f"a pool has at most {MAX_NETWORKS} networks, and each of them {MAX_RANGES} ranges; "
            "those beyond are left out",
            "write a second pool for them by hand",
        )
    return tuple(
        IpClaimPoolNetwork(cidr=n.cidr, ranges=n.ranges and n.ranges[:MAX_RANGES])
        for n in networks[:MAX_NETWORKS]
    )
