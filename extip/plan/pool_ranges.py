"""What people write into a pool → its addresses, or what is wrong with it, in a sentence."""

from collections.abc import Sequence

from extip.plan.link import IPAddress, IPInterface
from extip.plan.requests import parse_ip
from extip.plan.spans import IPNetwork, Span, span_of

_PAIR = 2


def range_of(entry: Sequence[str], network: IPNetwork) -> tuple[Span | None, str]:
    """Return the addresses of a range, and what is wrong with it; empty when nothing is.

    A range that only reaches beyond the network is used as far as it is inside.
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


def host_bits(cidr: IPInterface) -> str:
    """Say what to write in place of a network with host bits, which could mean two things."""
    network, ip = cidr.network, cidr.ip
    return (
        f"spec.cidr {cidr.with_prefixlen} is not the beginning of a network: write {network} for "
        f"all of it, or {network} and the range {ip}-{_last_host(network)} to begin at {ip}"
    )


def _last_host(network: IPNetwork) -> IPAddress:
    """Return the last address that a host may have (IPv6 has no broadcast address)."""
    broadcast = network.version == 4 and network.prefixlen < network.max_prefixlen - 1  # noqa: PLR2004
    return network.broadcast_address - (1 if broadcast else 0)
