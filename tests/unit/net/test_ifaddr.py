"""Messages about addresses: what is asked of the kernel, and what is understood of its answers."""

import struct
import sys
from ipaddress import IPv4Interface, IPv6Interface, ip_address, ip_interface

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extip.net import ifaddr, nlmsg
from extip.net.ifaddr import Decoder, Encoder, Mark, steps
from extip.net.interfaces import Change, IPInterface, Operation

U32 = struct.Struct("=I")
IFA_F_NODAD, IFA_F_TENTATIVE, IFA_F_DADFAILED = 0x02, 0x40, 0x08

interfaces = st.one_of(
    st.builds(IPv4Interface, st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 32))),
    st.builds(IPv6Interface, st.tuples(st.integers(0, 2**128 - 1), st.integers(0, 128))),
)


def parts(datagram: bytes) -> list[tuple[int, int, int, tuple[int, ...], dict[int, bytes]]]:
    """Take a datagram apart: kind, flags, sequence, ifaddrmsg, attributes."""
    taken = []
    for kind, flags, sequence, _, start, end in nlmsg.messages(datagram):
        head = struct.unpack_from("=BBBBI", datagram, start + 16)
        found = {k: datagram[a:b] for k, a, b in nlmsg.attributes(datagram, start + 24, end)}
        taken.append((kind, flags, sequence, head, found))
    return taken


def report(
    interface: IPInterface,
    *,
    kind: int = nlmsg.RTM_NEWADDR,
    index: int = 3,
    valid: int = 0xFFFFFFFF,
    extra: bytes = b"",
    flags: int = 0,
) -> bytes:
    """Return a message as the kernel writes it."""
    family = 2 if interface.version == 4 else 10
    body = struct.pack("=BBBBI", family, interface.network.prefixlen, flags & 255, 0, index)
    body += nlmsg.attribute(1, interface.packed) + nlmsg.attribute(2, interface.packed)
    body += nlmsg.attribute(8, U32.pack(flags)) + extra
    body += nlmsg.attribute(6, struct.pack("=IIII", 0, valid, 1, 1))
    return nlmsg.message(kind, 0, 0, body)


@given(interfaces, st.sampled_from(Operation), st.sampled_from(Mark), st.booleans())
def test_what_is_encoded_is_decoded(
    interface: IPInterface,
    operation: Operation,
    mark: Mark,
    routed: bool,  # noqa: FBT001
) -> None:
    change = steps(Change(operation, 7, interface, routed=routed))[-1]
    datagram = Encoder(mark, ttl_s=9).batch([change], 1)
    observed = Decoder(mark).decode(datagram, 0, len(datagram))
    assert observed is not None
    assert observed.interface == interface
    assert observed.link_index == 7
    if operation is not Operation.DELETE:
        assert (observed.ours, observed.valid_s, observed.routed) == (True, 9, routed)


def test_a_move_is_a_removal_and_an_addition() -> None:
    move = Change(Operation.MOVE, 7, ip_interface("10.0.0.1/24"), routed=False)
    removal, addition = steps(move)
    assert removal == move._replace(operation=Operation.DELETE)
    assert addition == move._replace(operation=Operation.ADD)


def test_only_the_last_message_of_a_batch_asks_for_an_acknowledgement() -> None:
    changes = [Change(Operation.ADD, 1, ip_interface(f"10.0.0.{n}/32")) for n in range(64)]
    taken = parts(Encoder(Mark.PROTOCOL, ttl_s=6).batch(changes, 100))
    assert [sequence for _, _, sequence, _, _ in taken] == list(range(100, 164))
    acked = [sequence for _, flags, sequence, _, _ in taken if flags & nlmsg.NLM_F_ACK]
    assert acked == [163]


def test_a_refresh_repeats_all_that_the_add_said() -> None:
    """The kernel resets what a replace does not repeat."""
    for interface in map(ip_interface, ("10.0.0.1/24", "fd00::1/64")):
        encoder = Encoder(Mark.PROTOCOL, ttl_s=6)
        ((_, add, _, *said),) = parts(encoder.batch([Change(Operation.ADD, 1, interface)], 1))
        ((_, again, _, *repeated),) = parts(
            encoder.batch([Change(Operation.REFRESH, 1, interface)], 1)
        )
        assert said == repeated
        assert add & nlmsg.NLM_F_EXCL
        assert add & nlmsg.NLM_F_CREATE
        assert again & nlmsg.NLM_F_REPLACE
        assert not again & (nlmsg.NLM_F_EXCL & ~nlmsg.NLM_F_REPLACE)


