"""What the kernel lets through, by an interpreter of its filter machine."""

import struct
from ipaddress import IPv4Address, IPv6Address, ip_address
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extip.net import bpf, frames
from extip.net.wire_filter import (
    RANGES,
    any_ndp_program,
    arp_answers_program,
    arp_program,
    ndp_answers_program,
    ndp_program,
    ranges,
)

OWN, OTHER = b"\x02\x00\x00\x00\x00\x01", b"\x02\x00\x00\x00\x00\x02"
HOST, OTHER_HOST, OUTGOING = 0, 3, 4
KERNEL_MAX = 4096


def passes(program, frame, *, packet_type=HOST):
    """Run a program over a frame as the kernel does; return whether the frame is kept."""
    code = list(struct.iter_unpack("=HBBI", program))
    sizes = {bpf.LOAD_WORD: 4, bpf.LOAD_HALF: 2, bpf.LOAD_BYTE: 1}
    holds = {
        bpf.JUMP_EQUAL: lambda a, k: a == k,
        bpf.JUMP_GREATER: lambda a, k: a > k,
        bpf.JUMP_NOT_LESS: lambda a, k: a >= k,
    }
    loaded, at = 0, 0
    while True:
        operation, if_true, if_false, operand = code[at]
        at += 1
        if operation == bpf.RETURN:
            return operand != bpf.DROP
        if operation == bpf.JUMP:
            at += operand
        elif operation in holds:
            at += if_true if holds[operation](loaded, operand) else if_false
        elif operand == bpf.PACKET_TYPE_AT:
            loaded = packet_type
        else:
            field = frame[operand : operand + sizes[operation]]
            if len(field) < sizes[operation]:
                return False
            loaded = int.from_bytes(field, "big")


def program(ips, *, probes=False):
    make = arp_program if isinstance(ips[0], IPv4Address) else ndp_program
    return make(ips, own=OWN, probes=probes)


V4 = [ip_address(f"10.0.{n}.{n}") for n in range(0, 250, 7)]
V6 = [ip_address(f"fd00::{n:x}:{n + 1:x}") for n in range(0, 250, 7)]


@pytest.mark.parametrize("ips", [V4, V6, V4[:1], V6[:1]])
def test_whatever_others_say_about_our_ips_passes(ips):
    held = program(ips)
    for ip in ips:
        for reply in (False, True):
            assert passes(held, frames.announcement(ip, OTHER, reply=reply))
        assert not passes(held, frames.announcement(ip + 1, OTHER))
        assert not passes(held, frames.announcement(ip, OWN))
        assert not passes(held, frames.probe(ip, OTHER))
        assert passes(program(ips, probes=True), frames.probe(ip, OTHER))
        assert not passes(program(ips, probes=True), frames.probe(ip + 1, OTHER))


@pytest.mark.parametrize("packet_type", [OTHER_HOST, OUTGOING])
@pytest.mark.parametrize("ip", [V4[3], V6[3]])
def test_neither_our_own_frames_nor_those_for_others_do(ip, packet_type):
    frame = frames.announcement(ip, OTHER)
    assert passes(program([ip]), frame)
    assert not passes(program([ip]), frame, packet_type=packet_type)


def test_a_mac_that_differs_in_one_half_only_is_another_one():
    for mac in (OWN[:4] + b"\x00\x09", b"\x02\x00\x00\x09" + OWN[4:]):
        assert passes(program([V4[0]]), frames.announcement(V4[0], mac))


@pytest.mark.parametrize(
    ("kind", "hops", "heard"), [(0, 255, True), (60, 255, True), (0, 1, False), (17, 255, False)]
)
def test_what_may_have_a_message_behind_options_passes(kind, hops, heard):
    """Reports of multicast listeners have such options, too, and a hop limit of 1."""
    frame = bytearray(frames.announcement(ip_address("fd00::1"), OTHER))
    frame[20], frame[21] = kind, hops
    for made in (
        ndp_program([IPv6Address("fd00::9")], own=OWN, probes=False),
        any_ndp_program(own=OWN),
    ):
        assert passes(made, bytes(frame)) is heard


def test_a_solicitation_from_one_of_our_ips_passes():
    """Whoever asks in the name of an IP claims to have it."""
    source, other = V6[1], ip_address("fd00:1::9")
    frame = bytearray(frames.probe(other, OTHER))
    frame[22:38] = source.packed
    assert passes(program(V6), bytes(frame))
    frame[22:38] = other.packed
    assert not passes(program(V6), bytes(frame))


@given(st.binary(max_size=100), st.booleans())
def test_no_frame_is_too_odd(frame, probes):
    for ips in (V4, V6):
        passes(program(ips, probes=probes), frame)


numbers = st.sets(st.integers(0, 2**32 - 1) | st.integers(1000, 1300), max_size=60)


@given(numbers, st.integers(1, 20))
def test_ranges_hold_all_numbers_and_are_few(wanted, limit):
    found = ranges(wanted, limit=limit)
    assert len(found) <= limit
    assert all(any(a <= n <= b for a, b in found) for n in wanted)
    assert all(b < c for (_, b), (c, _) in pairwise(found))
    if len(ranges(wanted, limit=10**6)) <= limit:
        assert sum(b - a + 1 for a, b in found) == len(wanted)


@given(numbers, st.integers(0, 2**32 - 1))
def test_the_search_finds_exactly_what_is_in_a_range(wanted, other):
    held = arp_program(map(IPv4Address, wanted), own=OWN, probes=False)
    in_range = ranges(wanted)
    for number in (*wanted, other, *(min(n + 1, 2**32 - 1) for n in wanted)):
        expected = any(a <= number <= b for a, b in in_range) and number != 0
        assert passes(held, frames.announcement(IPv4Address(number), OTHER)) == expected


def test_ten_thousand_scattered_ips_still_fit():
    v4 = [IPv4Address(n * 65537 % 2**32) for n in range(1, 10_001)]
    v6 = [IPv6Address(n * 65537 % 2**32) for n in range(1, 10_001)]
    for made in (program(v4, probes=True), program(v6, probes=True)):
        assert len(made) // 8 < min(KERNEL_MAX, 5 * RANGES)


REPLY = frames.announcement(ip_address("10.0.0.1"), OTHER, reply=True)
ADVERTISEMENT = frames.announcement(ip_address("fd00::1"), OTHER)


@pytest.mark.parametrize(
    ("program", "answer", "others"),
    [
        (
            arp_answers_program(),
            REPLY,
            [
                frames.announcement(ip_address("10.0.0.1"), OTHER),
                frames.probe(ip_address("10.0.0.1"), OTHER),
                REPLY[:20],
            ],
        ),
        (
            ndp_answers_program(),
            ADVERTISEMENT,
            [
                frames.probe(ip_address("fd00::1"), OTHER),
                ADVERTISEMENT[:20] + b"\x11" + ADVERTISEMENT[21:],
                ADVERTISEMENT[:54],
            ],
        ),
    ],
)
def test_only_answers_to_this_very_station_pass(
    program: bytes, answer: bytes, others: list[bytes]
) -> None:
    assert passes(program, answer)
    assert not any(passes(program, answer, packet_type=t) for t in (1, 2, OTHER_HOST, OUTGOING))
    assert not any(passes(program, frame) for frame in others)
