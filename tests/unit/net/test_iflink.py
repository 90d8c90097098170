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
    body += nlmsg.attribute(48, (3).to_bytes(4, "little"))
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
        carrier_losses=3,
    )


IFLA_LINK, IFLA_MASTER, IFLA_LINKINFO, NESTED = 5, 10, 18, 0x8000
INFO_KIND, INFO_DATA, INFO_SLAVE_KIND, INFO_SLAVE_DATA = 1, 2, 4, 5
BROADCAST, MASTER, SLAVE, MULTICAST = 0x2, 0x400, 0x800, 0x1000


def info(*parts: tuple[int, bytes]) -> bytes:
    """Return an ``IFLA_LINKINFO``: what the interface is, or is a part of."""
    within = b"".join(nlmsg.attribute(kind, value) for kind, value in parts)
    return nlmsg.attribute(IFLA_LINKINFO | NESTED, within)


def number(kind: int, value: int, size: int = 4) -> bytes:
    return nlmsg.attribute(kind, value.to_bytes(size, "little"))


VLAN_DATA = (
    number(1, 100, 2)  # IFLA_VLAN_ID
    + nlmsg.attribute(5, bytes.fromhex("8100"))  # IFLA_VLAN_PROTOCOL, in network order
    + nlmsg.attribute(2, struct.pack("=II", 1, 0xFFFFFFFF))  # IFLA_VLAN_FLAGS, and their mask
    + nlmsg.attribute(4 | NESTED, nlmsg.attribute(1, struct.pack("=II", 0, 7)))  # egress QoS
)
BOND_DATA = (
    number(1, 4, 1)  # IFLA_BOND_MODE: 802.3ad
    + number(3, 100)  # IFLA_BOND_MIIMON
    + nlmsg.attribute(8 | NESTED, b"".join(number(n, 0) for n in range(16)))  # ARP targets
    + nlmsg.attribute(23 | NESTED, number(1, 7, 2) + number(2, 2, 2))  # IFLA_BOND_AD_INFO
)
SLAVE_DATA = number(1, 0, 1) + number(2, 0, 1) + number(3, 0) + nlmsg.attribute(4, bytes(6))
OWN_INFO = {
    "vlan": number(IFLA_LINK, 2) + info((INFO_KIND, b"vlan\0"), (INFO_DATA | NESTED, VLAN_DATA)),
    "bond": info((INFO_KIND, b"bond\0"), (INFO_DATA | NESTED, BOND_DATA)),
    "part of a bond": number(IFLA_MASTER, 9)
    + info((INFO_SLAVE_KIND, b"bond\0"), (INFO_SLAVE_DATA | NESTED, SLAVE_DATA)),
}


@pytest.mark.parametrize(
    ("what", "flags"), [("vlan", 0), ("bond", MASTER), ("part of a bond", SLAVE)]
)
@pytest.mark.parametrize("carrier", [True, False])
def test_vlans_and_bonds_are_interfaces_as_any_other(
    what: str, flags: int, *, carrier: bool
) -> None:
    """What they are made of stands in attributes of its own, as Linux writes it.

    Nothing there is taken for something else, since kinds of nested attributes begin at 1 again.
    """
    flags |= UP | BROADCAST | MULTICAST | (LOWER_UP if carrier else 0)
    plain = report(flags=flags, promote=1)[nlmsg.HEADER.size :]
    for body in (plain + OWN_INFO[what], plain[:16] + OWN_INFO[what] + plain[16:]):
        link = decode(nlmsg.message(nlmsg.RTM_NEWLINK, 0, 0, body))
        assert link == Link(
            index=7,
            name="eth0",
            mac=b"\2\0\0\0\0\1",
            up=True,
            carrier=carrier,
            announces=True,
            mtu=9000,
            promotes_secondaries=True,
            carrier_losses=3,
        )


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
