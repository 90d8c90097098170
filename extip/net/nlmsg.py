"""Pure: netlink message framing (netlink(7)), the part that addresses and links share.

Guarantee: no function here raises on odd input from the kernel. A message or attribute whose
length runs past its container ends the iteration; what came before it is delivered.
"""

import struct
from collections.abc import Iterator

HEADER = struct.Struct("=IHHII")
"""``struct nlmsghdr``: length, type, flags, sequence number, port of the sender."""

_ATTRIBUTE = struct.Struct("=HH")
_ERRNO = struct.Struct("=i")
_NUMBER = struct.Struct("=I")

NLMSG_ERROR = 2
NLMSG_DONE = 3

NLM_F_REQUEST = 0x1
NLM_F_ACK = 0x4
NLM_F_DUMP_INTR = 0x10
NLM_F_REPLACE = 0x100
NLM_F_EXCL = 0x200
NLM_F_DUMP = 0x300
NLM_F_CREATE = 0x400

RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK, RTM_SETLINK = 16, 17, 18, 19
RTM_NEWADDR, RTM_DELADDR, RTM_GETADDR = 20, 21, 22
RTM_NEWROUTE, RTM_DELROUTE, RTM_GETROUTE = 24, 25, 26
RTM_NEWNEXTHOP, RTM_DELNEXTHOP, RTM_GETNEXTHOP = 104, 105, 106

NLA_F_NESTED = 0x8000

_TYPE_MASK = 0x3FFF  # without NLA_F_NESTED and NLA_F_NET_BYTEORDER
_SEQUENCE_AT = 8

Buffer = bytes | bytearray | memoryview


Message = tuple[int, int, int, int, int, int]
"""Type, flags, sequence number, port of the sender; offset of the header, and of the end."""


def messages(buffer: Buffer) -> Iterator[Message]:
    """Yield the complete messages of one received datagram, in order."""
    offset, size = 0, len(buffer)
    while offset + HEADER.size <= size:
        length, kind, flags, sequence, port = HEADER.unpack_from(buffer, offset)
        end = offset + length
        if length < HEADER.size or end > size:
            return
        yield kind, flags, sequence, port, offset, end
        offset += (length + 3) & ~3


def attributes(buffer: Buffer, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Yield ``(type, first byte, byte behind the last)`` of each attribute between two offsets."""
    while start + _ATTRIBUTE.size <= end:
        length, kind = _ATTRIBUTE.unpack_from(buffer, start)
        if length < _ATTRIBUTE.size or start + length > end:
            return
        yield kind & _TYPE_MASK, start + _ATTRIBUTE.size, start + length
        start += (length + 3) & ~3


def attributes_of(buffer: Buffer, start: int, end: int, kinds: frozenset[int]) -> bytes:
    """Return the attributes of some kinds, of those between two offsets, as they are."""
    found = b""
    for kind, first, behind in attributes(buffer, start, end):
        if kind in kinds:
            found += bytes(buffer[first - _ATTRIBUTE.size : behind]) + b"\0" * (
                -(behind - first) % 4
            )
    return found


def attribute(kind: int, payload: bytes) -> bytes:
    """Return one attribute, padded to four bytes."""
    padding = b"\0" * (-len(payload) % 4)
    return _ATTRIBUTE.pack(_ATTRIBUTE.size + len(payload), kind) + payload + padding


def message(kind: int, flags: int, sequence: int, body: bytes) -> bytes:
    """Return one request with its header."""
    return HEADER.pack(HEADER.size + len(body), kind, NLM_F_REQUEST | flags, sequence, 0) + body


def numbered(request: bytes, sequence: int) -> bytes:
    """Return the same request with another sequence number."""
    number = _NUMBER.pack(sequence)
    return request[:_SEQUENCE_AT] + number + request[_SEQUENCE_AT + _NUMBER.size :]


def error_of(buffer: Buffer, start: int, end: int) -> int:
    """Return the errno that an ``NLMSG_ERROR`` or ``NLMSG_DONE`` message carries; 0 for none."""
    if end - start < HEADER.size + _ERRNO.size:
        return 0
    code: int = _ERRNO.unpack_from(buffer, start + HEADER.size)[0]
    return -code if code < 0 else 0
