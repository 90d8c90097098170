"""Sets of IP addresses of one family, of any size, as spans of numbers. Pure.

A set is a tuple of spans in order that do not overlap.
"""

from bisect import bisect_right
from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network, ip_network

IPNetwork = IPv4Network | IPv6Network

Span = tuple[int, int]
"""The first and the last address, both included."""

Spans = tuple[Span, ...]


def span_of(network: IPNetwork) -> Span:
    """Return all addresses of a network."""
    return int(network.network_address), int(network.broadcast_address)


def union(spans: Iterable[Span]) -> Spans:
    """Return the addresses that are in any of the spans."""
    merged: list[Span] = []
    for first, last in sorted(spans):
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(last, merged[-1][1]))
        else:
            merged.append((first, last))
    return tuple(merged)


def subtract(spans: Spans, others: Spans) -> Spans:
    """Return the addresses of `spans` that are not in `others`."""
    left: list[Span] = []
    for first, last in spans:
        start = first
        for gone_first, gone_last in others:
            if gone_last < start or gone_first > last:
                continue
            if gone_first > start:
                left.append((start, gone_first - 1))
            start = gone_last + 1
        if start <= last:
            left.append((start, last))
    return tuple(left)


def intersect(spans: Spans, others: Spans) -> Spans:
    """Return the addresses that are in both sets."""
    return subtract(spans, subtract(spans, others))


def holds(spans: Spans, value: int) -> bool:
    """Whether the address is in the set; O(log n) in the number of spans."""
    at = bisect_right(spans, value, key=_start) - 1
    return at >= 0 and value <= spans[at][1]


def _start(span: Span) -> int:
    return span[0]


def _of(*networks: str) -> Spans:
    return union(span_of(ip_network(network)) for network in networks)


UNICAST: dict[int, Spans] = {
    4: subtract(
        _of("0.0.0.0/0"),
        _of("0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4", "240.0.0.0/4"),
    ),
    6: _of("2000::/3", "fc00::/7", "fec0::/10"),
}
"""The addresses without a special purpose (RFC 6890), by IP version; the guard has the same."""
