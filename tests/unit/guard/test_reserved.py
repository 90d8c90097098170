"""What the cluster itself uses, as Node and IpNode objects say it, is refused."""

from ipaddress import ip_address, ip_interface, ip_network

import pytest

from extip.api.core_v1 import Node, NodeAddress, NodeSpec, NodeStatus
from extip.api.ipcontroller_v1 import IpNode, IpNodeStatus
from extip.api.node_link import NodeLink
from extip.guard.policy.reserved import (
    NodeNetwork,
    Reserved,
    network_of,
    parse_networks,
    reported_network,
    unite,
)
from extip.guard.policy.rules import Guard, Surroundings
from extip.net.networks import Networks
from extip.services.policy.refusal import Reason


def ips(*texts):
    return frozenset(map(ip_address, texts))


def networks(*texts):
    return frozenset(map(ip_network, texts))


def test_a_node_tells_of_its_addresses_and_pod_networks():
    node = Node(
        spec=NodeSpec(pod_cidrs=("10.244.1.0/24", "fd00:1::/64", "nonsense")),
        status=NodeStatus(
            addresses=(
                NodeAddress(type="InternalIP", address="10.0.0.1"),
                NodeAddress(type="ExternalIP", address="fd00::1"),
                NodeAddress(type="Hostname", address="n1"),
            )
        ),
    )
    assert network_of(node) == NodeNetwork(
        ips=ips("10.0.0.1", "fd00::1"), pods=networks("10.244.1.0/24", "fd00:1::/64")
    )
    assert network_of(Node()) is None


def test_a_controller_tells_of_its_interfaces_and_gateways_but_not_of_kube_proxys():
    node = IpNode(
        status=IpNodeStatus(
            links=(
                NodeLink(name="eth0", addresses=("10.0.0.1/24", "fd00::1/64", "x")),
                NodeLink(name="kube-ipvs0", addresses=("10.0.0.50/32",)),
                NodeLink(name="eth1"),
            ),
            gateways=("10.0.0.254", "", "fd00::fe"),
        )
    )
    assert reported_network(node) == NodeNetwork(
        ips=ips("10.0.0.1", "fd00::1"), gateways=ips("10.0.0.254", "fd00::fe")
    )
    assert reported_network(IpNode()) is None


def test_all_nodes_together():
    assert unite([]) == NodeNetwork()
    one = NodeNetwork(ips=ips("10.0.0.1"), gateways=ips("10.0.0.254"))
    two = NodeNetwork(ips=ips("10.0.0.2"), pods=networks("10.1.0.0/24"))
    assert unite(iter([one, two])) == NodeNetwork(
        ips=ips("10.0.0.1", "10.0.0.2"),
        gateways=ips("10.0.0.254"),
        pods=networks("10.1.0.0/24"),
    )


def test_a_network_of_everything_would_refuse_everything_and_is_none():
    assert parse_networks(["0.0.0.0/0", "::/0", "10.0.0.1/8"]) == networks("10.0.0.0/8")


RESERVED = Reserved(
    nodes=ips("10.0.0.1"),
    gateways=ips("10.0.0.254", "10.0.0.1"),
    api_servers=ips("10.0.0.5", "10.0.0.1"),
    cluster_ips=ips("10.96.0.10"),
    pods=Networks(networks("10.244.1.0/24")),
    services=Networks(networks("10.96.0.0/16")),
)


@pytest.mark.parametrize(
    ("ip", "reason", "says"),
    [
        ("10.0.0.1", Reason.NODE, "cluster node"),  # the first of its reasons
        ("10.0.0.254", Reason.GATEWAY, "of a cluster node"),
        ("10.0.0.5", Reason.API_SERVER, "API server"),
        ("10.96.0.10", Reason.CLUSTER_IP, "cluster IP"),
        ("10.96.0.11", Reason.SERVICE_NETWORK, "10.96.0.0/16"),
        ("10.244.1.7", Reason.POD_NETWORK, "10.244.1.0/24"),
    ],
)
def test_each_is_refused_with_its_reason_also_when_it_is_allowed(ip, reason, says):
    guard = Guard(allowed=(ip_network("10.0.0.0/8"),))
    refusal = guard.refuse(ip_interface(f"{ip}/32"), Surroundings(reserved=RESERVED))
    assert refusal is not None
    assert refusal.reason is reason
    assert says in refusal.message
    assert guard.refuse(ip_interface("10.245.0.1/32"), Surroundings(reserved=RESERVED)) is None


def test_single_addresses_are_those_that_no_pool_may_give():
    assert RESERVED.single() == ips("10.0.0.1", "10.0.0.254", "10.0.0.5", "10.96.0.10")