def test_marks_lifetimes_and_flags() -> None:
    for text, flags in (("10.0.0.1/32", None), ("fd00::1/128", U32.pack(IFA_F_NODAD))):
        for mark in Mark:
            change = Change(Operation.ADD, 1, ip_interface(text))
            ((*_, found),) = parts(Encoder(mark, ttl_s=60).batch([change], 1))
            preferred, valid, _, _ = struct.unpack("=IIII", found[6])
            assert (preferred, valid) == (0, 60)
            assert found.get(8) == flags
            assert found[9] == U32.pack(ifaddr.MARK_METRIC)
            assert found.get(11) == (bytes([225]) if mark is Mark.PROTOCOL else None)
            assert 4 not in found  # no broadcast address


def test_ours_is_what_carries_the_mark() -> None:
    address = ip_interface("10.0.0.1/32")
    protocol = nlmsg.attribute(11, bytes([225]))
    metric = nlmsg.attribute(9, U32.pack(ifaddr.MARK_METRIC))
    for mark, extra, ours in (
        (Mark.PROTOCOL, protocol, True),
        (Mark.PROTOCOL, nlmsg.attribute(11, bytes([18])), False),
        (Mark.PROTOCOL, metric, False),
        (Mark.PROTOCOL, b"", False),
        (Mark.METRIC, metric, True),
        (Mark.METRIC, protocol, False),
        (Mark.METRIC, nlmsg.attribute(9, U32.pack(256)), False),
    ):
        message = report(address, extra=extra, valid=60)
        observed = Decoder(mark).decode(message, 0, len(message))
        assert observed is not None
        assert observed.ours is ours


def test_without_a_protocol_an_address_for_ever_is_not_ours() -> None:
    """Whatever its metric, and whatever was known of it before."""
    metric = nlmsg.attribute(9, U32.pack(ifaddr.MARK_METRIC))
    decoder = Decoder(Mark.METRIC)
    for valid, ours in ((60, True), (0xFFFFFFFF, False), (0xFFFFFFFF, False), (59, True)):
        message = report(ip_interface("10.0.0.1/32"), extra=metric, valid=valid)
        observed = decoder.decode(message, 0, len(message))
        assert observed is not None
        assert observed.ours is ours
        assert observed.valid_s == (None if valid == 0xFFFFFFFF else valid)


@pytest.mark.parametrize(
    ("flags", "tentative"), [(0, False), (0x80, False), (IFA_F_TENTATIVE, True), (0x48, True)]
)
def test_an_address_under_duplicate_detection_is_tentative(flags: int, *, tentative: bool) -> None:
    message = report(ip_interface("fd00::1/64"), flags=flags)
    observed = Decoder(Mark.PROTOCOL).decode(message, 0, len(message))
    assert observed is not None
    assert observed.tentative is tentative


@pytest.mark.parametrize(
    ("family", "local", "peer", "prefix"),
    [
        (2, "10.0.0.1", "10.0.0.9", 32),
        (2, "10.0.0.1", "10.9.0.9", 24),
        (10, "fd00::1", "fd09::9", 64),
    ],
)
def test_the_local_address_of_a_pair_counts_and_the_peer_is_told(
    family: int, local: str, peer: str, prefix: int
) -> None:
    decoder = Decoder(Mark.PROTOCOL)
    for valid in (30, 29, 29):
        body = struct.pack("=BBBBI", family, prefix, 0, 0, 1)
        body += nlmsg.attribute(1, ip_address(peer).packed)
        body += nlmsg.attribute(2, ip_address(local).packed)
        body += nlmsg.attribute(6, struct.pack("=IIII", valid, valid, 0, 0))
        message = nlmsg.message(nlmsg.RTM_NEWADDR, 0, 0, body)
        observed = decoder.decode(message, 0, len(message))
        assert observed is not None
        assert observed.interface == ip_interface(f"{local}/{prefix}")
        assert observed.peer == ip_address(peer)
        assert observed.valid_s == valid


@pytest.mark.parametrize("named", [(1, 2), (2,), (1,)])
def test_an_address_without_a_peer_has_none(named: tuple[int, ...]) -> None:
    """IPv4 gives the address twice, IPv6 once; some write only the local one."""
    body = struct.pack("=BBBBI", 2, 24, 0, 0, 1)
    body += b"".join(nlmsg.attribute(kind, bytes([10, 0, 0, 1])) for kind in named)
    message = nlmsg.message(nlmsg.RTM_NEWADDR, 0, 0, body)
    observed = Decoder(Mark.PROTOCOL).decode(message, 0, len(message))
    assert observed is not None
    assert observed.interface == ip_interface("10.0.0.1/24")
    assert observed.peer is None
    assert observed.valid_s is None


