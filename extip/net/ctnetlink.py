"""Pure: the messages of ctnetlink (``linux/netfilter/nfnetlink_conntrack.h``) that flows need.

Not pyroute2's, because whoever forges senders decides how many there are: to read an entry and
write its deletion takes pyroute2 0.7 ms and this module 0.06, and one look may meet 10,000.

Guarantee: as in `nlmsg`, nothing raises on odd input; what makes no sense is no flow.
"""

import socket
import struct
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from extip.net import nlmsg
from extip.net.interfaces import IPAddress

_SUBSYSTEM = 1 << 8  # NFNL_SUBSYS_CTNETLINK
_NEW, _GET, _DELETE = _SUBSYSTEM | 0, _SUBSYSTEM | 1, _SUBSYSTEM | 2
_BODY = struct.Struct(">BBH")  # struct nfgenmsg: family, version, resource
_NESTED = 0x8000
_HOST = struct.Struct("=I")
_NETWORK = struct.Struct(">I")

_ORIGINAL, _REPLY, _STATUS, _ID, _FILTER, _STATUS_MASK = 1, 2, 3, 12, 25, 26
_TUPLE_IP, _TUPLE_PROTOCOL = 1, 2
_FROM, _TO = {4: 1, 16: 3}, {4: 2, 16: 4}  # CTA_IP_V4_SRC and so on, by the size of an address
_PROTOCOL, _SOURCE_PORT, _TARGET_PORT = 1, 2, 3
_FILTER_ORIGINAL = 1
_BY_PROTOCOL = 1 << 3  # CTA_FILTER_FLAG(CTA_PROTO_NUM)
_DST_NAT = 1 << 5  # IPS_DST_NAT

_TO_ATTRIBUTES = nlmsg.HEADER.size + _BODY.size + 4 * 4  # heads of the tuple, its IPs, each of two
_SENT_TO_AT = {
    4: (_TO_ATTRIBUTES + 4, _TO_ATTRIBUTES + 8),
    6: (_TO_ATTRIBUTES + 16, _TO_ATTRIBUTES + 32),
}

_FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}


@dataclass(frozen=True, slots=True)
class Flow:
    """An entry for UDP that goes where it was sent to, untranslated."""

    to: IPAddress
    identity: bytes
    """The attributes that identify it to the kernel."""


def untranslated_request(sequence: int, version: int) -> bytes:
    """Return the request for the UDP entries of an IP version whose target was not translated.

    Kernels before 5.8 and 5.15 do not know these filters and send more.
    """
    protocol = nlmsg.attribute(_PROTOCOL, bytes([socket.IPPROTO_UDP]))
    body = (
        _BODY.pack(_FAMILIES[version], 0, 0)
        + nlmsg.attribute(_ORIGINAL | _NESTED, nlmsg.attribute(_TUPLE_PROTOCOL | _NESTED, protocol))
        + nlmsg.attribute(
            _FILTER | _NESTED, nlmsg.attribute(_FILTER_ORIGINAL, _HOST.pack(_BY_PROTOCOL))
        )
        + nlmsg.attribute(_STATUS, _NETWORK.pack(0))
        + nlmsg.attribute(_STATUS_MASK, _NETWORK.pack(_DST_NAT))
    )
    return nlmsg.message(_GET, nlmsg.NLM_F_DUMP, sequence, body)


def delete_request(sequence: int, flow: Flow) -> bytes:
    """Return the request to delete that entry, and not one that has taken its place."""
    body = _BODY.pack(_FAMILIES[flow.to.version], 0, 0) + flow.identity
    return nlmsg.message(_DELETE, nlmsg.NLM_F_ACK, sequence, body)


def sent_to(buffer: nlmsg.Buffer, start: int, version: int) -> bytes:
    """Return the packed address that an entry's first packet was sent to.

    The kernel puts it at the same place of each message; to read all the rest takes ten times as
    long, and most entries are not about an IP of ours.
    """
    first, behind = _SENT_TO_AT[version]
    return bytes(buffer[start + first : start + behind])


def untranslated(buffer: nlmsg.Buffer, start: int, end: int) -> Flow | None:
    """Return the flow that a message is about; None for TCP, a translated one, or no entry."""
    found = {
        kind: (first, behind)
        for kind, first, behind in nlmsg.attributes(
            buffer, start + nlmsg.HEADER.size + _BODY.size, end
        )
        if kind in (_ORIGINAL, _REPLY, _ID)
    }
    if _ORIGINAL not in found or _REPLY not in found:
        return None
    there, back = (_ends(buffer, *found[kind]) for kind in (_ORIGINAL, _REPLY))
    if there is None or back is None or there[1] != back[0]:
        return None
    address = there[1][0]
    identity = b"".join(
        nlmsg.attribute(kind if kind == _ID else kind | _NESTED, bytes(buffer[slice(*found[kind])]))
        for kind in (_ORIGINAL, _ID)
        if kind in found
    )
    return Flow(IPv4Address(address) if len(address) == 4 else IPv6Address(address), identity)  # noqa: PLR2004


_End = tuple[bytes, bytes]
"""An address and a port, as they are on the wire."""


def _ends(buffer: nlmsg.Buffer, start: int, end: int) -> tuple[_End, _End] | None:
    """Return both ends of a UDP tuple."""
    parts = {
        kind: {k: bytes(buffer[f:b]) for k, f, b in nlmsg.attributes(buffer, first, behind)}
        for kind, first, behind in nlmsg.attributes(buffer, start, end)
    }
    ips, ports = parts.get(_TUPLE_IP, {}), parts.get(_TUPLE_PROTOCOL, {})
    if ports.get(_PROTOCOL) != bytes([socket.IPPROTO_UDP]):
        return None
    for size in (4, 16):
        source, target = ips.get(_FROM[size], b""), ips.get(_TO[size], b"")
        if len(source) == len(target) == size:
            return (
                (source, ports.get(_SOURCE_PORT, b"")),
                (target, ports.get(_TARGET_PORT, b"")),
            )
    return None
