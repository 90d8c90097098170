"""Pure: the messages of nf_tables (``linux/netfilter/nf_tables.h``) that close ports of IPs.

They make what this text makes::

    table inet extip {
        set external4 { type ipv4_addr; flags timeout; }
        set external6 { type ipv6_addr; flags timeout; }
        chain input {
            type filter hook input priority 200; policy accept;
            ct direction reply accept
            meta nfproto ipv4 meta l4proto != icmp ip daddr @external4 drop
            meta nfproto ipv6 meta l4proto != ipv6-icmp ip6 daddr @external6 drop
        }
    }

The chain comes after ipvs (priority 98), which takes packets of services off the hook. All messages
of a request are one transaction: the kernel makes all of them or none.
"""

import socket
import struct
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from extip.net import nlmsg
from extip.net.interfaces import IPAddress

TABLE = "extip"
_CHAIN, _PRIORITY = "input", 200

_BODY = struct.Struct(">BBH")  # struct nfgenmsg: family, version, resource
_NUMBER, _LONG = struct.Struct(">I"), struct.Struct(">Q")
_SUBSYSTEM = 10  # NFNL_SUBSYS_NFTABLES
_BEGIN, _END = 16, 17  # NFNL_MSG_BATCH_BEGIN, NFNL_MSG_BATCH_END
_NEW_TABLE, _DELETE_TABLE, _NEW_CHAIN, _NEW_RULE, _DELETE_RULE = 0, 2, 3, 6, 8
_NEW_SET, _NEW_ELEMENTS, _DELETE_ELEMENTS = 9, 12, 14
_INET = 1  # NFPROTO_INET
_APPEND = 0x800  # NLM_F_APPEND
_ITEM, _VALUE, _VERDICT = 1, 1, 2  # NFTA_LIST_ELEM, NFTA_DATA_VALUE, NFTA_DATA_VERDICT
_HAS_TIMEOUT = 0x10  # NFT_SET_TIMEOUT
_LOCAL_IN = 1
_DROP, _ACCEPT = 0, 1
_REGISTER = _NUMBER.pack(1)
_EQUAL, _DIFFERENT = _NUMBER.pack(0), _NUMBER.pack(1)
_NFPROTO, _L4PROTO = _NUMBER.pack(15), _NUMBER.pack(16)  # NFT_META_NFPROTO, NFT_META_L4PROTO
_DIRECTION, _REPLY = _NUMBER.pack(1), b"\1"  # NFT_CT_DIRECTION, IP_CT_DIR_REPLY
_NETWORK_HEADER = _NUMBER.pack(1)

_SEQUENCE = 1
_AT_ONCE = 500
"""Elements of a message: its attributes have at most 64 KiB."""


@dataclass(frozen=True, slots=True)
class _Family:
    name: str
    version: int
    key_type: int
    """The number that nft(8) knows the type of the set by."""
    size: int
    """Bytes of an address."""
    offset: int
    """Where the destination is in the header."""
    protocol: int
    icmp: int


_FAMILIES = (
    _Family("external4", 4, 7, 4, 16, socket.AF_INET, socket.IPPROTO_ICMP),
    _Family("external6", 6, 8, 16, 24, socket.AF_INET6, socket.IPPROTO_ICMPV6),
)


def setup_request(ips: Collection[IPAddress], *, lifetime_s: float) -> bytes:
    """Return the request that makes the table anew, whatever was there, with these IPs."""
    return _transaction(
        [
            _message(_NEW_TABLE, nlmsg.NLM_F_CREATE, _text(1, TABLE)),
            _message(_DELETE_TABLE, 0, _text(1, TABLE)),
            _message(_NEW_TABLE, nlmsg.NLM_F_CREATE, _text(1, TABLE)),
            *(_set(family) for family in _FAMILIES),
            _chain(),
            *_rules(),
            *_elements(ips, lifetime_s),
        ]
    )


def refresh_request(ips: Collection[IPAddress], *, lifetime_s: float) -> bytes:
    """Return the request that has exactly these IPs in the sets, for so long from now on.

    The rules are made anew: somebody may have flushed them (``nft flush table``). It fails when the
    table, a set or the chain is missing (``ENOENT``).
    """
    flushed = _message(_DELETE_RULE, 0, _text(1, TABLE) + _text(2, _CHAIN))
    return _transaction([*_emptied(), flushed, *_rules(), *_elements(ips, lifetime_s)])


def removal_request() -> bytes:
    """Return the request that deletes the table; it fails when there is none (``ENOENT``)."""
    return _transaction([_message(_DELETE_TABLE, 0, _text(1, TABLE))])


def leftover_request() -> bytes:
    """Return the request that deletes a table with our sets; without them, it fails (``ENOENT``).

    So the table of another program that has the same name stays.
    """
    return _transaction([*_emptied(), _message(_DELETE_TABLE, 0, _text(1, TABLE))])


SEQUENCE = _SEQUENCE
"""The sequence number of the requests; the first error, or one confirmation, answers it."""


