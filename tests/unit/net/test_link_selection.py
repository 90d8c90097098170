"""Which interfaces --iface selects, and on which of them an IP belongs."""

from ipaddress import ip_address, ip_interface, ip_network

import pytest

from extip.net.interfaces import IPVS_LINK, ObservedAddress
from extip.net.link_selection import Fitting, LinkSelection, choose_link, own_subnets
from tests.fakes.interfaces import ethernet


def links(*names):
    return [
        ethernet(index=index, name=name, announces=name != "lo")
        for index, name in enumerate(names, 1)
    ]


def on(index, text, *, ours=False, peer=None):
    return ObservedAddress(
        interface=ip_interface(text), link_index=index, ours=ours, valid_s=None, peer=peer
    )


def names(text, found, observed=()):
    return [one.name for one in LinkSelection.parse(text).fitting(found, observed)]


def test_names_and_patterns_in_their_order_each_interface_once():
    found = links("lo", "eth1", "eth0", "bond0")
    assert names("bond?,eth0,eth*", found) == ["bond0", "eth0", "eth1"]
    assert names("eth0, eth7", found) == ["eth0"]
    assert names("*", found) == ["eth1", "eth0", "bond0"], "only a name selects lo"
    assert names("lo", found) == ["lo"]


def test_auto_selects_what_has_a_subnet_of_the_nodes_own():
    found = links("lo", "eth0", "eth1", "eth2", IPVS_LINK)
    observed = [
        on(1, "127.0.0.1/8"),
        on(2, "10.0.0.1/24"),
        on(3, "10.1.0.1/32"),
        on(4, "10.2.0.9/24", ours=True),
        on(5, "10.3.0.1/24"),
    ]
    (eth0,) = LinkSelection.parse("auto").fitting(found, observed)
    assert eth0 == Fitting("eth0", by_subnet=True, subnets=(ip_network("10.0.0.0/24"),))
    assert names("eth2,auto", found, observed) == ["eth2", "eth0"]


def test_only_subnets_of_the_node_itself_count():
    observed = [
        on(2, "10.0.0.1/24"),
        on(2, "fe80::1/64"),
        on(2, "fd00::1/64"),
        on(2, "10.9.0.1/24", peer=ip_address("10.9.0.2")),
    ]
    assert own_subnets(observed) == {2: (ip_network("10.0.0.0/24"), ip_network("fd00::/64"))}


def test_one_plain_name_is_the_only_interface():
    for text, only in (("eth0", "eth0"), ("eth*", ""), ("auto", ""), ("eth0,eth1", "")):
        assert LinkSelection.parse(text).only == only
    assert str(LinkSelection.parse("eth0, eth1,eth0")) == "eth0,eth1"
    assert LinkSelection.parse("enp0s1,enp0s2,enp0s3").primary == "enp0s1,enp0s2,e"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "eth0,",
        "a/b",
        "a b",
        "a" * 16,
        "ü" * 8,
        "eth0:1",
        ".",
        "..",
        "\x1b[2J",
        "\u202e",
        "\udcff0",
    ],
)
def test_what_cannot_be_a_name_is_refused(text):
    with pytest.raises(ValueError, match="cannot be the name of an interface"):
        LinkSelection.parse(text)


def test_a_name_may_have_letters_of_any_kind():
    for text in ("lan0", "e.100", "Küche"):
        assert LinkSelection.parse(text).only == text


def test_a_wish_may_be_any_interface_that_could_be_selected():
    assert LinkSelection.parse("eth*").allows("eth7")
    assert not LinkSelection.parse("eth*").allows("bond0")
    assert LinkSelection.parse("auto").allows("bond0")
    assert LinkSelection.parse("eth0").allows("")


def test_interfaces_of_pods_do_not_matter_where_subnets_choose():
    assert LinkSelection.parse("eth*").concerns(ethernet(name="eth7"))
    assert not LinkSelection.parse("auto").concerns(ethernet(name="veth7"))


WIDE = Fitting("wide", by_subnet=True, subnets=(ip_network("10.0.0.0/8"),))
NARROW = Fitting("narrow", by_subnet=True, subnets=(ip_network("10.1.0.0/16"),))
ANY = Fitting("any", by_subnet=False, subnets=(ip_network("fd00::/64"),))
OTHER = Fitting("other", by_subnet=False)


@pytest.mark.parametrize(
    ("ip", "wish", "among", "chosen"),
    [
        ("10.1.0.9", "", [WIDE, NARROW], "narrow"),
        ("10.2.0.9", "", [OTHER, WIDE, NARROW], "wide"),
        ("192.0.2.1", "", [WIDE, NARROW], ""),
        ("192.0.2.1", "", [WIDE, OTHER, ANY], "other"),
        ("fd00::9", "", [OTHER, ANY], "any"),
        ("10.1.0.9", "other", [NARROW, OTHER], "other"),
        ("192.0.2.1", "wide", [WIDE], "wide"),
        ("10.1.0.9", "gone", [WIDE], ""),
        ("10.1.0.9", "", [], ""),
    ],
)
def test_the_interface_of_an_ip(ip, wish, among, chosen):
    assert choose_link(ip_address(ip), wish, among) == chosen


def test_of_equal_subnets_the_first_interface_has_it():
    twins = [WIDE._replace(name="b"), WIDE._replace(name="a")]
    assert choose_link(ip_address("10.0.0.1"), "", twins) == "b"
