"""Each check of a machine: facts that make it speak, and facts that do not."""

from dataclasses import replace
from ipaddress import ip_address, ip_interface

import pytest

from extip.api.ipcontroller_v1 import IpNode, IpNodeStatus
from extip.api.meta_v1 import FullObjectMeta
from extip.api.node_link import NodeLink
from extip.doctor.policy import node_checks as checks
from extip.doctor.policy.facts import NodeFacts
from extip.doctor.policy.finding import Severity
from extip.net.interfaces import Link
from tests.unit.doctor.test_cluster_checks import WELL

ERROR, WARNING, NOTE = Severity
LINK = Link(
    index=2,
    name="eth0",
    mac=b"\x02\0\0\0\0\x01",
    up=True,
    carrier=True,
    announces=True,
    mtu=1500,
    promotes_secondaries=True,
)
IP = ip_address("10.0.0.9")
OTHER = IpNode(
    metadata=FullObjectMeta(name="n2"),
    status=IpNodeStatus(links=(NodeLink(name="eth0", mac="02:00:00:00:00:02"),)),
)
CLUSTER = replace(WELL, ip_nodes=(OTHER,))
GOOD = NodeFacts(
    iface="eth0",
    hostname="n1",
    links=("lo", "eth0"),
    link=LINK,
    own=(ip_interface("10.0.0.1/24"),),
    held=(IP,),
    capabilities=1 << 12 | 1 << 13,
    kernel=(6, 1),
    settings={"arp_ignore": 0, "arp_announce": 0, "rp_filter": 1},
    way_out=frozenset({"eth0"}),
    neighbours=2,
)
TWINS = {"elsewhere": {"eth1": (ip_interface("10.0.0.2/24"),)}}


def settings(**values):
    return {"settings": {**GOOD.settings, **values}}


def test_where_all_is_well_no_check_speaks():
    assert [one for check in checks.CHECKS for one in check(GOOD, CLUSTER)] == []


@pytest.mark.parametrize(
    ("check", "change", "severity", "what"),
    [
        (checks.interface, {"link": None}, ERROR, "no interface eth0"),
        (checks.interface, {"link": replace(LINK, carrier=False)}, ERROR, "without carrier"),
        (checks.interface, {"link": replace(LINK, up=False, carrier=False)}, ERROR, "is down"),
        (checks.interface, {"link": replace(LINK, announces=False)}, NOTE, "no ARP or NDP"),
        (checks.subnet, {"held": (ip_address("192.0.2.1"),)}, NOTE, "192.0.2.1 and the own"),
        (checks.neighbours, {"neighbours": 0}, WARNING, "no other station"),
        (checks.capabilities, {"capabilities": 1 << 12}, ERROR, "lacks CAP_NET_RAW"),
        (checks.capabilities, {"capabilities": 0}, ERROR, "CAP_NET_ADMIN and CAP_NET_RAW"),
        (checks.kernel, {"kernel": (4, 17)}, ERROR, "Linux 4.17 is too old"),
        (checks.kernel, {"kernel": (5, 10)}, NOTE, "Linux 5.10 marks"),
        (checks.arp_settings, settings(arp_ignore=8), ERROR, "arp_ignore is 8"),
        (checks.arp_settings, {"ipvs": True}, ERROR, "ipvs mode here, and arp_ignore is 0"),
        (
            checks.arp_settings,
            {**TWINS, **settings(arp_announce=2)},
            WARNING,
            "eth0 and eth1 are in one network, and arp_ignore is 0",
        ),
        (checks.arp_settings, {**TWINS, **settings(arp_ignore=1)}, WARNING, "arp_announce is 0"),
        (checks.return_path, {"way_out": frozenset({"eth1"})}, WARNING, "default route is by eth1"),
        (
            checks.source_address,
            {"sources": {ip_address("10.0.0.3"): IP, ip_address("10.0.0.4"): IP}},
            WARNING,
            "sends to 10.0.0.3, and to 1 more, from 10.0.0.9, an external IP",
        ),
        (checks.hostname, {"hostname": "n1.example.com"}, WARNING, "is no Kubernetes node"),
        (
            checks.owners,
            {"owners": {IP: ("02:00:00:00:00:02", "02:00:00:00:00:99")}},
            ERROR,
            "10.0.0.9 is up here, and node n2 and 02:00:00:00:00:99 answers",
        ),
        (checks.owners, {"unasked": "it lacks CAP_NET_RAW"}, NOTE, "it lacks CAP_NET_RAW"),
    ],
)
def test_what_makes_a_check_speak(check, change, severity, what):
    assert list(check(GOOD, CLUSTER)) == []
    (found,) = check(replace(GOOD, **change), CLUSTER)
    assert found.severity is severity
    assert what in found.what
    assert found.why
    assert found.do


@pytest.mark.parametrize(
    ("check", "change"),
    [
        (checks.arp_settings, {"ipvs": True, **settings(arp_ignore=1)}),
        (checks.arp_settings, {**TWINS, **settings(arp_ignore=1, arp_announce=2)}),
        (checks.return_path, {"way_out": frozenset({"eth1"}), **settings(rp_filter=2)}),
        (checks.return_path, {"way_out": frozenset({"eth0", "eth1"})}),
        (checks.return_path, {"way_out": frozenset()}),
        (checks.subnet, {"held": (ip_address("192.0.2.1"),), "own": ()}),
        (checks.neighbours, {"neighbours": 0, "link": None}),
        (checks.neighbours, {"neighbours": 0, "own": (ip_interface("fd00::1/64"),)}),
        (checks.owners, {"unasked": "it lacks CAP_NET_RAW", "held": ()}),
        (checks.source_address, {"sources": {ip_address("10.0.0.3"): ip_address("10.0.0.1")}}),
    ],
)
def test_what_does_not(check, change):
    assert list(check(replace(GOOD, **change), CLUSTER)) == []


def test_a_cluster_that_nobody_asked_says_nothing_of_names():
    assert list(checks.hostname(GOOD, type(WELL).unknown())) == []
