"""Pure: the Ethernet frames by which a node says that it has an IP, and asks who has one.

A gratuitous ARP comes in two forms, and some stations listen to only one of them: the request
form is the announcement of RFC 5227 section 3, the reply form that of RFC 5944 section 4.6. Its
counterpart in IPv6 is the unsolicited neighbour advertisement of RFC 4861 section 7.2.6.

`parse` never raises: what is not a sound ARP or neighbour discovery frame is None.
"""

import struct
from ipaddress import IPv4Address, IPv6Address

from extip.net.interfaces import IPAddress
from extip.net.neighbour_events import FrameKind, NeighbourEvent

ETH_P_ARP, ETH_P_IPV6 = 0x0806, 0x86DD

_ETHERNET = struct.Struct("!6s6sH")
_ARP = struct.Struct("!HHBBH6s4s6s4s")
_IPV6 = struct.Struct("!IHBB16s16s")
_NDP = struct.Struct("!BBHI16s")
_OPTION = struct.Struct("!BB6s")

_ARP_HARDWARE, _ARP_IPV4 = 1, 0x0800
_ARP_REQUEST, _ARP_REPLY = 1, 2
_ARP_AT, _NDP_AT = _ETHERNET.size, _ETHERNET.size + _IPV6.size

_ICMPV6, _HOP_LIMIT = 58, 255  # RFC 4861 section 7.1: anything below 255 came through a router
_OPTIONS = frozenset({0, 60})  # headers before the message: hop-by-hop and destination options
_SOLICITATION, _ADVERTISEMENT = 135, 136
_OVERRIDE = 0x20000000
_SOURCE_LINK_LAYER, _TARGET_LINK_LAYER = 1, 2

_BROADCAST = b"\xff" * 6
_NO_MAC = bytes(6)
_ALL_NODES = IPv6Address("ff02::1").packed
_ALL_NODES_MAC = b"\x33\x33\x00\x00\x00\x01"
_SOLICITED_NODE = IPv6Address("ff02::1:ff00:0").packed[:13]
_UNSPECIFIED = bytes(16)


def announcement(ip: IPAddress, mac: bytes, *, reply: bool = False) -> bytes:
    """Return the frame that tells all neighbours that `ip` is at `mac`.

    `reply` chooses the reply form of gratuitous ARP; in IPv6 there is one form only.
    """
    if isinstance(ip, IPv4Address):
        if reply:
            return _arp(_ARP_REPLY, mac, ip.packed, mac, ip.packed)
        return _arp(_ARP_REQUEST, mac, ip.packed, _NO_MAC, ip.packed)
    option = _OPTION.pack(_TARGET_LINK_LAYER, 1, mac)
    message = _NDP.pack(_ADVERTISEMENT, 0, 0, _OVERRIDE, ip.packed) + option
    return _icmpv6(_ALL_NODES_MAC, mac, ip.packed, _ALL_NODES, message)


def probe(ip: IPAddress, mac: bytes) -> bytes:
    """Return the frame that asks who has `ip` without claiming it.

    RFC 5227 section 2.1.1 for IPv4, RFC 4862 section 5.4.2 for IPv6.
    """
    if isinstance(ip, IPv4Address):
        return _arp(_ARP_REQUEST, mac, bytes(4), _NO_MAC, ip.packed)
    group = _SOLICITED_NODE + ip.packed[13:]
    message = _NDP.pack(_SOLICITATION, 0, 0, 0, ip.packed)
    return _icmpv6(b"\x33\x33" + group[12:], mac, _UNSPECIFIED, group, message)


def question(ip: IPAddress, mac: bytes, source: IPAddress, to: bytes = b"") -> bytes:
    """Return the frame by which the station with `source` asks a neighbour for its MAC.

    As the kernel itself asks: RFC 826, and RFC 4861 section 7.2.2. With the MAC of that neighbour
    in `to` nobody else hears it (section 7.3.1, and RFC 1122 section 2.3.2.1).
    """
    if isinstance(ip, IPv4Address):
        return _arp(_ARP_REQUEST, mac, source.packed, _NO_MAC, ip.packed, to=to or _BROADCAST)
    group = ip.packed if to else _SOLICITED_NODE + ip.packed[13:]
    option = _OPTION.pack(_SOURCE_LINK_LAYER, 1, mac)
    message = _NDP.pack(_SOLICITATION, 0, 0, 0, ip.packed) + option
    return _icmpv6(to or b"\x33\x33" + group[12:], mac, source.packed, group, message)


