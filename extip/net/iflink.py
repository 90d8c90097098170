"""Pure: decodes what rtnetlink(7) reports about interfaces, and encodes the requests about them."""

import sys
from functools import lru_cache
from typing import Any

from extip.net import nlmsg
from extip.net.interfaces import Link
from extip.net.messages import ODD, LinkMessage, encode

_RTEXT_FILTER_SKIP_STATS = 8
_SKIP_STATISTICS = ("IFLA_EXT_MASK", _RTEXT_FILTER_SKIP_STATS)

_DEVCONF_PROMOTE_SECONDARIES = 20  # IPV4_DEVCONF_PROMOTE_SECONDARIES in linux/ip.h, from 1

_ARPHRD_ETHER = 1
_IFF_UP, _IFF_LOOPBACK, _IFF_NOARP, _IFF_LOWER_UP = 0x1, 0x8, 0x80, 0x10000
_IFNAMSIZ = 16

_BODY = 16  # struct ifinfomsg
_KINDS = frozenset(kind for kind, *_ in LinkMessage.nla_map)


def table_request(sequence: int) -> bytes:
    """Return the request for all interfaces, without their statistics."""
    message = LinkMessage()
    message["attrs"] = [_SKIP_STATISTICS]
    return nlmsg.numbered(encode(message, nlmsg.RTM_GETLINK, nlmsg.NLM_F_DUMP), sequence)


def link_request(sequence: int, name: str) -> bytes:
    """Return the request for one interface by its name or one of its alternative names."""
    return nlmsg.numbered(_link_request(name), sequence)


@lru_cache(maxsize=16)
def _link_request(name: str) -> bytes:
    raw = name.encode("utf-8", "surrogateescape")
    kind = "IFLA_IFNAME" if len(raw) < _IFNAMSIZ else "IFLA_ALT_IFNAME"
    message = LinkMessage()
    message["attrs"] = [(kind, raw + b"\0"), _SKIP_STATISTICS]
    return encode(message, nlmsg.RTM_GETLINK, nlmsg.NLM_F_ACK)


def promote_secondaries_request(sequence: int, link_index: int) -> bytes:
    """Return the request that switches ``promote_secondaries`` on for one interface.

    The same as writing 1 to ``net.ipv4.conf.<name>.promote_secondaries``, but it needs no
    writable ``/proc/sys``, which a container seldom has.
    """
    value = nlmsg.attribute(_DEVCONF_PROMOTE_SECONDARIES, (1).to_bytes(4, sys.byteorder))
    inet = {"attrs": [("IFLA_INET_CONF", value)]}
    message = LinkMessage()
    message["attrs"] = [("IFLA_AF_SPEC", {"attrs": [("AF_INET", inet)]})]
    request = encode(message, nlmsg.RTM_SETLINK, nlmsg.NLM_F_ACK, index=link_index)
    return nlmsg.numbered(request, sequence)


def decode(buffer: nlmsg.Buffer, start: int, end: int) -> Link | None:
    """Return the interface that an ``RTM_NEWLINK`` or ``RTM_DELLINK`` message is about.

    None for messages that make no sense, and for those of the bridge code, which reports ports
    under a family of its own.
    """
    body = start + nlmsg.HEADER.size
    if end - body < _BODY or buffer[body] != 0:
        return None
    attributes = nlmsg.attributes_of(buffer, body + _BODY, end, _KINDS)
    return _link(bytes(buffer[body : body + _BODY]) + attributes)


@lru_cache(maxsize=1024)
def _link(body: bytes) -> Link | None:
    """Return what a message says; from one look to the next hardly an interface changes."""
    message = LinkMessage(nlmsg.message(nlmsg.RTM_NEWLINK, 0, 0, body))
    try:
        message.decode()
        return _decoded(message)
    except ODD:
        return None


def _decoded(message: Any) -> Link | None:  # noqa: ANN401 - pyroute2 is untyped
    name = (message.get_attr("IFLA_IFNAME") or b"").split(b"\0", 1)[0]
    if not name:
        return None
    flags = message["flags"]
    up = flags & _IFF_UP != 0
    return Link(
        index=message["index"],
        name=name.decode("utf-8", "surrogateescape"),
        mac=message.get_attr("IFLA_ADDRESS") or b"",
        up=up,
        carrier=up and flags & _IFF_LOWER_UP != 0,
        announces=(
            message["ifi_type"] == _ARPHRD_ETHER and flags & (_IFF_LOOPBACK | _IFF_NOARP) == 0
        ),
        carrier_losses=message.get_attr("IFLA_CARRIER_DOWN_COUNT") or 0,
        mtu=message.get_attr("IFLA_MTU") or 0,
        promotes_secondaries=_promotes_secondaries(message.get_attr("IFLA_AF_SPEC")),
    )


def _promotes_secondaries(families: Any) -> bool:  # noqa: ANN401 - pyroute2 is untyped
    inet = families.get_attr("AF_INET") if families else None
    settings = (inet.get_attr("IFLA_INET_CONF") if inet else None) or b""
    return any(settings[4 * (_DEVCONF_PROMOTE_SECONDARIES - 1) : 4 * _DEVCONF_PROMOTE_SECONDARIES])