def _transaction(messages: Sequence[tuple[int, int, bytes]]) -> bytes:
    frame = _BODY.pack(socket.AF_UNSPEC, 0, _SUBSYSTEM)
    last = len(messages) - 1
    made = [
        nlmsg.message(kind, flags | (nlmsg.NLM_F_ACK if at == last else 0), _SEQUENCE, body)
        for at, (kind, flags, body) in enumerate(messages)
    ]
    begin, end = (nlmsg.message(kind, 0, _SEQUENCE, frame) for kind in (_BEGIN, _END))
    return begin + b"".join(made) + end


def _message(kind: int, flags: int, attributes: bytes) -> tuple[int, int, bytes]:
    return _SUBSYSTEM << 8 | kind, flags, _BODY.pack(_INET, 0, 0) + attributes


def _set(family: _Family) -> tuple[int, int, bytes]:
    numbers = ((3, _HAS_TIMEOUT), (4, family.key_type), (5, family.size), (10, family.version))
    attributes = b"".join(nlmsg.attribute(kind, _NUMBER.pack(number)) for kind, number in numbers)
    named = _text(1, TABLE) + _text(2, family.name)
    return _message(_NEW_SET, nlmsg.NLM_F_CREATE, named + attributes)


def _chain() -> tuple[int, int, bytes]:
    hook = nlmsg.attribute(1, _NUMBER.pack(_LOCAL_IN)) + nlmsg.attribute(2, _NUMBER.pack(_PRIORITY))
    policy = nlmsg.attribute(5, _NUMBER.pack(_ACCEPT))
    named = _text(1, TABLE) + _text(3, _CHAIN)
    attributes = named + _nested(4, hook) + policy + _text(7, "filter")
    return _message(_NEW_CHAIN, nlmsg.NLM_F_CREATE, attributes)


def _rules() -> Iterator[tuple[int, int, bytes]]:
    """Yield all rules of the chain, in order."""
    yield _rule(_expression("ct", (1, _REGISTER), (2, _DIRECTION)), _compare(_REPLY), _ACCEPT)
    for family in _FAMILIES:
        yield _closing_rule(family)


def _closing_rule(family: _Family) -> tuple[int, int, bytes]:
    """Return the rule that drops packets to the IPs of a family, apart from ICMP."""
    offset, size = _NUMBER.pack(family.offset), _NUMBER.pack(family.size)
    load = ((1, _REGISTER), (2, _NETWORK_HEADER), (3, offset), (4, size))
    name = family.name.encode() + b"\0"
    return _rule(
        _expression("meta", (1, _REGISTER), (2, _NFPROTO)),
        _compare(bytes([family.protocol])),
        _expression("meta", (1, _REGISTER), (2, _L4PROTO)),
        _compare(bytes([family.icmp]), _DIFFERENT),
        _expression("payload", *load),
        _expression("lookup", (1, name), (2, _REGISTER)),
        _DROP,
    )


def _rule(*parts: bytes | int) -> tuple[int, int, bytes]:
    """Return a rule of expressions, of which the last one is a verdict."""
    expressions = b"".join(part if isinstance(part, bytes) else _verdict(part) for part in parts)
    attributes = _text(1, TABLE) + _text(2, _CHAIN) + _nested(4, expressions)
    return _message(_NEW_RULE, nlmsg.NLM_F_CREATE | _APPEND, attributes)


def _verdict(code: int) -> bytes:
    data = _nested(_VERDICT, nlmsg.attribute(1, _NUMBER.pack(code)))
    to_verdict = nlmsg.attribute(1, _NUMBER.pack(0))
    return _named_expression("immediate", to_verdict + _nested(2, data))


def _compare(value: bytes, operator: bytes = _EQUAL) -> bytes:
    fixed = nlmsg.attribute(1, _REGISTER) + nlmsg.attribute(2, operator)
    return _named_expression("cmp", fixed + _nested(3, nlmsg.attribute(_VALUE, value)))


def _expression(name: str, *attributes: tuple[int, bytes]) -> bytes:
    return _named_expression(name, b"".join(nlmsg.attribute(k, value) for k, value in attributes))


def _named_expression(name: str, data: bytes) -> bytes:
    return _nested(_ITEM, _text(1, name) + _nested(2, data))


def _emptied() -> Iterator[tuple[int, int, bytes]]:
    for family in _FAMILIES:
        yield _message(_DELETE_ELEMENTS, 0, _text(1, TABLE) + _text(2, family.name))


def _elements(ips: Collection[IPAddress], lifetime_s: float) -> Iterator[tuple[int, int, bytes]]:
    timeout = nlmsg.attribute(4, _LONG.pack(round(lifetime_s * 1000)))
    for family in _FAMILIES:
        mine = sorted(ip.packed for ip in ips if ip.version == family.version)
        for first in range(0, len(mine), _AT_ONCE):
            listed = b"".join(
                _nested(_ITEM, _nested(1, nlmsg.attribute(_VALUE, packed)) + timeout)
                for packed in mine[first : first + _AT_ONCE]
            )
            named = _text(1, TABLE) + _text(2, family.name)
            yield _message(_NEW_ELEMENTS, nlmsg.NLM_F_CREATE, named + _nested(3, listed))


def _text(kind: int, text: str) -> bytes:
    return nlmsg.attribute(kind, text.encode() + b"\0")


def _nested(kind: int, attributes: bytes) -> bytes:
    return nlmsg.attribute(kind | nlmsg.NLA_F_NESTED, attributes)
