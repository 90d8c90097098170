"""Cluster IPs in use → the part of their networks that is certain. Pure.

Servers before 1.33 do not tell which networks they give cluster IPs from. But whatever network has
two addresses has all that the smallest network with both of them has. And the API server gives the
service `kubernetes` the first address of its network, so that begins with the one before it.
"""

from collections.abc import Iterable, Mapping
from ipaddress import IPv4Network, IPv6Network

from extip.plan.link import IPAddress
from extip.plan.networks import IPNetwork, Networks

Spans = Mapping[int, tuple[int, int]]
"""By IP version, the lowest and the highest cluster IP."""

_BITS = {4: 32, 6: 128}
_SHORTEST_PREFIX = {4: 12, 6: 108}
"""The API server takes no larger networks. What spans more is in several."""


def widened(spans: Spans, ips: Iterable[IPAddress]) -> Spans:
    """Return the spans with those addresses in them; the very same when they are already."""
    found = dict(spans)
    for ip in ips:
        low, high = found.get(ip.version, (int(ip), int(ip)))
        found[ip.version] = min(low, int(ip)), max(high, int(ip))
    return spans if found == spans else found


def certain_networks(spans: Spans, first: Iterable[IPAddress]) -> Networks:
    """Return what is certainly in a network of cluster IPs; nothing where there seem to be several.

    `first` are the addresses of the service `kubernetes`.
    """
    base: dict[int, int] = {ip.version: int(ip) - 1 for ip in first}
    known = widened(spans, first)
    found = (_certain(version, *known[version], base.get(version)) for version in known)
    return Networks(frozenset(network for network in found if network is not None))


def _certain(version: int, low: int, high: int, base: int | None) -> IPNetwork | None:
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
