"""A node tells of its interfaces, the one for claims first."""

from dataclasses import replace
from ipaddress import ip_address, ip_interface

import msgspec
import pytest

from extip.api.ipcontroller_v1 import IpNode, IpNodeStatus
from extip.api.meta_v1 import FullObjectMeta
from extip.api.node_link import NodeLink
from extip.net.interfaces import Gateways, ObservedAddress
from extip.net.link_selection import LinkSelection
from extip.nodes.policy.report import MAX_LINKS, macs, node_gateways, node_links, node_status
from extip.uplink.policy.isolation import neighbours
from tests.fakes.conditions import condition_of
from tests.fakes.interfaces import ETH0, ethernet

NOW, LATER = "2026-01-01T00:00:00Z", "2026-01-01T00:01:00Z"


def link(name, index, **more):
    return ethernet(name=name, index=index, promotes_secondaries=True, **more)


def address(text, index, *, ours=False):
    return ObservedAddress(interface=ip_interface(text), link_index=index, ours=ours, valid_s=None)


def test_the_chosen_interface_first_then_those_with_addresses():
    links = [link("lo", 1, announces=False), link("veth1", 2), link("mgmt", 3), link("lan", 4)]
    observed = [address("127.0.0.1/8", 1), address("10.1.0.1/24", 3), address("10.0.0.1/24", 4)]
    found = node_links(links, observed, selection=LinkSelection.parse("lan"))
    assert [(one.name, one.addresses) for one in found] == [
        ("lan", ("10.0.0.1/24",)),
        ("mgmt", ("10.1.0.1/24",)),
    ]
    assert found[0].mac == "02:00:00:00:00:01"


def test_an_interface_whose_name_no_object_can_have_is_left_out():
    """The kernel takes any bytes, and a patch that cannot be encoded ended the controller."""
    odd = b"r\xe9seau0".decode("utf-8", "surrogateescape")
    links = [link("eth0", 1), link(odd, 2), link("réseau1", 3)]
    observed = [address(f"10.{n}.0.1/24", n) for n in (1, 2, 3)]
    for selection in (ETH0, LinkSelection.parse("auto"), LinkSelection.parse("eth0,r*")):
        found = node_links(links, observed, selection=selection)
        assert [one.name for one in found] == ["eth0", "réseau1"]
        msgspec.json.encode(found)


def test_external_ips_and_link_local_ones_are_left_out():
    observed = [
        address("10.0.0.9/32", 1, ours=True),
        address("fe80::1/64", 1),
        address("fd00::1/64", 1),
        address("10.0.0.20/24", 1),
        address("10.0.0.3/24", 1),
    ]
    (found,) = node_links([link("eth0", 1)], observed, selection=ETH0)
    assert found.addresses == ("10.0.0.3/24", "10.0.0.20/24", "fd00::1/64")


def test_loopback_when_it_is_chosen():
    (found,) = node_links(
        [link("lo", 1, announces=False, mac=bytes(6))], [], selection=LinkSelection.parse("lo")
    )
    assert (found.name, found.mac, found.up) == ("lo", "", True)


def test_a_node_with_a_thousand_interfaces():
    links = [link(f"cali{n}", n) for n in range(1, 1000)]
    observed = [address(f"10.0.{n // 250}.{n % 250}/24", n) for n in range(1, 1000)]
    found = node_links(links, observed, selection=ETH0)
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
        IpNodeStatus(),
        node_links(links, [], selection=ETH0),
        version="1",
        claims=2,
        now=NOW,
    )
    ready = condition_of(status.conditions, "LinkReady")
    assert (ready.status, ready.reason) == expected
    assert (status.version, status.claims) == ("1", 2)


def test_a_node_that_nobody_answers_is_not_ready():
    links = node_links([link("eth0", 1)], [], selection=ETH0)
    status = node_status(
        IpNodeStatus(), links, isolated=frozenset({"eth0"}), version="1", claims=2, now=NOW
    )
    ready = condition_of(status.conditions, "LinkReady")
    assert (ready.status, ready.reason) == ("False", "Isolated")


def test_without_carrier_that_is_the_reason():
    links = node_links([link("eth0", 1, carrier=False)], [], selection=ETH0)
    status = node_status(
        IpNodeStatus(), links, isolated=frozenset({"eth0"}), version="1", claims=2, now=NOW
    )
    assert condition_of(status.conditions, "LinkReady").reason == "NoCarrier"


