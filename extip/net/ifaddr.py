"""Pure: encodes changes of addresses into netlink messages, and decodes what the kernel reports.

What an address of ours looks like, and why:

- **Mark.** ``IFA_PROTO`` (Linux 5.18) says who put an address there; 225 is ours. (0 to 3 are the
  kernel's, 18 is keepalived's.) On older kernels the mark is ``IFA_RT_PRIORITY``, together with a
  lifetime that ends: an address for ever is not ours, whatever its metric.
- **Metric.** ``IFA_RT_PRIORITY`` is set on every kernel and in both families. It gives the subnet
  route that an address shorter than /32 or /128 brings along a metric of its own. Otherwise it
  would be the very route of the node's own address in that subnet: our lifetime would be set on
  it, and it would go with our address.
- **Lifetime.** ``valid_lft`` is the time-to-live: the kernel drops the address when nobody
  refreshes it. ``preferred_lft`` is 0 (deprecated, RFC 4862 section 5.5.4): in IPv6 the kernel
  then never picks the address as the source of a connection while it has another one. In IPv4 the
  kernel ignores it. It is 0 there, too: programs that look for the node's own address leave
  deprecated ones out. Also, no second timer then fires in the kernel.
- **Flags.** ``IFA_F_NODAD`` in IPv6: the address answers at once. The kernel resets what a replace
  does not repeat, so a refresh is the same message as the add but for its header flags.
- **Route.** ``IFA_F_NOPREFIXROUTE`` where the plan says so: then the address brings none along.
- **Scope** global, though the kernel would choose no narrower one as a source. In IPv4 it takes no
  two scopes in one subnet (``EINVAL``, also for the node's own address that comes later). Narrower
  ones come first in its list, and it takes the source of multicasts from the front of the list.
- No ``IFA_BROADCAST``: an external IP has no broadcast address of its own to answer to.

A refresh of an address that is not there creates it, in IPv4 and in IPv6; a refresh in IPv6 takes
over an address with the same IP and any prefix length, whoever put it there. So who refreshes
must have seen the address, with our mark, just before.

The kernel compares IP *and* prefix length for ``EEXIST`` in IPv4, the IP alone in IPv6.
"""

import struct
import sys
from collections.abc import Mapping, Sequence
from enum import Enum
from ipaddress import IPv4Interface, IPv6Interface
from socket import AF_INET, AF_INET6

from extip.net import nlmsg
from extip.net.interfaces import Change, IPInterface, ObservedAddress, Operation

MARK_PROTOCOL = 225
"""Our value of ``IFA_PROTO``."""

MARK_METRIC = 225_225
"""Our value of ``IFA_RT_PRIORITY``: the metric of subnet routes that our addresses bring along."""

_PROTOCOL_SINCE = (5, 18)

_FAMILY_HEADER = struct.Struct("=BBBBI")  # struct ifaddrmsg: family, prefix, flags, scope, index
_BODY = nlmsg.HEADER.size + _FAMILY_HEADER.size
_FLAGS, _FLAGS_AT = struct.Struct("=H"), 6  # nlmsg_flags in the message
_U32 = struct.Struct("=I")
_U32_AT_4 = struct.Struct("=4xI")
_CACHEINFO = struct.Struct("=IIII")  # preferred, valid, created, updated

_IFA_ADDRESS, _IFA_LOCAL, _IFA_CACHEINFO, _IFA_FLAGS = 1, 2, 6, 8
_IFA_RT_PRIORITY, _IFA_PROTO = 9, 11

_IFA_F_NODAD, _IFA_F_DADFAILED, _IFA_F_TENTATIVE = 0x02, 0x08, 0x40
_IFA_F_SECONDARY, _IFA_F_NOPREFIXROUTE = 0x01, 0x200  # in IPv6 the first means temporary

_FOREVER = 0xFFFFFFFF
_V4, _V6 = 4, 6
_IPV4_SIZE, _IPV6_SIZE = 4, 16
_REMEMBERED = 20_000
"""Most addresses that are remembered, some 500 bytes each."""

_REQUEST_FLAGS = {
    Operation.ADD: nlmsg.NLM_F_REQUEST | nlmsg.NLM_F_CREATE | nlmsg.NLM_F_EXCL,
    Operation.REFRESH: nlmsg.NLM_F_REQUEST | nlmsg.NLM_F_REPLACE,
    Operation.DELETE: nlmsg.NLM_F_REQUEST,
}


class Mark(Enum):
    """How this kernel lets us recognise our addresses."""

    PROTOCOL = "protocol"
    """By ``IFA_PROTO``."""
    METRIC = "metric"
    """By ``IFA_RT_PRIORITY``, where the kernel has no ``IFA_PROTO``."""

    def __str__(self) -> str:
        """Return what ``ip -d address`` shows of it: ``proto 225``, ``metric 225225``."""
        return f"metric {MARK_METRIC}" if self is Mark.METRIC else f"proto {MARK_PROTOCOL}"


