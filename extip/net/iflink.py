"""Pure: decodes what rtnetlink(7) reports about interfaces, and encodes the requests about them."""

import struct
import sys

from extip.net import nlmsg
from extip.plan.link import Link

_INTERFACE = struct.Struct("=BxHiII")  # struct ifinfomsg: family, type, index, flags, change mask
_BODY = nlmsg.HEADER.size + _INTERFACE.size

_IFLA_ADDRESS, _IFLA_IFNAME, _IFLA_MTU, _IFLA_AF_SPEC = 1, 3, 4, 26
_IFLA_EXT_MASK, _IFLA_ALT_IFNAME = 29, 53
_NLA_F_NESTED = 0x8000
_RTEXT_FILTER_SKIP_STATS = 8

_AF_INET, _IFLA_INET_CONF = 2, 1
_DEVCONF_PROMOTE_SECONDARIES = 20  # IPV4_DEVCONF_PROMOTE_SECONDARIES in linux/ip.h, from 1

_ARPHRD_ETHER = 1
_IFF_UP, _IFF_LOOPBACK, _IFF_NOARP, _IFF_LOWER_UP = 0x1, 0x8, 0x80, 0x10000
_IFNAMSIZ = 16


def table_request(sequence: int) -> bytes:
    """Return the request for all interfaces, without their statistics."""
    body = _INTERFACE.pack(0, 0, 0, 0, 0) + _skip_statistics()
    return nlmsg.message(nlmsg.RTM_GETLINK, nlmsg.NLM_F_DUMP, sequence, body)


def link_request(sequence: int, name: str) -> bytes:
    """Return the request for one interface by its name or one of its alternative names."""
    raw = name.encode("utf-8", "surrogateescape")
    kind = _IFLA_IFNAME if len(raw) < _IFNAMSIZ else _IFLA_ALT_IFNAME
    body = _INTERFACE.pack(0, 0, 0, 0, 0) + nlmsg.attribute(kind, raw + b"\0") + _skip_statistics()
    return nlmsg.message(nlmsg.RTM_GETLINK, nlmsg.NLM_F_ACK, sequence, body)


def promote_secondaries_request(sequence: int, link_index: int) -> bytes:
    """Return the request that switches ``promote_secondaries`` on for one interface.

    The same as writing 1 to ``net.ipv4.conf.<name>.promote_secondaries``, but it needs no
    writable ``/proc/sys``, which a container seldom has.
    """
    value = nlmsg.attribute(_DEVCONF_PROMOTE_SECONDARIES, (1).to_bytes(4, sys.byteorder))
    configuration = nlmsg.attribute(_IFLA_INET_CONF | _NLA_F_NESTED, value)
    family = nlmsg.attribute(_AF_INET | _NLA_F_NESTED, configuration)
    body = _INTERFACE.pack(0, 0, link_index, 0, 0)
    body += nlmsg.attribute(_IFLA_AF_SPEC | _NLA_F_NESTED, family)
    return nlmsg.message(nlmsg.RTM_SETLINK, nlmsg.NLM_F_ACK, sequence, body)


def decode(buffer: nlmsg.Buffer, start: int, end: int) -> Link | None:
    """Return the interface that an ``RTM_NEWLINK`` or ``RTM_DELLINK`` message is about.

    None for messages that make no sense, and for those of the bridge code, which reports ports
    under a family of its own.
    """
    if end - start < _BODY:
        return None
    family, hardware, index, flags, _ = _INTERFACE.unpack_from(buffer, start + nlmsg.HEADER.size)
    if family != 0:
        return None
    found: dict[int, bytes] = {
        kind: bytes(buffer[first:behind])
        for kind, first, behind in nlmsg.attributes(buffer, start + _BODY, end)
    }
    name = found.get(_IFLA_IFNAME, b"").split(b"\0", 1)[0]
    if not name:
        return None
    up = flags & _IFF_UP != 0
    return Link(
        index=index,
        name=name.decode("utf-8", "surrogateescape"),
        mac=found.get(_IFLA_ADDRESS, b""),
        up=up,
        carrier=up and flags & _IFF_LOWER_UP != 0,
        announces=hardware == _ARPHRD_ETHER and flags & (_IFF_LOOPBACK | _IFF_NOARP) == 0,
        mtu=int.from_bytes(found.get(_IFLA_MTU, b""), sys.byteorder),
        promotes_secondaries=_promotes_secondaries(found.get(_IFLA_AF_SPEC, b"")),
    )


def _promotes_secondaries(families: bytes) -> bool:
    for family, first, behind in nlmsg.attributes(families, 0, len(families)):
        if family != _AF_INET:
            continue
        for kind, inner, inner_behind in nlmsg.attributes(families, first, behind):
            place = inner + 4 * (_DEVCONF_PROMOTE_SECONDARIES - 1)
            if kind == _IFLA_INET_CONF and place + 4 <= inner_behind:
                return families[place : place + 4] != b"\0\0\0\0"
    return False


def _skip_statistics() -> bytes:
    return nlmsg.attribute(_IFLA_EXT_MASK, _RTEXT_FILTER_SKIP_STATS.to_bytes(4, sys.byteorder))
