"""Messages about interfaces."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extip.net import iflink, nlmsg
from extip.net.interfaces import Link

UP, LOOPBACK, NOARP, LOWER_UP = 0x1, 0x8, 0x80, 0x10000
ETHER, INFINIBAND = 1, 32


def report(
    *, flags: int = UP | LOWER_UP, hardware: int = ETHER, family: int = 0, promote: int | None = 0
) -> bytes:
    """Return a message as the kernel writes it."""
    body = struct.pack("=BxHiII", family, hardware, 7, flags, 0)
    body += nlmsg.attribute(3, b"eth0\0") + nlmsg.attribute(1, b"\2\0\0\0\0\1")
    body += nlmsg.attribute(4, (9000).to_bytes(4, "little"))
    if promote is not None:
        values = [0] * 19 + [promote] + [9] * 13
        inet = nlmsg.attribute(2, nlmsg.attribute(1, struct.pack("=33I", *values)))
        body += nlmsg.attribute(26 | 0x8000, nlmsg.attribute(10, bytes(8)) + inet)
    return nlmsg.message(nlmsg.RTM_NEWLINK, 0, 0, body)


def decode(message: bytes) -> Link:
    link = iflink.decode(message, 0, len(message))
    assert link is not None
    return link


def test_an_interface_is_read() -> None:
    assert decode(report(promote=1)) == Link(
        index=7,
        name="eth0",
        mac=b"\2\0\0\0\0\1",
        up=True,
        carrier=True,
        announces=True,
        mtu=9000,
        promotes_secondaries=True,
    )


def test_vlans_and_bonds_are_interfaces_as_any_other() -> None:
    """What they are made of stands in attributes of its own, which nobody here needs."""
    for kind, more in ((b"vlan", nlmsg.attribute(5, bytes([2, 0, 0, 0]))), (b"bond", b"")):
        info = nlmsg.attribute(18 | 0x8000, nlmsg.attribute(1, kind + b"\0"))
        plain = report()
        body = plain[nlmsg.HEADER.size :] + info + more
        link = decode(nlmsg.message(nlmsg.RTM_NEWLINK, 0, 0, body))
        assert link == decode(plain)


@pytest.mark.parametrize(
    ("flags", "up", "carrier"),
    [(0, False, False), (UP, True, False), (UP | LOWER_UP, True, True), (LOWER_UP, False, False)],
)
def test_carrier_counts_only_while_up(flags: int, *, up: bool, carrier: bool) -> None:
    link = decode(report(flags=flags))
    assert (link.up, link.carrier) == (up, carrier)


@pytest.mark.parametrize(
    ("flags", "hardware", "announces"),
    [
        (UP, ETHER, True),
        (UP | LOOPBACK, ETHER, False),
        (UP | NOARP, ETHER, False),
        (UP, INFINIBAND, False),
        (UP, 65534, False),
    ],
)
def test_only_ethernet_that_resolves_announces(
    flags: int, hardware: int, *, announces: bool
) -> None:
    assert decode(report(flags=flags, hardware=hardware)).announces is announces


@pytest.mark.parametrize("promote", [0, None])
def test_secondaries_are_not_promoted_unless_the_kernel_says_so(promote: int | None) -> None:
    assert not decode(report(promote=promote)).promotes_secondaries


def test_bridge_port_messages_are_left_out() -> None:
    message = report(family=7)
    assert iflink.decode(message, 0, len(message)) is None


def test_long_names_are_looked_up_as_alternative_names() -> None:
    for name, kind in (("e" * 15, 3), ("e" * 16, 53)):
        request = iflink.link_request(1, name)
        found = {k: request[a:b] for k, a, b in nlmsg.attributes(request, 32, len(request))}
        assert found[kind] == name.encode() + b"\0"


@given(st.data())
def test_odd_messages_are_no_reason_to_fail(data: st.DataObject) -> None:
    good = bytearray(report())
    good[data.draw(st.integers(0, len(good) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(good[: data.draw(st.integers(0, len(good)))])
    iflink.decode(cut, 0, len(cut))