def test_macs_of_all_nodes_as_far_as_they_make_sense():
    links = (NodeLink(name="a", mac="02:00:00:00:00:01"), NodeLink(name="b", mac=""))
    others = (NodeLink(name="a", mac="02:00:00:00:00:02"), NodeLink(name="b", mac="02:zz"))
    nodes = [IpNode(status=IpNodeStatus(links=told)) for told in (links, others, None)]
    assert macs(nodes) == {b"\2\0\0\0\0\1", b"\2\0\0\0\0\2"}


def test_what_stands_there_already_compares_equal():
    links = node_links([link("eth0", 1)], [address("10.0.0.1/24", 1)], selection=ETH0)
    first = node_status(IpNodeStatus(), links, version="1", claims=2, now=NOW)
    assert node_status(first, links, version="1", claims=2, now=LATER) == first


def test_default_gateways_come_before_nodes_that_pod_networks_route_by():
    """A node without controller looks like a router, and isolation asks the first few."""
    nodes = [ip_address(f"10.0.0.{n}") for n in range(2, 22)]
    router, controller = ip_address("10.0.0.254"), nodes[-1]
    found = Gateways(frozenset({*nodes, router}), frozenset({router}))
    told = node_gateways(found, nodes=frozenset({controller}))
    assert told == ("10.0.0.254", *(str(ip) for ip in nodes[:-1]))
    record = IpNode(metadata=FullObjectMeta(name="a"), status=IpNodeStatus(gateways=told))
    asked = neighbours({"a": record}, "a", [ip_interface("10.0.0.21/24")])
    assert next(iter(asked)) == router


TWO = [link("eth0", 1), link("eth1", 2), link("mgmt", 3), link("lo", 4, announces=False)]
OWN = [address(f"10.{n}.0.1/24", n) for n in (1, 2, 3)]


@pytest.mark.parametrize(
    ("iface", "expected"),
    [
        ("eth*", [("eth0", "Any"), ("eth1", "Any"), ("mgmt", "")]),
        ("mgmt,auto", [("mgmt", "Any"), ("eth0", "Subnets"), ("eth1", "Subnets")]),
        ("bond*", [("bond*", "Any"), ("eth0", ""), ("eth1", ""), ("mgmt", "")]),
        ("eth1", [("eth1", ""), ("eth0", ""), ("mgmt", "")]),
    ],
)
def test_selected_interfaces_come_first_and_say_what_they_take(iface, expected):
    found = node_links(TWO, OWN, selection=LinkSelection.parse(iface))
    assert [(one.name, one.takes) for one in found] == expected


@pytest.mark.parametrize(
    ("down", "isolated", "expected"),
    [
        ((), (), ("True", "LinkUp", "on eth0, eth1")),
        (("eth1",), (), ("True", "LinkUp", "on eth0")),
        (("eth0",), (), ("True", "LinkUp", "on eth1")),
        ((), ("eth0",), ("True", "LinkUp", "on eth1; no other station answers on eth0")),
        ((), ("eth1",), ("True", "LinkUp", "on eth0; no other station answers on eth1")),
        ((), ("eth0", "eth1"), ("False", "Isolated", "no other station answers on eth0, eth1")),
        (("eth1",), ("eth0",), ("False", "Isolated", "no other station answers on eth0")),
        (("eth0", "eth1"), (), ("False", "NoCarrier", "interface eth0, eth1 has no carrier")),
    ],
)
def test_ready_while_one_of_the_interfaces_is(down, isolated, expected):
    links = [replace(one, carrier=one.name not in down) for one in TWO]
    told = node_links(links, OWN, selection=LinkSelection.parse("eth*"))
    nowhere = frozenset(isolated)
    status = node_status(IpNodeStatus(), told, isolated=nowhere, version="1", claims=0, now=NOW)
    ready = condition_of(status.conditions, "LinkReady")
    assert (ready.status, ready.reason, ready.message) == expected


def test_the_claims_that_failed_over_are_left_to_the_scheduler():
    before = IpNodeStatus(failed_over={"a": 3})
    after = node_status(before, (NodeLink(name="eth0"),), version="1", claims=0, now=NOW)
    assert after.failed_over == {"a": 3}
