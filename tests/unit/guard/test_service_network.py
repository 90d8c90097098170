"""What is concluded from cluster IPs in use is in their network, and never more."""

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extip.guard.policy.service_network import certain_networks, widened
from extip.net.networks import Networks


def ips(*texts):
    return frozenset(map(ip_address, texts))


@st.composite
def clusters(draw):
    """Return a network of cluster IPs, the address of `kubernetes`, and others in use."""
    if draw(st.booleans()):
        bits, shortest = 32, 12
    else:
        bits, shortest = 128, 108
    prefix = draw(st.integers(shortest, bits - 3))
    size = 1 << bits - prefix
    base = draw(st.integers(1, (1 << prefix) - 2)) * size
    text = ip_address(base) if bits == 32 else ip_address(base.to_bytes(16, "big"))
    network = ip_network(f"{text}/{prefix}")
    used = draw(st.lists(st.integers(1, size - 1), max_size=5))
    return network, network[1], frozenset(network[n] for n in used)


@given(clusters(), st.booleans())
def test_what_is_certain_is_in_the_network(cluster, told):
    network, first, used = cluster
    found = certain_networks(widened({}, used), {first} if told else ())
    assert all(one.subnet_of(network) for one in found.members)
    if told and used - {first}:
        assert all(ip in found for ip in used)


@given(clusters())
def test_a_network_in_use_from_end_to_end_is_known_as_a_whole(cluster):
    network, first, _ = cluster
    last = network[network.num_addresses - 1]
    assert certain_networks(widened({}, [last]), [first]).members == {network}


@pytest.mark.parametrize(
    "in_use",
    [
        ("10.96.0.10", "172.20.0.5"),  # from before the network was changed
        ("10.95.0.10",),
        ("10.96.0.10", "11.0.0.1"),
    ],
)
def test_nothing_is_concluded_where_there_are_several_networks(in_use):
    assert not certain_networks(widened({}, ips(*in_use)), ips("10.96.0.1"))


def test_families_do_not_mix_and_nobody_knows_nothing():
    assert certain_networks({}, ()) == Networks()
    spans = widened({}, ips("10.96.0.9", "fd00:96::1", "fd00:96::9"))
    found = certain_networks(spans, ips("10.96.0.1"))
    assert found.members == {ip_network("10.96.0.0/28"), ip_network("fd00:96::/124")}
    assert widened(spans, ips("10.96.0.9", "fd00:96::5")) is spans