def mark_for_kernel(release: str) -> Mark:
    """Return the mark for a kernel release such as ``6.1.0-28-amd64`` (``uname -r``).

    A release that cannot be read counts as old: the metric works on every kernel since 4.18.
    """
    numbers = release.split("-", 1)[0].split(".")
    if len(numbers) < 2 or not (numbers[0].isdigit() and numbers[1].isdigit()):  # noqa: PLR2004
        return Mark.METRIC
    return Mark.PROTOCOL if (int(numbers[0]), int(numbers[1])) >= _PROTOCOL_SINCE else Mark.METRIC


class Encoder:
    """Encodes changes; a batch is one datagram."""

    def __init__(self, mark: Mark, *, ttl_s: int) -> None:
        put = nlmsg.attribute(_IFA_CACHEINFO, _CACHEINFO.pack(0, ttl_s, 0, 0))
        put += nlmsg.attribute(_IFA_RT_PRIORITY, _U32.pack(MARK_METRIC))
        if mark is Mark.PROTOCOL:
            put += nlmsg.attribute(_IFA_PROTO, bytes([MARK_PROTOCOL]))
        self._forms = {
            (operation, family, routed): _Form(
                operation, family, put + _flags(family, routed=routed)
            )
            for operation in _REQUEST_FLAGS
            for family in (_V4, _V6)
            for routed in (True, False)
        }

    def batch(self, changes: Sequence[Change], first_sequence: int) -> bytes:
        """Return all changes as consecutive messages, numbered from `first_sequence`.

        Only the last one asks for an acknowledgement; the kernel reports each one that fails. Moves
        must have been taken apart (see `steps`).
        """
        encoded = bytearray()
        start, operation, version, routed = 0, Operation.ADD, _V4, True
        form = self._forms[operation, version, routed]
        for sequence, change in enumerate(changes, start=first_sequence):
            interface = change.interface
            if (
                change.operation is not operation
                or interface.version != version
                or change.routed is not routed
            ):
                operation, version, routed = change.operation, interface.version, change.routed
                form = self._forms[operation, version, routed]  # seldom: hashing an enum takes long
            start = len(encoded)
            encoded += form.message(
                sequence, interface.network.prefixlen, change.link_index, interface.packed
            )
        if encoded:
            (flags,) = _FLAGS.unpack_from(encoded, start + _FLAGS_AT)
            _FLAGS.pack_into(encoded, start + _FLAGS_AT, flags | nlmsg.NLM_F_ACK)
        return bytes(encoded)


def steps(change: Change) -> tuple[Change, ...]:
    """Return the changes that the kernel knows: a move is two. The last one decides about all."""
    if change.operation is not Operation.MOVE:
        return (change,)
    return (
        change._replace(operation=Operation.DELETE),
        change._replace(operation=Operation.ADD),
    )


def _flags(family: int, *, routed: bool) -> bytes:
    flags = _IFA_F_NODAD if family == _V6 else 0
    flags |= 0 if routed else _IFA_F_NOPREFIXROUTE
    return nlmsg.attribute(_IFA_FLAGS, _U32.pack(flags)) if flags else b""


class _Form:
    """All messages of one operation and family: they differ in four fields."""

    __slots__ = ("_family", "_flags", "_kind", "_pack", "_put", "_size", "_word")

    def __init__(self, operation: Operation, version: int, put: bytes) -> None:
        delete = operation is Operation.DELETE
        self._put = b"" if delete else put
        self._kind = nlmsg.RTM_DELADDR if delete else nlmsg.RTM_NEWADDR
        self._flags = _REQUEST_FLAGS[operation]
        self._family, length = (AF_INET, _IPV4_SIZE) if version == _V4 else (AF_INET6, _IPV6_SIZE)
        layout = struct.Struct(f"=IHHIIBBBBIHH{length}sHH{length}s{len(self._put)}s")
        self._pack, self._size, self._word = layout.pack, layout.size, 4 + length

    def message(self, sequence: int, prefix: int, link_index: int, ip: bytes) -> bytes:
        """Return one message."""
        word = self._word
        return self._pack(
            self._size, self._kind, self._flags, sequence, 0,
            self._family, prefix, 0, 0, link_index,
            word, _IFA_LOCAL, ip, word, _IFA_ADDRESS, ip, self._put,
        )  # fmt: skip


def dump_request(sequence: int, link_index: int = 0) -> bytes:
    """Return the request for all addresses, or those of one interface.

    The kernel honours the interface only where ``NETLINK_GET_STRICT_CHK`` is set on the socket.
    """
    body = _FAMILY_HEADER.pack(0, 0, 0, 0, link_index)
    return nlmsg.message(nlmsg.RTM_GETADDR, nlmsg.NLM_F_DUMP, sequence, body)


_Attributes = Mapping[int, tuple[int, bytes]]
"""The attributes of a message by kind: where the value of each begins, and the value."""

_ABSENT = (0, b"")


