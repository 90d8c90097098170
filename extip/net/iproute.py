"""Pure: the gateways in what rtnetlink(7) reports about routes and next hop objects."""

import struct
from collections.abc import Iterator

from extip.net import nlmsg

_ROUTE = struct.Struct("=BBBBBBBBI")  # struct rtmsg: family, ..., type at 7, flags
_BODY = nlmsg.HEADER.size + _ROUTE.size
_TYPE_AT = nlmsg.HEADER.size + 7
_RTN_UNICAST = 1

_RTA_GATEWAY, _RTA_MULTIPATH, _RTA_VIA = 5, 9, 18
_GATEWAY_KINDS = {_RTA_GATEWAY, _RTA_VIA}
_HOP = struct.Struct("=HBBi")  # struct rtnexthop: length, flags, hops, interface
_VIA_FAMILY = 2  # bytes before the address in struct rtvia

_NEXTHOP = struct.Struct("=BBBBI")  # struct nhmsg: family, scope, protocol, reserved, flags
_NHA_GATEWAY = 6

_ADDRESS_SIZES = {4, 16}


def table_request(sequence: int, family: int) -> bytes:
    """Return the request for the unicast routes of all tables of one family.

    Asked for the families together, kernels leave some routes out. Local routes, one for each
    address, are left out only where ``NETLINK_GET_STRICT_CHK`` is set on the socket.
    """
    body = _ROUTE.pack(family, 0, 0, 0, 0, 0, 0, _RTN_UNICAST, 0)
    return nlmsg.message(nlmsg.RTM_GETROUTE, nlmsg.NLM_F_DUMP, sequence, body)


def nexthop_table_request(sequence: int) -> bytes:
    """Return the request for all next hop objects (Linux 5.3)."""
    body = _NEXTHOP.pack(0, 0, 0, 0, 0)
    return nlmsg.message(nlmsg.RTM_GETNEXTHOP, nlmsg.NLM_F_DUMP, sequence, body)


def gateways(buffer: nlmsg.Buffer, start: int, end: int) -> frozenset[bytes] | None:
    """Return the packed gateways of the unicast route that a message is about.

    Next hops of multipath routes and next hops of the other family count. None where there are
    none, as for a route to what is on the link, and for messages that make no sense.
    """
    if end - start < _BODY or buffer[start + _TYPE_AT] != _RTN_UNICAST:
        return None
    found: list[bytes] = []
    for kind, first, behind in nlmsg.attributes(buffer, start + _BODY, end):
        if kind in _GATEWAY_KINDS:
            found += _gateway(buffer, kind, first, behind)
        elif kind == _RTA_MULTIPATH:
            for hop, hop_end in _hops(buffer, first, behind):
                for inner in nlmsg.attributes(buffer, hop, hop_end):
                    found += _gateway(buffer, *inner)
    return frozenset(found) or None


def nexthop_gateways(buffer: nlmsg.Buffer, start: int, end: int) -> frozenset[bytes] | None:
    """Return the packed gateway of a next hop object; None for one that has none."""
    for kind, first, behind in nlmsg.attributes(
        buffer, start + nlmsg.HEADER.size + _NEXTHOP.size, end
    ):
        if kind == _NHA_GATEWAY and behind - first in _ADDRESS_SIZES:
            return frozenset({bytes(buffer[first:behind])})
    return None


def _gateway(buffer: nlmsg.Buffer, kind: int, first: int, behind: int) -> list[bytes]:
    if kind == _RTA_VIA:
        first += _VIA_FAMILY
    if kind in _GATEWAY_KINDS and behind - first in _ADDRESS_SIZES:
        return [bytes(buffer[first:behind])]
    return []


def _hops(buffer: nlmsg.Buffer, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield where the attributes of each hop of a multipath route begin and end."""
    while start + _HOP.size <= end:
        length = _HOP.unpack_from(buffer, start)[0]
        if length < _HOP.size or start + length > end:
            return
        yield start + _HOP.size, start + length
        start += (length + 3) & ~3
