"""Cluster IPs in use → the part of their networks that is certain. Pure.

Servers before 1.33 do not tell the networks of cluster IPs. But a network with two addresses
contains the smallest network with both of them. And the service `kubernetes` has the first address
of its network, so the network begins one address before.
"""

from collections.abc import Iterable, Mapping
from ipaddress import IPv4Network, IPv6Network

from extip.net.interfaces import IPAddress
from extip.net.networks import IPNetwork, Networks

Spans = Mapping[int, tuple[int, int]]
"""The lowest and the highest cluster IP, by IP version."""

_BITS = {4: 32, 6: 128}
_SHORTEST_PREFIX = {4: 12, 6: 108}
"""The API server accepts no larger network. A wider span lies in several networks."""


def widened(spans: Spans, ips: Iterable[IPAddress]) -> Spans:
    """Return the spans widened by addresses; the same object when nothing changes."""
    found = dict(spans)
    for ip in ips:
        low, high = found.get(ip.version, (int(ip), int(ip)))
        found[ip.version] = min(low, int(ip)), max(high, int(ip))
    return spans if found == spans else found


def certain_networks(spans: Spans, first: Iterable[IPAddress]) -> Networks:
    """Return the networks whose addresses are certainly cluster IPs.

    A family whose cluster IPs seem to come from several networks has none. `first` are the
    addresses of the service `kubernetes`.
    """
    base: dict[int, int] = {ip.version: int(ip) - 1 for ip in first}
    known = widened(spans, first)
    found = (_certain(version, *known[version], base.get(version)) for version in known)
    return Networks(frozenset(network for network in found if network is not None))


def _certain(version: int, low: int, high: int, base: int | None) -> IPNetwork | None:
    """Return the smallest network with both addresses; None when it cannot be that of `base`."""
    if base is not None:
        if low < base:
            return None
        low = base
    length = (low ^ high).bit_length()
    prefix = _BITS[version] - length
    start = low >> length << length
    if not length or prefix < _SHORTEST_PREFIX[version] or base not in (None, start):
        return None
    return IPv4Network((start, prefix)) if version == 4 else IPv6Network((start, prefix))  # noqa: PLR2004
