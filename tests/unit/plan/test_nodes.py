"""What a controller reported of its node, as far as placement asks."""

from extip.api.ipcontroller_v1 import IpNode, IpNodeSpec, IpNodeStatus, NodeLink
from extip.plan.eligibility import NodeFacts, NodeLinkFacts
from extip.plan.nodes import node_facts


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


def test_a_drain_is_asked_for_by_a_person_or_by_the_controller():
    asked = IpNode(spec=IpNodeSpec(draining=True))
    assert node_facts("n1", asked, None, alive=True, leaving=False).draining
    assert node_facts("n1", IpNode(), None, alive=True, leaving=True).draining
