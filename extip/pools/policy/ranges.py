"""The ranges in a pool's spec → its addresses, or a sentence about the error. Pure."""

from collections.abc import Sequence

from extip.net.interfaces import IPAddress, IPInterface
from extip.pools.policy.spans import IPNetwork, Span, span_of
from extip.services.policy.requests import parse_ip

_PAIR = 2


def range_of(entry: Sequence[str], network: IPNetwork) -> tuple[Span | None, str]:
    """Return the addresses of a range, and a sentence about its error; empty for none.

    Of a range that reaches beyond the network, the part inside is used.
    """
    written = "-".join(entry)
    ends = [ip for ip in map(parse_ip, entry) if ip is not None]
    if len(entry) != _PAIR or len(ends) != _PAIR:
        return None, f"range {written} is not a first and a last IP address"
    first, last = ends
    if first.version != network.version or last.version != network.version:
        return None, f"range {written} is not of IPv{network.version}, as cidr {network} is"
    if int(first) > int(last):
        return None, f"range {written} is reversed: write its first address first"
    span = int(first), int(last)
    if first in network and last in network:
        return span, ""
    whole = span_of(network)
    if span[1] < whole[0] or span[0] > whole[1]:
        return None, f"range {written} is outside of cidr {network}"
    return span, f"range {written} reaches beyond cidr {network}"


def host_bits(field: str, cidr: IPInterface) -> str:
    """Return the advice about a network with host bits, which could mean two things."""
    network, ip = cidr.network, cidr.ip
    return (
        f"{field} {cidr.with_prefixlen} is not the beginning of a network: write {network} for "
        f"all of it, or {network} and the range {ip}-{_last_host(network)} to begin at {ip}"
    )


def _last_host(network: IPNetwork) -> IPAddress:
    """Return the last address that a host may have (IPv6 has no broadcast address)."""
    broadcast = network.version == 4 and network.prefixlen < network.max_prefixlen - 1  # noqa: PLR2004
    return network.broadcast_address - (1 if broadcast else 0)
