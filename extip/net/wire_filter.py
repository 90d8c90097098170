"""Pure: which frames reach the conflict watch and the prober, as programs for the kernel.

To the watch passes only what another station says about IPs that are up here; the thousands of
questions and announcements about others on a large segment are dropped before anything is queued
or woken. A program has room for `RANGES` ranges of addresses. Where the IPs make more, the nearest
ones are joined: then frames about IPs between them pass as well, and are sorted out by whoever
reads them.
"""

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv6Address
from itertools import pairwise

from extip.net.bpf import (
    ACCEPT,
    DROP,
    JUMP,
    JUMP_EQUAL,
    JUMP_GREATER,
    JUMP_NOT_LESS,
    LOAD_BYTE,
    LOAD_HALF,
    LOAD_WORD,
    PACKET_TYPE_AT,
    RETURN,
    Instruction,
    pack,
)

RANGES = 256
"""Ranges of one family. They take a thousand instructions, a quarter of the kernel's limit. That is
also below the memory for a socket's options in old kernels (20 KiB)."""

_LINEAR = 4
"""Ranges that are compared one after the other, at the end of the search by halves."""

_TO_THIS_HOST = 0  # PACKET_HOST: not to a group, nor heard by chance
_OTHER_HOST, _OUTGOING = 3, 4  # PACKET_OTHERHOST: also tagged for a VLAN that this host is not in
_SOURCE_MAC_AT = 6
_ARP_OPERATION_AT, _ARP_SENDER_AT, _ARP_TARGET_AT = 20, 28, 38
_ARP_REPLY = 2
_NEXT_HEADER_AT, _HOP_LIMIT_AT, _ICMP_TYPE_AT = 20, 21, 54
_SOURCE_END_AT, _TARGET_END_AT = 34, 74  # last words of the IPv6 source and of the NDP target
_ICMPV6, _SOLICITATION, _ADVERTISEMENT = 58, 135, 136
_HOP_BY_HOP, _DESTINATION_OPTIONS = 0, 60
_HOP_LIMIT = 255

Range = tuple[int, int]


def arp_program(ips: Iterable[IPv4Address], *, own: bytes, probes: bool) -> bytes:
    """Return the program for ARP about any of the IPs, from another MAC than `own`.

    With `probes` those of RFC 5227, which ask for an IP without claiming it, pass as well.
    """
    return pack([
        *_from_others(own),
        (LOAD_WORD, 0, 0, _ARP_SENDER_AT),
        (JUMP_EQUAL, 0, 1, 0),
        (LOAD_WORD, 0, 0, _ARP_TARGET_AT) if probes else (RETURN, 0, 0, DROP),
        *_search(ranges(int(ip) for ip in ips)),
    ])  # fmt: skip


def ndp_program(ips: Iterable[IPv6Address], *, own: bytes, probes: bool) -> bytes:
    """Return the same for neighbour discovery; of each IP the last 32 bits are compared.

    What has options before its message passes, too: few frames have, and also a hop limit of 255.
    """
    return pack([
        *_from_others(own),
        *_to_icmpv6(),
        (LOAD_BYTE, 0, 0, _ICMP_TYPE_AT),
        (JUMP_EQUAL, 5, 0, _ADVERTISEMENT),
        (JUMP_EQUAL, 1, 0, _SOLICITATION),
        (RETURN, 0, 0, DROP),
        (LOAD_WORD, 0, 0, _SOURCE_END_AT),
        (JUMP_EQUAL, 0, 2, 0),  # asks of nobody's own address: for the target
        (JUMP, 0, 0, 0 if probes else 1),
        (LOAD_WORD, 0, 0, _TARGET_END_AT),
        *_search(ranges(int(ip) & 0xFFFFFFFF for ip in ips)),
    ])  # fmt: skip


def any_arp_program(*, own: bytes) -> bytes:
    """Return the program for all ARP from another MAC than `own`."""
    return pack([*_from_others(own), (RETURN, 0, 0, ACCEPT)])


def any_ndp_program(*, own: bytes) -> bytes:
    """Return the same for neighbour solicitations and advertisements."""
    return pack([
        *_from_others(own),
        *_to_icmpv6(),
        (LOAD_BYTE, 0, 0, _ICMP_TYPE_AT),
        (JUMP_EQUAL, 2, 0, _ADVERTISEMENT),
        (JUMP_EQUAL, 1, 0, _SOLICITATION),
        (RETURN, 0, 0, DROP),
        (RETURN, 0, 0, ACCEPT),
    ])  # fmt: skip


