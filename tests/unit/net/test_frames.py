"""Frames, against bytes taken from the RFCs, and the parser against anything."""

import struct
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extip.net.frames import announcement, parse, probe, question
from extip.net.interfaces import IPAddress
from extip.net.neighbour_events import FrameKind, NeighbourEvent

MAC = bytes.fromhex("020000000001")
V4, V6 = ip_address("192.0.2.1"), ip_address("2001:db8::12:3456")
addresses = st.one_of(
    st.builds(IPv4Address, st.integers(1, 2**32 - 1)),
    st.builds(IPv6Address, st.integers(1, 2**128 - 1)),
)
macs = st.binary(min_size=6, max_size=6)


def test_gratuitous_arp_request() -> None:
    """RFC 5227 section 3: sender and target IP are the address; the target MAC is not set."""
    assert announcement(V4, MAC) == bytes.fromhex(
        "ffffffffffff 020000000001 0806 "
        "0001 0800 06 04 0001 "
        "020000000001 c0000201 000000000000 c0000201 "
    )


def test_gratuitous_arp_reply() -> None:
    """RFC 5944 section 4.6: the target MAC is the one that neighbours are to store."""
    assert announcement(V4, MAC, reply=True) == bytes.fromhex(
        "ffffffffffff 020000000001 0806 "
        "0001 0800 06 04 0002 "
        "020000000001 c0000201 020000000001 c0000201 "
    )


def test_unsolicited_neighbour_advertisement() -> None:
    """RFC 4861 section 7.2.6: to all nodes, hop limit 255, override, target link-layer address."""
    frame = announcement(V6, MAC)
    assert frame[:14] == bytes.fromhex("33330000000102000000000186dd")
    assert frame[14:22] == bytes.fromhex("6000000000203aff")
    assert frame[22:38] == V6.packed
    assert frame[38:54] == IPv6Address("ff02::1").packed
    assert frame[54:56] == bytes.fromhex("8800")
    assert frame[58:62] == bytes.fromhex("20000000")
    assert frame[62:78] == V6.packed
    assert frame[78:] == bytes.fromhex("0201020000000001")
    assert ones_complement_sum(frame) == 0xFFFF


def test_ipv6_probe_goes_to_the_solicited_node_group() -> None:
    """RFC 4862 section 5.4.2: from the unspecified address, so without a link-layer option."""
    frame = probe(V6, MAC)
    assert frame[:6] == bytes.fromhex("3333ff123456")
    assert frame[22:38] == bytes(16)
    assert IPv6Address(frame[38:54]) == IPv6Address("ff02::1:ff12:3456")
    assert frame[54] == 135
    assert frame[62:] == V6.packed
    assert ones_complement_sum(frame) == 0xFFFF


def ones_complement_sum(frame: bytes) -> int:
    """Add an ICMPv6 message and its pseudo header up the slow way (RFC 1071, RFC 8200 8.1)."""
    message = frame[54:]
    data = frame[22:54] + struct.pack("!I3xB", len(message), 58) + message
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return total


@given(ip=addresses, mac=macs, reply=st.booleans())
def test_announcements_are_understood(ip: IPAddress, mac: bytes, *, reply: bool) -> None:
    assert parse(announcement(ip, mac, reply=reply)) == NeighbourEvent(
        ip, mac, FrameKind.ANNOUNCEMENT
    )


@given(addresses, macs)
def test_probes_are_understood(ip: IPAddress, mac: bytes) -> None:
    assert parse(probe(ip, mac)) == NeighbourEvent(ip, mac, FrameKind.PROBE)


@given(addresses, macs)
def test_padding_to_the_shortest_ethernet_frame_does_not_matter(ip: IPAddress, mac: bytes) -> None:
    assert parse(announcement(ip, mac).ljust(100, b"\0")) == NeighbourEvent(
        ip, mac, FrameKind.ANNOUNCEMENT
    )


@given(addresses.filter(lambda ip: ip.version == 6), st.integers(54, 85), st.integers(1, 255))
def test_a_damaged_advertisement_is_not_believed(ip: IPAddress, place: int, damage: int) -> None:
    frame = bytearray(announcement(ip, MAC))
    frame[place] ^= damage
    assert parse(bytes(frame)) is None