def parse(frame: bytes) -> NeighbourEvent | None:
    """Return what a received frame says about an IP; None when it says nothing sound."""
    if len(frame) < _ETHERNET.size:
        return None
    _, source, kind = _ETHERNET.unpack_from(frame)
    if kind == ETH_P_ARP:
        return _parse_arp(frame)
    if kind == ETH_P_IPV6:
        return _parse_ndp(frame, source)
    return None


def _arp(
    operation: int,
    mac: bytes,
    sender: bytes,
    target_mac: bytes,
    target: bytes,
    *,
    to: bytes = _BROADCAST,
) -> bytes:
    return _ETHERNET.pack(to, mac, ETH_P_ARP) + _ARP.pack(
        _ARP_HARDWARE, _ARP_IPV4, 6, 4, operation, mac, sender, target_mac, target
    )


def _icmpv6(to: bytes, mac: bytes, source: bytes, destination: bytes, message: bytes) -> bytes:
    checksum = _checksum(source, destination, message)
    return b"".join((
        _ETHERNET.pack(to, mac, ETH_P_IPV6),
        _IPV6.pack(0x60000000, len(message), _ICMPV6, _HOP_LIMIT, source, destination),
        message[:2],
        checksum.to_bytes(2, "big"),
        message[4:],
    ))  # fmt: skip


def _checksum(source: bytes, destination: bytes, message: bytes) -> int:
    """Return the checksum of RFC 4443 section 2.3; 0 for a message that carries a right one."""
    pseudo = source + destination + struct.pack("!II", len(message), _ICMPV6) + message
    if len(pseudo) % 2:
        pseudo += b"\0"
    # Ones' complement addition of 16-bit words is arithmetic modulo 65535 (RFC 1071).
    return 0xFFFF - (int.from_bytes(pseudo, "big") % 0xFFFF or 0xFFFF)


def _parse_arp(frame: bytes) -> NeighbourEvent | None:
    if len(frame) < _ARP_AT + _ARP.size:
        return None
    hardware, protocol, hlen, plen, operation, mac, sender, _, target = _ARP.unpack_from(
        frame, _ARP_AT
    )
    if (hardware, protocol, hlen, plen) != (_ARP_HARDWARE, _ARP_IPV4, 6, 4):
        return None
    if operation not in (_ARP_REQUEST, _ARP_REPLY):
        return None
    if sender != bytes(4):
        return NeighbourEvent(IPv4Address(sender), mac, FrameKind.ANNOUNCEMENT)
    if operation == _ARP_REQUEST:
        return NeighbourEvent(IPv4Address(target), mac, FrameKind.PROBE)
    return None


def _parse_ndp(frame: bytes, mac: bytes) -> NeighbourEvent | None:
    message, source = _sound_icmpv6(frame)
    if len(message) < _NDP.size:
        return None
    kind, code, _, _, target = _NDP.unpack_from(message)
    if code != 0 or kind not in (_SOLICITATION, _ADVERTISEMENT):
        return None
    if kind == _ADVERTISEMENT:
        stated = _link_layer_option(message, _TARGET_LINK_LAYER)
        return NeighbourEvent(IPv6Address(target), stated or mac, FrameKind.ANNOUNCEMENT)
    if source == _UNSPECIFIED:
        return NeighbourEvent(IPv6Address(target), mac, FrameKind.PROBE)
    stated = _link_layer_option(message, _SOURCE_LINK_LAYER)
    return NeighbourEvent(IPv6Address(source), stated or mac, FrameKind.ANNOUNCEMENT)


def _sound_icmpv6(frame: bytes) -> tuple[bytes, bytes]:
    """Return message and source of an ICMPv6 frame from this segment; no message if unsound."""
    if len(frame) < _NDP_AT:
        return b"", b""
    _, size, following, hops, source, destination = _IPV6.unpack_from(frame, _ARP_AT)
    message = frame[_NDP_AT : _NDP_AT + size]
    if hops != _HOP_LIMIT or len(message) != size:
        return b"", b""
    while following in _OPTIONS and len(message) > _NDP.size:
        following, message = message[0], message[8 * (message[1] + 1) :]
    if following != _ICMPV6 or _checksum(source, destination, message) != 0:
        return b"", b""
    return message, source


def _link_layer_option(message: bytes, wanted: int) -> bytes:
    """Return the MAC in that option, or nothing."""
    place = _NDP.size
    while place + 8 <= len(message):
        kind, units = message[place], message[place + 1]
        if units == 0:  # RFC 4861 section 4.6: such a message is to be discarded
            return b""
        if kind == wanted and units == 1:
            return message[place + 2 : place + 8]
        place += 8 * units
    return b""
