"""What may never come up is refused, with one reason each."""

from ipaddress import IPv4Network, ip_address, ip_interface, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extip.guard.policy.reserved import Reserved
from extip.guard.policy.rules import Guard, Reason, Surroundings, Verdicts, surroundings
from extip.net.interfaces import ObservedAddress
from extip.net.networks import Networks

AROUND = Surroundings(
    foreign=frozenset({ip_address("10.0.0.7"), ip_address("fd00::7")}),
    subnets=frozenset(
        {ip_network("10.0.0.0/24"), ip_network("192.168.4.0/31"), ip_network("fd00::/64")}
    ),
    gateways=frozenset({ip_address("10.0.0.1"), ip_address("fe80::1"), ip_address("fd00::1")}),
    reserved=Reserved(nodes=frozenset({ip_address("10.0.0.8"), ip_address("fd00::8")})),
)


@pytest.mark.parametrize(
    ("candidate", "reason"),
    [
        ("0.0.0.0/32", Reason.UNSPECIFIED),
        ("0.1.2.3/32", Reason.UNSPECIFIED),
        ("::/128", Reason.UNSPECIFIED),
        ("127.0.0.1/32", Reason.LOOPBACK),
        ("127.9.9.9/8", Reason.LOOPBACK),
        ("::1/128", Reason.LOOPBACK),
        ("224.0.0.1/32", Reason.MULTICAST),
        ("ff02::1/128", Reason.MULTICAST),
        ("169.254.3.4/32", Reason.LINK_LOCAL),
        ("fe80::5/128", Reason.LINK_LOCAL),
        ("255.255.255.255/32", Reason.BROADCAST),
        ("240.0.0.1/32", Reason.RESERVED),
        ("::ffff:10.0.0.9/128", Reason.RESERVED),
        ("10.0.0.0/32", Reason.NETWORK),
        ("10.0.0.255/32", Reason.BROADCAST),
        ("fd00::/128", Reason.NETWORK),
        ("172.16.0.0/24", Reason.NETWORK),
        ("172.16.0.255/24", Reason.BROADCAST),
        ("10.0.0.1/32", Reason.GATEWAY),
        ("fd00::1/128", Reason.GATEWAY),
        ("10.0.0.8/32", Reason.NODE),
        ("fd00::8/128", Reason.NODE),
        ("10.0.0.7/24", Reason.LOCAL),
        ("10.0.0.7/32", Reason.LOCAL),
        ("fd00::7/64", Reason.LOCAL),
    ],
)
def test_refuses_what_would_hurt(candidate, reason):
    refusal = Guard().refuse(ip_interface(candidate), AROUND)
    assert refusal is not None
    assert refusal.reason is reason
    assert str(ip_interface(candidate).ip) in refusal.message


@pytest.mark.parametrize(
    "candidate",
    [
        "10.0.0.9/32",
        "10.0.0.9/24",
        "fd00::9/128",
        "fd00::ffff:ffff:ffff:ffff/64",  # IPv6 has no broadcast
        "172.16.0.0/32",  # a host route has no edges
        "172.16.0.255/32",
        "192.168.4.0/31",  # RFC 3021: both addresses of a /31 are hosts
        "192.168.4.1/31",
        "8.8.8.8/32",
    ],
)
def test_admits_the_rest(candidate):
    assert Guard().refuse(ip_interface(candidate), AROUND) is None


def test_an_allow_list_leaves_everything_else_out():
    guard = Guard(allowed=(ip_network("10.9.0.0/16"), ip_network("fd09::/32")))
    assert guard.refuse(ip_interface("10.9.1.1/32"), AROUND) is None
    assert guard.refuse(ip_interface("fd09::1/128"), AROUND) is None
    for outside in ("10.8.1.1/32", "fd08::1/128"):
        refusal = guard.refuse(ip_interface(outside), AROUND)
        assert refusal is not None
        assert refusal.reason is Reason.NOT_ALLOWED