def test_an_advertisement_that_came_through_a_router_is_not_believed() -> None:
    frame = bytearray(announcement(V6, MAC))
    frame[21] = 254
    assert parse(bytes(frame)) is None


@pytest.mark.parametrize("ip", [V4, V6])
def test_a_cut_frame_says_nothing(ip: IPAddress) -> None:
    frame = announcement(ip, MAC)
    assert all(parse(frame[:n]) is None for n in range(len(frame)))


@given(st.binary(max_size=120), st.sampled_from([b"\x08\x06", b"\x86\xdd", b"\x08\x00"]))
def test_noise_is_no_reason_to_fail(noise: bytes, kind: bytes) -> None:
    parse(noise)
    parse(bytes(12) + kind + noise)


@pytest.mark.parametrize("kind", [0, 60, 43, 44, 58])
def test_only_headers_of_options_are_passed_over(kind: int) -> None:
    """Neighbours take the word of a message behind these, and of none in fragments (RFC 6980)."""
    frame = announcement(V6, MAC)
    size = int.from_bytes(frame[18:20], "big") + 8
    head = frame[:18] + size.to_bytes(2, "big") + bytes([kind]) + frame[21:54]
    wrapped = head + bytes([58, 0, 1, 4, 0, 0, 0, 0]) + frame[54:]
    assert parse(wrapped) == (parse(frame) if kind in (0, 60) else None)
    assert parse(wrapped[:-1]) is None
    assert parse(wrapped[:55] + b"\xff" + wrapped[56:]) is None


def test_an_option_of_no_length_ends_the_message() -> None:
    frame = announcement(V6, MAC)
    body = frame[54:78] + bytes(8)
    whole = frame[:54] + body[:2] + bytes(2) + body[4:]
    total = ones_complement_sum(whole)
    sound = whole[:56] + (0xFFFF - total).to_bytes(2, "big") + whole[58:]
    assert parse(sound) == NeighbourEvent(
        V6, MAC, FrameKind.ANNOUNCEMENT
    )  # by the frame's own source


OTHER = bytes.fromhex("020000000002")


@pytest.mark.parametrize(("to", "destination"), [(b"", "ffffffffffff"), (OTHER, "020000000002")])
def test_an_arp_question_to_everybody_and_to_one(to: bytes, destination: str) -> None:
    """RFC 826: who asks says who it is; RFC 1122 section 2.3.2.1: one neighbour can be asked."""
    assert question(V4, MAC, ip_address("192.0.2.9"), to) == bytes.fromhex(
        f"{destination} 020000000001 0806 "
        "0001 0800 06 04 0001 "
        "020000000001 c0000209 000000000000 c0000201 "
    )


@pytest.mark.parametrize(
    ("to", "mac", "group"),
    [(b"", "3333ff123456", "ff02::1:ff12:3456"), (OTHER, "020000000002", "2001:db8::12:3456")],
)
def test_a_neighbour_solicitation_to_the_group_and_to_one(to: bytes, mac: str, group: str) -> None:
    """RFC 4861 sections 7.2.2 and 7.3.1: with the source's link-layer address."""
    source = IPv6Address("2001:db8::9")
    frame = question(V6, MAC, source, to)
    assert frame[:6] == bytes.fromhex(mac)
    assert frame[22:38] == source.packed
    assert IPv6Address(frame[38:54]) == IPv6Address(group)
    assert frame[54:56] == bytes.fromhex("8700")
    assert frame[62:78] == V6.packed
    assert frame[78:] == bytes.fromhex("0101020000000001")
    assert ones_complement_sum(frame) == 0xFFFF


@given(addresses, macs, addresses)
def test_a_question_tells_who_asks(ip: IPAddress, mac: bytes, source: IPAddress) -> None:
    if ip.version == source.version:
        assert parse(question(ip, mac, source)) == NeighbourEvent(
            source, mac, FrameKind.ANNOUNCEMENT
        )