class Decoder:
    """Decodes ``RTM_NEWADDR`` and ``RTM_DELADDR``; remembers what it met.

    From one dump to the next hardly anything of an address changes but its ``IFA_CACHEINFO``. So
    what was decoded is kept under all the other bytes of its message, which takes a third of the
    time that decoding takes. The key proves itself: bytes before the lifetimes that equal those
    of a decoded message lay out the same attributes.
    """

    def __init__(self, mark: Mark) -> None:
        self._mark = mark
        self._lifetimes: dict[int, int] = {}  # offset of the lifetimes by length of the message
        self._known: dict[tuple[bytes, bytes], ObservedAddress] = {}

    def decode(self, buffer: nlmsg.Buffer, start: int, end: int) -> ObservedAddress | None:
        """Return the address that the message between two offsets of a buffer is about.

        None for families other than IPv4 and IPv6, and for messages that make no sense.
        """
        lifetimes = start + self._lifetimes.get(end - start, 0)
        if lifetimes > start:
            key = (
                bytes(buffer[start + nlmsg.HEADER.size : lifetimes]),
                bytes(buffer[lifetimes + _CACHEINFO.size : end]),
            )
            known = self._known.get(key)
            if known is not None:
                valid = _valid_s(buffer, lifetimes)
                if known.valid_s == valid:
                    return known
                if (known.valid_s is None) == (valid is None):  # else it may be somebody else's
                    self._known[key] = known = _with_lifetime(known, valid)
                    return known
        return self._learn(buffer, start, end)

    def _learn(self, buffer: nlmsg.Buffer, start: int, end: int) -> ObservedAddress | None:
        """Decode a message, and keep the result for the next one like it."""
        if end - start < _BODY:
            return None
        header = _FAMILY_HEADER.unpack_from(buffer, start + nlmsg.HEADER.size)
        found = {
            kind: (first, bytes(buffer[first:behind]))
            for kind, first, behind in nlmsg.attributes(buffer, start + _BODY, end)
        }
        address = self._address(header, found)
        lifetimes, raw = found.get(_IFA_CACHEINFO, _ABSENT)
        if address is not None and len(raw) == _CACHEINFO.size:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            self._lifetimes[end - start] = lifetimes - start
            key = bytes(buffer[start + nlmsg.HEADER.size : lifetimes])
            self._known[key, bytes(buffer[lifetimes + _CACHEINFO.size : end])] = address
        return address

    def _address(self, header: tuple[int, ...], found: _Attributes) -> ObservedAddress | None:
        """Return the address with these attributes; None when it makes no sense."""
        _, prefix, flags, _, index = header
        far = found.get(_IFA_ADDRESS, _ABSENT)[1]
        ip = found.get(_IFA_LOCAL, (0, far))[1]
        interface = _interface(ip, prefix)
        if interface is None:
            return None
        other = _interface(far, prefix) if far != ip else None  # IPv4 names itself in both
        if _IFA_FLAGS in found:
            flags = int.from_bytes(found[_IFA_FLAGS][1], sys.byteorder)
        raw = found.get(_IFA_CACHEINFO, _ABSENT)[1]
        valid_s = _valid_s(raw, 0) if len(raw) == _CACHEINFO.size else None
        return ObservedAddress(
            interface=interface,
            link_index=index,
            ours=self._is_ours(found, ends=valid_s is not None),
            valid_s=valid_s,
            tentative=flags & (_IFA_F_TENTATIVE | _IFA_F_DADFAILED) != 0,
            peer=other and other.ip,
            secondary=interface.version == _V4 and flags & _IFA_F_SECONDARY != 0,
            routed=flags & _IFA_F_NOPREFIXROUTE == 0,
        )

    def _is_ours(self, found: _Attributes, *, ends: bool) -> bool:
        """Whether an address has our mark; `ends`: its lifetime does."""
        if self._mark is Mark.PROTOCOL:
            return found.get(_IFA_PROTO, _ABSENT)[1] == bytes([MARK_PROTOCOL])
        return ends and found.get(_IFA_RT_PRIORITY, _ABSENT)[1] == _U32.pack(MARK_METRIC)


def _with_lifetime(address: ObservedAddress, valid_s: int | None) -> ObservedAddress:
    """Return the same address with another remaining lifetime."""
    return ObservedAddress(
        interface=address.interface,
        link_index=address.link_index,
        ours=address.ours,
        valid_s=valid_s,
        tentative=address.tentative,
        peer=address.peer,
        secondary=address.secondary,
        routed=address.routed,
    )


def _valid_s(buffer: nlmsg.Buffer, lifetimes: int) -> int | None:
    valid_s: int = _U32_AT_4.unpack_from(buffer, lifetimes)[0]
    return None if valid_s == _FOREVER else valid_s


def _interface(ip: bytes, prefix: int) -> IPInterface | None:
    if prefix > 8 * len(ip):
        return None
    if len(ip) == _IPV4_SIZE:
        return IPv4Interface((ip, prefix))
    if len(ip) == _IPV6_SIZE:
        return IPv6Interface((ip, prefix))
    return None