def test_what_is_between_cluster_ips_and_what_pods_have_is_refused():
    """The network of cluster IPs that is known grows: that is no news of a refusal."""
    ip, pods = ip_interface("10.96.0.77/32"), frozenset({ip_address("10.200.0.4")})
    told = set()
    for text in ("10.96.0.0/24", "10.96.0.0/16"):
        known = Networks(frozenset({ip_network(text)}))
        around = Surroundings(reserved=Reserved(in_between=known, pod_ips=pods))
        told.add(Guard().refuse(ip, around))
        pod = Guard().refuse(ip_interface("10.200.0.4/32"), around)
        assert pod is not None
        assert pod.reason is Reason.POD
    (refusal,) = told
    assert refusal is not None
    assert refusal.reason is Reason.SERVICE_NETWORK


def test_the_allow_list_cannot_allow_what_hurts():
    guard = Guard(allowed=(ip_network("10.0.0.0/8"),))
    refusal = guard.refuse(ip_interface("10.0.0.1/32"), AROUND)
    assert refusal is not None
    assert refusal.reason is Reason.GATEWAY


def test_our_own_and_kube_proxys_addresses_are_not_conflicts():
    """In ipvs mode kube-proxy binds every external IP to kube-ipvs0 of every node."""
    observed = [
        ObservedAddress(interface=ip_interface(text), link_index=index, ours=ours, valid_s=None)
        for text, index, ours in [
            ("10.0.0.7/24", 2, False),
            ("10.0.0.9/32", 2, True),
            ("10.0.0.10/32", 5, False),
        ]
    ]
    around = surroundings(
        observed, gateways=frozenset(), reserved=Reserved(), exempt_links=frozenset({5})
    )
    assert around.foreign == {ip_address("10.0.0.7")}
    assert around.subnets == {ip_network("10.0.0.0/24")}


@pytest.mark.parametrize(
    ("local", "peer", "last", "between"),
    [
        ("10.66.0.1/32", "10.66.0.2", None, "10.66.0.3"),
        ("10.66.0.1/24", "10.67.0.2", "10.67.0.255", "10.66.0.255"),
        ("fd66::1/64", "fd67::2", "fd67::", "fd66::"),
    ],
)
def test_the_other_end_of_a_point_to_point_address_is_a_neighbour(local, peer, last, between):
    """Its subnet is on-link; that of the local address is not."""
    tunnel = ObservedAddress(
        interface=ip_interface(local),
        link_index=2,
        ours=False,
        valid_s=None,
        peer=ip_address(peer),
    )
    around = surroundings([tunnel], gateways=frozenset(), reserved=Reserved())
    for ip in (peer, local.split("/")[0]):
        refusal = Guard().refuse(ip_interface(ip), around)
        assert refusal is not None
        assert refusal.reason is Reason.LOCAL
    assert Guard().refuse(ip_interface(between), around) is None
    if last is not None:
        assert Guard().refuse(ip_interface(last), around) is not None


def test_subnets_are_looked_through_once_and_not_for_each_candidate():
    written = 0

    class Network(IPv4Network):
        def __str__(self):
            nonlocal written
            written += 1
            return super().__str__()

    around = Surroundings(subnets=frozenset(Network(f"10.{n}.0.0/24") for n in range(10)))
    for n in range(1000):
        assert Guard().refuse(ip_interface(f"11.0.{n // 250}.{n % 250 + 1}/32"), around) is None
    assert written <= 40


@given(st.ip_addresses(), st.integers(0, 128))
def test_any_address_gets_an_answer(ip, prefix):
    candidate = (
        ip_interface((int(ip), min(prefix, ip.max_prefixlen)))
        if ip.version == 4
        else (ip_interface(f"{ip}/{prefix}"))
    )
    refusal = Guard().refuse(candidate, AROUND)
    assert refusal is None or refusal.message.startswith(str(candidate.ip))


def test_each_candidate_is_judged_once_in_the_same_surroundings():
    judged = []

    class Counting(Guard):
        def refuse(self, candidate, around):
            judged.append(candidate)
            return super().refuse(candidate, around)

    candidate = ip_interface("10.0.0.2/24")
    verdicts = Verdicts(Counting(), Surroundings())
    assert verdicts.refuse(candidate) is None
    assert verdicts.within(Surroundings()).refuse(candidate) is None
    assert judged == [candidate]
    taken = Surroundings(foreign=frozenset({candidate.ip}))
    assert verdicts.within(taken).refuse(candidate) is not None
    assert verdicts.refuse(candidate) is None