@given(st.lists(st.tuples(interfaces, st.integers(1, 4), st.integers(0, 2), st.booleans())))
def test_what_is_remembered_changes_nothing(
    messages: list[tuple[IPInterface, int, int, bool]],
) -> None:
    """A decoder that has met other messages, in any order, reads as a fresh one does."""
    used = Decoder(Mark.PROTOCOL)
    shared = nlmsg.attribute(11, bytes([225]))
    for interface, index, valid, marked in messages * 2:
        metric = nlmsg.attribute(9, U32.pack(index)) if valid == 1 else b""
        message = report(
            interface, index=index, valid=valid, extra=(shared if marked else b"") + metric
        )
        fresh = Decoder(Mark.PROTOCOL).decode(message, 0, len(message))
        assert used.decode(message, 0, len(message)) == fresh


def test_lifetimes_are_read_anew() -> None:
    decoder = Decoder(Mark.PROTOCOL)
    for valid in (30, 30, 12, 0xFFFFFFFF, 1):
        message = b"\xff" * 16 + report(ip_interface("10.0.0.1/32"), valid=valid)
        observed = decoder.decode(message, 16, len(message))
        assert observed is not None
        assert observed.valid_s == (None if valid == 0xFFFFFFFF else valid)


@given(interfaces, st.data())
def test_odd_messages_are_no_reason_to_fail(interface: IPInterface, data: st.DataObject) -> None:
    """Cut anywhere and damaged anywhere, a message is understood or left out, never an error."""
    good = bytearray(report(interface, extra=nlmsg.attribute(11, bytes([225]))))
    place = data.draw(st.integers(0, len(good) - 1))
    good[place] = data.draw(st.integers(0, 255))
    cut = bytes(good[: data.draw(st.integers(0, len(good)))])
    decoder = Decoder(Mark.PROTOCOL)
    decoder.decode(report(interface), 0, len(report(interface)))
    decoder.decode(cut, 0, len(cut))
    for *_, start, end in nlmsg.messages(cut):
        decoder.decode(cut, start, end)


@given(st.binary(max_size=200))
def test_noise_is_no_reason_to_fail(noise: bytes) -> None:
    Decoder(Mark.PROTOCOL).decode(noise, 0, len(noise))
    for kind, _, _, _, start, end in nlmsg.messages(noise):
        assert 0 <= start < end <= len(noise)
        assert nlmsg.error_of(noise, start, end) >= 0
        assert kind >= 0


def test_other_families_are_left_out() -> None:
    body = struct.pack("=BBBBI", 28, 0, 0, 0, 1) + nlmsg.attribute(2, b"\1")
    message = nlmsg.message(nlmsg.RTM_NEWADDR, 0, 0, body)
    assert Decoder(Mark.PROTOCOL).decode(message, 0, len(message)) is None


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ifaddr, "_REMEMBERED", 50)
    decoder = Decoder(Mark.PROTOCOL)
    for n in range(500):
        message = report(IPv4Interface((n, 32)))
        decoder.decode(message, 0, len(message))
        assert len(decoder._known) <= 50


@pytest.mark.parametrize(
    ("release", "mark"),
    [
        ("6.18.44-fc-v669", Mark.PROTOCOL),
        ("6.1.0-28-amd64", Mark.PROTOCOL),
        ("5.18.0", Mark.PROTOCOL),
        ("5.17.15-arch1-1", Mark.METRIC),
        ("5.4.0", Mark.METRIC),
        ("10.0", Mark.PROTOCOL),
        ("6", Mark.METRIC),
        ("", Mark.METRIC),
        ("next-20261122", Mark.METRIC),
        ("6.rc1.2", Mark.METRIC),
    ],
)
def test_the_mark_follows_the_kernel(release: str, mark: Mark) -> None:
    assert ifaddr.mark_for_kernel(release) is mark


def test_a_dump_may_be_asked_for_one_interface() -> None:
    for index in (0, 7):
        ((kind, flags, sequence, head, _),) = parts(ifaddr.dump_request(4, index))
        assert (kind, sequence, head[4]) == (nlmsg.RTM_GETADDR, 4, index)
        assert flags & nlmsg.NLM_F_DUMP == nlmsg.NLM_F_DUMP


def test_errors_are_positive() -> None:
    body = (-17).to_bytes(4, sys.byteorder, signed=True)
    message = nlmsg.message(nlmsg.NLMSG_ERROR, 0, 1, body)
    assert nlmsg.error_of(message, 0, len(message)) == 17