def arp_answers_program() -> bytes:
    """Return the program for ARP replies that are sent to this station alone."""
    return pack([
        *_to_this_station(),
        (LOAD_HALF, 0, 0, _ARP_OPERATION_AT),
        (JUMP_EQUAL, 0, 1, _ARP_REPLY),
        (RETURN, 0, 0, ACCEPT),
        (RETURN, 0, 0, DROP),
    ])  # fmt: skip


def ndp_answers_program() -> bytes:
    """Return the same for neighbour advertisements."""
    return pack([
        *_to_this_station(),
        (LOAD_BYTE, 0, 0, _NEXT_HEADER_AT),
        (JUMP_EQUAL, 0, 3, _ICMPV6),
        (LOAD_BYTE, 0, 0, _ICMP_TYPE_AT),
        (JUMP_EQUAL, 0, 1, _ADVERTISEMENT),
        (RETURN, 0, 0, ACCEPT),
        (RETURN, 0, 0, DROP),
    ])  # fmt: skip


def ranges(numbers: Iterable[int], *, limit: int = RANGES) -> list[Range]:
    """Return at most `limit` ranges, both ends included, that hold all the numbers.

    They are sorted and apart from each other, and hold as few others as can be.
    """
    known = sorted(set(numbers))
    gaps = [b - a for a, b in pairwise(known)]
    wide = sorted((i for i, gap in enumerate(gaps) if gap > 1), key=lambda i: -gaps[i])
    found: list[Range] = []
    first = 0
    for cut in sorted(wide[: limit - 1]):
        found.append((known[first], known[cut]))
        first = cut + 1
    return [*found, (known[first], known[-1])] if known else []


def _from_others(own: bytes) -> list[Instruction]:
    return [
        (LOAD_BYTE, 0, 0, PACKET_TYPE_AT),
        (JUMP_EQUAL, 1, 0, _OTHER_HOST),
        (JUMP_EQUAL, 0, 1, _OUTGOING),
        (RETURN, 0, 0, DROP),
        (LOAD_WORD, 0, 0, _SOURCE_MAC_AT),
        (JUMP_EQUAL, 0, 3, int.from_bytes(own[:4], "big")),
        (LOAD_HALF, 0, 0, _SOURCE_MAC_AT + 4),
        (JUMP_EQUAL, 0, 1, int.from_bytes(own[4:6], "big")),
        (RETURN, 0, 0, DROP),
    ]


def _to_icmpv6() -> list[Instruction]:
    """Return what goes on with ICMPv6, and accepts what may have it behind options."""
    return [
        (LOAD_BYTE, 0, 0, _NEXT_HEADER_AT),
        (JUMP_EQUAL, 6, 0, _ICMPV6),
        (JUMP_EQUAL, 1, 0, _HOP_BY_HOP),
        (JUMP_EQUAL, 0, 3, _DESTINATION_OPTIONS),
        (LOAD_BYTE, 0, 0, _HOP_LIMIT_AT),
        (JUMP_EQUAL, 0, 1, _HOP_LIMIT),
        (RETURN, 0, 0, ACCEPT),
        (RETURN, 0, 0, DROP),
    ]


def _to_this_station() -> list[Instruction]:
    return [
        (LOAD_BYTE, 0, 0, PACKET_TYPE_AT),
        (JUMP_EQUAL, 1, 0, _TO_THIS_HOST),
        (RETURN, 0, 0, DROP),
    ]


def _search(among: Sequence[Range]) -> list[Instruction]:
    """Return what accepts when the number just loaded lies in one of the ranges."""
    if len(among) > _LINEAR:
        middle = len(among) // 2
        below = _search(among[:middle])
        return [
            (JUMP_NOT_LESS, 0, 1, among[middle][0]),
            (JUMP, 0, 0, len(below)),
            *below,
            *_search(among[middle:]),
        ]
    compared: list[Instruction] = []
    for first, last in among:
        if first == last:
            compared += [(JUMP_EQUAL, 0, 1, first), (RETURN, 0, 0, ACCEPT)]
        else:
            compared += [
                (JUMP_NOT_LESS, 0, 2, first),
                (JUMP_GREATER, 1, 0, last),
                (RETURN, 0, 0, ACCEPT),
            ]
    return [*compared, (RETURN, 0, 0, DROP)]
