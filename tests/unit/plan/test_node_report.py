"""A node tells of its interfaces, the one for claims first."""

from ipaddress import ip_interface

import pytest

from extip.api.ipcontroller_v1 import IpNode, IpNodeStatus, NodeLink
from extip.plan.link import Link, ObservedAddress
from extip.plan.node_report import MAX_LINKS, macs, node_links, node_status
from tests.fakes.conditions import condition_of

NOW, LATER = "2026-01-01T00:00:00Z", "2026-01-01T00:01:00Z"


def link(name, index, *, carrier=True, announces=True, mac=b"\x02\0\0\0\0\1"):
    return Link(
        index=index,
        name=name,
        mac=mac,
        up=True,
        carrier=carrier,
        announces=announces,
        mtu=1500,
        promotes_secondaries=True,
    )


def address(text, index, *, ours=False):
    return ObservedAddress(interface=ip_interface(text), link_index=index, ours=ours, valid_s=None)


def test_the_chosen_interface_first_then_those_with_addresses():
    links = [link("lo", 1, announces=False), link("veth1", 2), link("mgmt", 3), link("lan", 4)]
    observed = [address("127.0.0.1/8", 1), address("10.1.0.1/24", 3), address("10.0.0.1/24", 4)]
    found = node_links(links, observed, iface="lan")
    assert [(one.name, one.addresses) for one in found] == [
        ("lan", ("10.0.0.1/24",)),
        ("mgmt", ("10.1.0.1/24",)),
    ]
    assert found[0].mac == "02:00:00:00:00:01"


def test_external_ips_and_link_local_ones_are_left_out():
    observed = [
        address("10.0.0.9/32", 1, ours=True),
        address("fe80::1/64", 1),
        address("fd00::1/64", 1),
        address("10.0.0.20/24", 1),
        address("10.0.0.3/24", 1),
    ]
    (found,) = node_links([link("eth0", 1)], observed, iface="eth0")
    assert found.addresses == ("10.0.0.3/24", "10.0.0.20/24", "fd00::1/64")


def test_loopback_when_it_is_chosen():
    (found,) = node_links([link("lo", 1, announces=False, mac=bytes(6))], [], iface="lo")
    assert (found.name, found.mac, found.up) == ("lo", "", True)


def test_a_node_with_a_thousand_interfaces():
    links = [link(f"cali{n}", n) for n in range(1, 1000)]
    observed = [address(f"10.0.{n // 250}.{n % 250}/24", n) for n in range(1, 1000)]
    found = node_links(links, observed, iface="eth0")
    assert len(found) == MAX_LINKS
    assert (found[0].name, found[0].up) == ("eth0", False)


@pytest.mark.parametrize(
    ("links", "expected"),
    [
        ([link("eth0", 1)], ("True", "LinkUp")),
        ([link("eth0", 1, carrier=False)], ("False", "NoCarrier")),
        ([link("eth1", 1)], ("False", "LinkMissing")),
    ],
)
def test_ready_means_that_claims_can_come(links, expected):
    status = node_status(
        IpNodeStatus(), node_links(links, [], iface="eth0"), version="1", claims=2, now=NOW
    )
    ready = condition_of(status.conditions, "LinkReady")
    assert (ready.status, ready.reason) == expected
    assert (status.version, status.claims) == ("1", 2)


def test_a_node_that_nobody_answers_is_not_ready():
    links = node_links([link("eth0", 1)], [], iface="eth0")
    status = node_status(IpNodeStatus(), links, isolated=True, version="1", claims=2, now=NOW)
    ready = condition_of(status.conditions, "LinkReady")
    assert (ready.status, ready.reason) == ("False", "Isolated")


def test_without_carrier_that_is_the_reason():
    links = node_links([link("eth0", 1, carrier=False)], [], iface="eth0")
    status = node_status(IpNodeStatus(), links, isolated=True, version="1", claims=2, now=NOW)
    assert condition_of(status.conditions, "LinkReady").reason == "NoCarrier"


def test_macs_of_all_nodes_as_far_as_they_make_sense():
    links = (NodeLink(name="a", mac="02:00:00:00:00:01"), NodeLink(name="b", mac=""))
    others = (NodeLink(name="a", mac="02:00:00:00:00:02"), NodeLink(name="b", mac="02:zz"))
    nodes = [IpNode(status=IpNodeStatus(links=told)) for told in (links, others, None)]
    assert macs(nodes) == {b"\2\0\0\0\0\1", b"\2\0\0\0\0\2"}


def test_what_stands_there_already_compares_equal():
    links = node_links([link("eth0", 1)], [address("10.0.0.1/24", 1)], iface="eth0")
    first = node_status(IpNodeStatus(), links, version="1", claims=2, now=NOW)
    assert node_status(first, links, version="1", claims=2, now=LATER) == first
