"""Pure: what rtnetlink(7) reports about routes and next hop objects: gateways, single stations."""

import struct
import sys
from collections.abc import Iterator
from functools import lru_cache
from ipaddress import ip_address
from socket import AF_INET, AF_INET6
from typing import Any

from extip.net import nlmsg
from extip.net.interfaces import IPAddress
from extip.net.messages import ODD, NexthopMessage, RouteMessage, encode

_ROUTE = struct.Struct("=BBBBBBBBI")  # struct rtmsg: family, bits of the destination, ..., flags
_BODY = _ROUTE.size
_BITS_AT, _TYPE_AT = 1, 7
_RTN_UNICAST = 1
_RTM_F_CLONED, _RTM_F_FIB_MATCH = 0x200, 0x2000
_RTPROT_KERNEL = 2
_RTA_DST, _RTA_OIF, _RTA_GATEWAY, _RTA_MULTIPATH, _RTA_VIA, _RTA_ENCAP = 1, 4, 5, 9, 18, 22
_NEXT_HOPS = frozenset({_RTA_GATEWAY, _RTA_MULTIPATH, _RTA_VIA})
_ONWARD = {*_NEXT_HOPS, _RTA_ENCAP}
"""With any of these the station is not on the link itself, or not on one link alone."""

_LOOKUPS = {
    size: (family, struct.Struct(f"{nlmsg.HEADER.format}{_ROUTE.format[1:]}HH{size}s"))
    for family, size in ((AF_INET, 4), (AF_INET6, 16))
}
"""By the size of an address: its family, and a whole request with the one attribute it has."""
_HOST_BITS = {AF_INET: 32, AF_INET6: 128}


def table_request(sequence: int, family: int) -> bytes:
    """Return the request for the unicast routes of all tables of one family.

    Asked for the families together, kernels leave some routes out. Local routes, one for each
    address, are left out only where ``NETLINK_GET_STRICT_CHK`` is set on the socket.
    """
    request = encode(
        RouteMessage(), nlmsg.RTM_GETROUTE, nlmsg.NLM_F_DUMP, family=family, type=_RTN_UNICAST
    )
    return nlmsg.numbered(request, sequence)


def nexthop_table_request(sequence: int) -> bytes:
    """Return the request for all next hop objects (Linux 5.3)."""
    request = encode(NexthopMessage(), nlmsg.RTM_GETNEXTHOP, nlmsg.NLM_F_DUMP)
    return nlmsg.numbered(request, sequence)


def lookup_request(sequence: int, ip: IPAddress, flags: int) -> bytes:
    """Return the request for the entry of the routing tables that packets to `ip` go by.

    It is looked up as the kernel does for a packet of this host, by all rules (Linux 4.13). Every
    address that is new has one, so it is packed in 2 µs; by pyroute2 it takes 100.
    """
    packed = ip.packed
    size = len(packed)
    family, form = _LOOKUPS[size]
    return form.pack(
        *(form.size, nlmsg.RTM_GETROUTE, nlmsg.NLM_F_REQUEST | flags, sequence, 0),
        *(family, 8 * size, 0, 0, 0, 0, 0, 0, _RTM_F_FIB_MATCH),
        *(4 + size, _RTA_DST, packed),
    )


def station(buffer: nlmsg.Buffer, start: int, end: int) -> tuple[IPAddress, int] | None:
    """Return the single station that a route leads to, and the index of the interface it is behind.

    Return None for every other route: to a network, to this host itself, or to nowhere
    (``blackhole``). Also None with a gateway, a tunnel, several ways, or a next hop object that is
    not written out. A route that the kernel made of an address (``proto kernel``) is None, too: it
    tells of an address of this node, which may be gone, and not of a station.
    """
    body = start + nlmsg.HEADER.size
    if end - body < _BODY or buffer[body + _TYPE_AT] != _RTN_UNICAST:
        return None
    family, bits, _, _, _, protocol, _, _, flags = _ROUTE.unpack_from(buffer, body)
    if bits != _HOST_BITS.get(family) or flags & _RTM_F_CLONED or protocol == _RTPROT_KERNEL:
        return None
    found = {
        kind: bytes(buffer[first:behind])
        for kind, first, behind in nlmsg.attributes(buffer, body + _BODY, end)
    }
    packed, link = found.get(_RTA_DST, b""), found.get(_RTA_OIF, b"")
    if not _ONWARD.isdisjoint(found) or len(packed) * 8 != bits or not link:
        return None
    return ip_address(packed), int.from_bytes(link, sys.byteorder)


def gateways(buffer: nlmsg.Buffer, start: int, end: int) -> frozenset[IPAddress] | None:
    """Return the gateways of the unicast route that a message is about.

    Next hops of multipath routes and next hops of the other family count. None where there are
    none, as for a route to what is on the link, and for messages that make no sense.
    """
    body = start + nlmsg.HEADER.size
    if end - body < _BODY or buffer[body + _TYPE_AT] != _RTN_UNICAST:
        return None
    hops = nlmsg.attributes_of(buffer, body + _BODY, end, _NEXT_HOPS)
    return _gateways_of(buffer[body], hops) or None if hops else None


def is_default(buffer: nlmsg.Buffer, start: int, end: int) -> bool:
    """Whether a message is about a route to everywhere."""
    body = start + nlmsg.HEADER.size
    return end - body >= _BODY and buffer[body + _BITS_AT] == 0


@lru_cache(maxsize=4096)
def _gateways_of(family: int, hops: bytes) -> frozenset[IPAddress]:
    """Return what the attributes name: ten thousand routes have a few next hops between them.

    To decode one takes pyroute2 40 µs, ten times as long as to find what it is known by.
    """
    body = bytes([family]) + bytes(_BODY - 1) + hops
    return _decoded(RouteMessage(nlmsg.message(nlmsg.RTM_NEWROUTE, 0, 0, body)))


def nexthop_gateways(buffer: nlmsg.Buffer, start: int, end: int) -> frozenset[IPAddress] | None:
    """Return the gateway of a next hop object; None for one that has none."""
    return _decoded(NexthopMessage(bytes(buffer[start:end]))) or None


def _decoded(message: Any) -> frozenset[IPAddress]:  # noqa: ANN401 - pyroute2 is untyped
    try:
        message.decode()
        return frozenset(ip_address(text) for text in _named(message))
    except ODD:
        return frozenset()


def _named(message: Any) -> Iterator[str]:  # noqa: ANN401 - pyroute2 is untyped
    if gateway := message.get_attr("NHA_GATEWAY"):
        yield gateway
    for hop in (message, *(message.get_attr("RTA_MULTIPATH") or ())):
        via = hop.get_attr("RTA_VIA") or {}
        for address in (hop.get_attr("RTA_GATEWAY"), via.get("addr")):
            if address:
                yield address
