"""What a controller reported of its node, as far as placement asks."""

from ipaddress import ip_address, ip_network

import pytest

from extip.api.core_v1 import Node, NodeCondition, NodeSpec, NodeStatus, Taint
from extip.api.ipcontroller_v1 import IpNode, IpNodeSpec, IpNodeStatus
from extip.api.meta_v1 import FullObjectMeta
from extip.api.node_link import NodeLink
from extip.scheduling.policy.filters import NodeFacts, NodeLinkFacts
from extip.scheduling.policy.node_facts import kubernetes_node, located, node_facts


def test_only_the_interface_that_the_controller_was_given_counts():
    links = (NodeLink(name="eth1", up=True), NodeLink(name="eth0", up=True))
    ip_node = IpNode(status=IpNodeStatus(links=links))
    facts = node_facts("n1", ip_node, None, alive=True, leaving=False)
    assert facts == NodeFacts(
        name="n1", alive=True, link="eth1", links={"eth1": NodeLinkFacts(up=True)}
    )


def test_what_was_not_reported_yet_is_in_nobodys_way():
    known = NodeFacts(name="n1", alive=True)
    assert node_facts("n1", None, None, alive=True, leaving=False) == known
    assert node_facts("n1", IpNode(), None, alive=True, leaving=False) == known


def test_a_node_whose_claims_fail_over_counts_as_dead_though_it_is_back():
    failing_over = IpNode(status=IpNodeStatus(failed_over={"a": 3}))
    facts = node_facts("n1", failing_over, None, alive=True, leaving=False)
    assert (facts.alive, facts.back) == (False, True)
    assert not node_facts("n1", failing_over, None, alive=False, leaving=False).back
    over = IpNode(status=IpNodeStatus(failed_over={}))
    assert node_facts("n1", over, None, alive=True, leaving=False).alive


def test_a_drain_is_asked_for_by_a_person_or_by_the_controller():
    asked = IpNode(spec=IpNodeSpec(draining=True))
    assert node_facts("n1", asked, None, alive=True, leaving=False).draining
    assert node_facts("n1", IpNode(), None, alive=True, leaving=True).draining


@pytest.mark.parametrize(
    ("taint", "goes"),
    [
        ("node.kubernetes.io/out-of-service", True),
        ("node.cloudprovider.kubernetes.io/shutdown", True),
        ("ToBeDeletedByClusterAutoscaler", True),
        ("karpenter.sh/disrupted", True),
        ("medik8s.io/drain", True),
        ("DeletionCandidateOfClusterAutoscaler", False),
        ("node.kubernetes.io/unschedulable", False),
        ("node.kubernetes.io/unreachable", False),
        ("node-role.kubernetes.io/control-plane", False),
    ],
)
def test_a_taint_alone_says_that_a_node_goes(taint, goes):
    node = Node(spec=NodeSpec(taints=(Taint(key=taint),)))
    assert kubernetes_node(node).evicting is goes


@pytest.mark.parametrize(("status", "ready"), [("True", True), ("False", False), ("Unknown", True)])
def test_a_node_is_not_ready_when_its_kubelet_says_so_itself(status, ready):
    conditions = (NodeCondition(type="Ready", status=status),)
    assert kubernetes_node(Node(status=NodeStatus(conditions=conditions))).ready is ready


def test_nodes_tell_what_they_have_without_a_claim():
    def node(name, *held):
        return IpNode(metadata=FullObjectMeta(name=name), status=IpNodeStatus(held=held or None))

    nodes = [node("n2", "10.0.0.1/32", "fd00::1/128"), node("n1", "10.0.0.1/24", "x"), node("n3")]
    assert located(nodes) == {ip_address("10.0.0.1"): "n1", ip_address("fd00::1"): "n2"}


def test_nodes_tell_what_they_would_refuse():
    record = IpNode(status=IpNodeStatus(refused=("10.0.0.1/32", "x")))
    facts = node_facts("n1", record, None, alive=True, leaving=False)
    assert facts.refuses == {ip_address("10.0.0.1")}


def test_every_interface_that_takes_ips_counts_with_its_subnets():
    links = (
        NodeLink(name="eth0", up=True, takes="Any", addresses=("10.0.0.1/24", "fd00::1/128")),
        NodeLink(name="eth1", takes="Subnets", addresses=("10.1.0.1/24",)),
        NodeLink(name="mgmt", up=True, addresses=("10.2.0.1/24",)),
    )
    ip_node = IpNode(status=IpNodeStatus(links=links))
    facts = node_facts("n1", ip_node, None, alive=True, leaving=False)
    assert facts.link == "eth0"
    assert facts.links == {
        "eth0": NodeLinkFacts(up=True, subnets=(ip_network("10.0.0.0/24"),)),
        "eth1": NodeLinkFacts(up=False, subnets=(ip_network("10.1.0.0/24"),), by_subnet=True),
    }
