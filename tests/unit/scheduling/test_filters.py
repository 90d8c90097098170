"""Every node that may not hold a claim says why, and every rule is a rule of its own."""

from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest

from extip.api.meta_v1 import LabelSelector, LabelSelectorRequirement
from extip.scheduling.policy.filter_cache import filter_nodes
from extip.scheduling.policy.filters import (
    EXPLANATIONS,
    OPTIONAL,
    PAST,
    KubernetesNode,
    Needs,
    NodeFacts,
    NodeLinkFacts,
    Unfit,
    failed_for_all,
)

IP = ip_address("10.0.0.1")
LINKS = {"eth0": NodeLinkFacts(up=True, subnets=(ip_network("10.0.0.0/24"),))}
BY_SUBNET = {"eth0": replace(LINKS["eth0"], by_subnet=True)}
NEEDS = Needs(ip=IP)


def node(name="n1", **facts):
    defaults = {"alive": True, "link": "eth0", "links": LINKS, "kubernetes": KubernetesNode()}
    return NodeFacts(**{"name": name, **defaults, **facts})


CASES = [
    (node(alive=False), NEEDS, Unfit.DEAD),
    (node(draining=True), NEEDS, Unfit.DRAINING),
    (node(links={"eth0": NodeLinkFacts(up=False)}), NEEDS, Unfit.LINK_DOWN),
    (
        node(links=LINKS | {"eth1": NodeLinkFacts(up=False)}),
        Needs(ip=IP, link="eth1"),
        Unfit.LINK_DOWN,
    ),
    (node(unread=True), NEEDS, Unfit.UNREAD),
    (node(kubernetes=KubernetesNode(deleted=True)), NEEDS, Unfit.DELETED),
    (node(kubernetes=KubernetesNode(ready=False)), NEEDS, Unfit.NOT_READY),
    (node(kubernetes=KubernetesNode(evicting=True)), NEEDS, Unfit.EVICTING),
    (node(kubernetes=KubernetesNode(excluded=True)), NEEDS, Unfit.EXCLUDED),
    (
        node(),
        Needs(ip=IP, node_selector=LabelSelector(match_labels={"edge": "yes"})),
        Unfit.NOT_SELECTED,
    ),
    (
        node(kubernetes=None),
        Needs(ip=IP, node_selector=LabelSelector(match_labels={"edge": "yes"})),
        Unfit.NOT_SELECTED,
    ),
    (node(), Needs(ip=IP, endpoint_nodes=(frozenset({"n2"}),)), Unfit.NO_ENDPOINT),
    (node(), Needs(ip=IP, link="eth7"), Unfit.NO_LINK),
    (node(), Needs(ip=IP, every_node=True), Unfit.ON_SEGMENT),
    (node(links=BY_SUBNET), Needs(ip=ip_address("10.0.1.1")), Unfit.NO_SUBNET),
]


@pytest.mark.parametrize(("facts", "needs", "reason"), CASES)
def test_a_node_that_may_not_hold_the_claim_says_why(facts, needs, reason):
    result = filter_nodes([facts], needs)
    assert result.nodes == frozenset()
    assert result.unfit == {"n1": reason}
    assert EXPLANATIONS[reason] in result.explain()


@pytest.mark.parametrize(("facts", "needs", "reason"), CASES)
def test_each_rule_can_be_switched_off_but_for_those_that_cannot(facts, needs, reason):
    result = filter_nodes([facts], needs, ignored=frozenset({reason}))
    assert result.nodes == (frozenset({"n1"}) if reason in OPTIONAL else frozenset())


def test_every_rule_has_a_case():
    cases = {reason for _, _, reason in CASES}
    cases |= {
        Unfit.ISOLATED,
        Unfit.NO_NODE,
        Unfit.FEWER_ENDPOINTS,
        Unfit.OTHER_SUBNET,
    }  # in comparison with others alone
    assert cases == set(Unfit) == set(EXPLANATIONS) == set(PAST)


ISOLATED = node("n1", isolated=frozenset({"eth0"}))


def test_a_node_that_nobody_answers_is_left_out_while_there_is_another():
    result = filter_nodes([ISOLATED, node("n2")], NEEDS)
    assert result.nodes == {"n2"}
    assert result.unfit == {"n1": Unfit.ISOLATED}
    assert EXPLANATIONS[Unfit.ISOLATED] in result.explain()


@pytest.mark.parametrize(("facts", "needs", "reason"), CASES)
def test_what_else_is_in_the_way_comes_first(facts, needs, reason):
    """It may keep what it has while nobody is known to be better off; but not in spite of that."""
    isolated = replace(facts, isolated=frozenset({"eth0", "eth1"}))
    assert filter_nodes([isolated, node("n2")], needs).unfit["n1"] is reason


@pytest.mark.parametrize(
    "other", [node("n2", isolated=frozenset({"eth0"})), node("n2", alive=False)]
)
def test_where_no_other_can_have_it_an_isolated_node_can(other):
    """Whose only neighbour has died hears nobody either."""
    result = filter_nodes([ISOLATED, other], NEEDS)
    assert result.nodes == {facts.name for facts in (ISOLATED, other) if facts.alive}


def test_that_rule_can_be_switched_off():
    result = filter_nodes([ISOLATED, node("n2")], NEEDS, ignored=frozenset({Unfit.ISOLATED}))
    assert result.nodes == {"n1", "n2"}


def test_it_is_about_the_interface_that_the_controller_was_given():
    needs = Needs(ip=IP, link="eth1")
    links = dict.fromkeys(("eth0", "eth1"), LINKS["eth0"])
    nodes = [node("n1", isolated=frozenset({"eth0"}), links=links), node("n2", links=links)]
    assert filter_nodes(nodes, needs).nodes == {"n1", "n2"}


@pytest.mark.parametrize(
    "facts",
    [
        node(),
        node(kubernetes=None),
        node(links={}),
        node(links=BY_SUBNET),
        node(links=LINKS | {"eth1": NodeLinkFacts(up=False)}),
    ],
)
def test_what_is_not_in_the_way_does_not_count(facts):
    assert filter_nodes([facts], NEEDS).nodes == {"n1"}


def test_a_claim_that_all_can_hold_finds_all():
    needs = Needs(
        ip=IP,
        link="eth0",
        node_selector=LabelSelector(match_labels={"edge": "yes"}),
        endpoint_nodes=(frozenset({"n1"}),),
    )
    facts = node(kubernetes=KubernetesNode(labels={"edge": "yes"}))
    assert filter_nodes([facts], needs).nodes == {"n1"}


def test_the_first_of_several_reasons_is_named():
    assert filter_nodes([node(alive=False, draining=True)], NEEDS).unfit == {"n1": Unfit.DEAD}


def test_the_explanation_stays_short_in_a_large_cluster():
    dead = [node(f"n{number:03d}", alive=False) for number in range(1000)]
    text = filter_nodes([*dead, node("x", draining=True)], NEEDS).explain()
    assert text.startswith("n000, n001, n002 and 997 more: its controller sends no heartbeats; x: ")
    assert filter_nodes([], NEEDS).explain() == "no node has registered"


def nodes_of(*names):
    return frozenset(f"n{number}" for number in names)


SHARED = Needs(ip=IP, endpoint_nodes=(nodes_of(1, 2), nodes_of(2), nodes_of(3)))


def test_of_services_that_share_an_ip_the_node_that_serves_most_may_hold_it():
    result = filter_nodes([node(f"n{number}") for number in range(1, 5)], SHARED)
    assert result.nodes == {"n2"}
    assert result.unfit == {
        "n1": Unfit.FEWER_ENDPOINTS,
        "n3": Unfit.FEWER_ENDPOINTS,
        "n4": Unfit.NO_ENDPOINT,
    }


def test_who_serves_most_and_may_not_hold_it_stands_in_nobodys_way():
    nodes = [node("n1"), node("n2", alive=False), node("n3", isolated=frozenset({"eth0"}))]
    assert filter_nodes(nodes, SHARED).nodes == {"n1"}


def test_of_a_controller_that_is_no_kubernetes_node_nobody_knows_how_many_it_serves():
    assert filter_nodes([node("n1", kubernetes=None), node("n2")], SHARED).nodes == {"n1", "n2"}


@pytest.mark.parametrize(
    ("rule", "nodes"),
    [(Unfit.FEWER_ENDPOINTS, {"n1", "n2"}), (Unfit.NO_ENDPOINT, {"n1", "n2", "n4"})],
)
def test_how_many_are_served_need_not_count(rule, nodes):
    found = filter_nodes(
        [node(name) for name in ("n1", "n2", "n4")], SHARED, ignored=frozenset({rule})
    )
    assert found.nodes == nodes


LOCAL = Needs(ip=IP, endpoint_nodes=(frozenset({"n1"}),))
NOT_HERE = LabelSelectorRequirement(key="rack", operator="NotIn", values=("7",))
ELSEWHERE = Needs(ip=IP, node_selector=LabelSelector(match_expressions=(NOT_HERE,)))


@pytest.mark.parametrize("needs", [LOCAL, ELSEWHERE])
def test_a_controller_without_a_kubernetes_node_gets_what_depends_on_one_when_no_other_can(needs):
    """Nobody knows its labels, or whether a service has endpoints there."""
    nameless = node("n1.example.com", kubernetes=None)
    result = filter_nodes([node("n1"), nameless], needs)
    assert result.nodes == {"n1"}
    assert result.unfit == {"n1.example.com": Unfit.NO_NODE}
    assert EXPLANATIONS[Unfit.NO_NODE] in result.explain()
    assert filter_nodes([node("n1"), nameless], NEEDS).nodes == {"n1", "n1.example.com"}

    result = filter_nodes([node("n1", alive=False), nameless], needs)
    assert result.nodes == {"n1.example.com"}
    assert not result.last_resort
    ignored = frozenset({Unfit.NO_NODE})
    assert filter_nodes([node("n1"), nameless], needs, ignored=ignored).nodes == {
        "n1",
        "n1.example.com",
    }


def test_endpoints_on_a_node_that_has_just_gone_are_known():
    assert filter_nodes([node("n1", kubernetes=None), node("n2")], LOCAL).nodes == {"n1"}


def test_rather_a_controller_without_a_kubernetes_node_than_an_isolated_one():
    known, nameless = node("n1", isolated=frozenset({"eth0"})), node("x", kubernetes=None)
    assert filter_nodes([known, nameless], LOCAL).nodes == {"x"}
    result = filter_nodes([known, replace(nameless, isolated=frozenset({"eth0"}))], LOCAL)
    assert result.nodes == {"n1", "x"}
    assert result.last_resort


def test_where_no_service_has_an_endpoint_no_other_name_helps():
    needs = Needs(ip=IP, endpoint_nodes=(frozenset(),))
    nodes = [node("n1"), node("x", kubernetes=None)]
    assert filter_nodes(nodes, needs).unfit == dict.fromkeys(("n1", "x"), Unfit.NO_ENDPOINT)


@pytest.mark.parametrize(("facts", "needs", "reason"), CASES)
def test_what_keeps_a_node_from_holding_anything(facts, needs, reason):
    general = needs == NEEDS and reason is not Unfit.NO_SUBNET
    assert failed_for_all(facts) == (reason if general else None)
    ignored = failed_for_all(facts, ignored=frozenset({reason}))
    assert ignored == (reason if general and reason not in OPTIONAL else None)


LAN = NodeLinkFacts(up=True, subnets=(ip_network("10.0.0.0/24"),))
DMZ = NodeLinkFacts(up=True, subnets=(ip_network("10.9.0.0/24"),), by_subnet=True)
OF_DMZ = Needs(ip=ip_address("10.9.0.1"))


@pytest.mark.parametrize(
    ("links", "needs", "reason"),
    [
        ({"lan": LAN, "dmz": DMZ}, NEEDS, None),
        ({"lan": LAN, "dmz": DMZ}, OF_DMZ, None),
        ({"lan": LAN, "dmz": replace(DMZ, up=False)}, OF_DMZ, Unfit.LINK_DOWN),
        ({"lan": LAN, "dmz": replace(DMZ, up=False)}, NEEDS, None),
        ({"lan": replace(LAN, up=False), "dmz": DMZ}, NEEDS, Unfit.LINK_DOWN),
        ({"lan": replace(LAN, up=False), "dmz": DMZ}, OF_DMZ, None),
        ({"dmz": DMZ}, NEEDS, Unfit.NO_SUBNET),
        ({"dmz": DMZ}, replace(NEEDS, link="dmz"), None),
        ({"lan": LAN, "dmz": DMZ}, replace(NEEDS, link="wan"), Unfit.NO_LINK),
    ],
)
def test_the_interface_that_the_ip_would_be_on_counts(links, needs, reason):
    facts = node(link=next(iter(links)), links=links)
    assert filter_nodes([facts], needs).unfit == ({} if reason is None else {"n1": reason})


def test_isolation_is_about_each_interface_by_itself():
    other = node("n2", link="lan", links={"lan": LAN, "dmz": DMZ})
    for isolated, of_lan, of_dmz in (("lan", True, False), ("dmz", False, True)):
        facts = replace(other, name="n1", isolated=frozenset({isolated}))
        for needs, left in ((NEEDS, of_lan), (OF_DMZ, of_dmz)):
            found = filter_nodes([facts, other], needs).unfit
            assert found == ({"n1": Unfit.ISOLATED} if left else {})
        assert failed_for_all(facts) is None
    everywhere = replace(other, isolated=frozenset({"lan", "dmz"}))
    assert failed_for_all(everywhere) is Unfit.ISOLATED
    half = replace(everywhere, links={"lan": LAN, "dmz": replace(DMZ, up=False)})
    assert failed_for_all(replace(half, isolated=frozenset({"lan"}))) is Unfit.ISOLATED


def test_a_node_can_hold_something_while_one_of_its_interfaces_is_up():
    links = {"lan": replace(LAN, up=False), "dmz": DMZ}
    assert failed_for_all(node(link="lan", links=links)) is None
    links["dmz"] = replace(DMZ, up=False)
    assert failed_for_all(node(link="lan", links=links)) is Unfit.LINK_DOWN


LISTED = NodeLinkFacts(up=True, subnets=(ip_network("10.9.0.0/24"),))
AWAY = {"lan": LAN}
BOTH = {"lan": LAN, "dmz": LISTED}


def of_dmz(name, links, **facts):
    return node(name, link="lan", links=links, **facts)


def test_a_node_without_the_lan_of_an_ip_is_left_out_while_another_one_passes():
    """It would have the IP on its first interface, where nobody asks for it."""
    result = filter_nodes([of_dmz("n1", BOTH), of_dmz("n2", AWAY)], OF_DMZ)
    assert result.nodes == {"n1"}
    assert result.unfit == {"n2": Unfit.OTHER_SUBNET}
    assert EXPLANATIONS[Unfit.OTHER_SUBNET] in result.explain()
    for dead in (
        of_dmz("n1", BOTH, alive=False),
        of_dmz("n1", BOTH | {"dmz": replace(LISTED, up=False)}),
    ):
        assert filter_nodes([dead, of_dmz("n2", AWAY)], OF_DMZ).nodes == {"n2"}


@pytest.mark.parametrize(
    ("needs", "away"),
    [
        (Needs(ip=ip_address("10.7.0.1")), AWAY),  # of no node's subnet
        (OF_DMZ, {"lan": replace(LAN, subnets=())}),  # its own subnets are not known
        (replace(OF_DMZ, link="lan"), AWAY),  # somebody said so
    ],
)
def test_a_node_without_the_lan_of_an_ip_is_as_good_where_nothing_speaks_against_it(needs, away):
    assert filter_nodes([of_dmz("n1", BOTH), of_dmz("n2", away)], needs).nodes == {"n1", "n2"}


def test_rather_an_isolated_node_on_the_lan_of_an_ip_than_one_elsewhere():
    isolated = frozenset({"lan", "dmz"})
    home, away = of_dmz("n1", BOTH, isolated=isolated), of_dmz("n2", AWAY)
    found = filter_nodes([home, away], OF_DMZ)
    assert found.nodes == {"n1"}
    assert found.last_resort
    lost, cut_off = replace(home, alive=False), of_dmz("n3", AWAY, isolated=isolated)
    found = filter_nodes([lost, away, cut_off], OF_DMZ)
    assert found.nodes == {"n2"}
    assert not found.last_resort


def test_a_rule_about_the_lan_of_an_ip_can_be_switched_off():
    nodes = [of_dmz("n1", BOTH), of_dmz("n2", AWAY)]
    ignored = frozenset({Unfit.OTHER_SUBNET})
    assert filter_nodes(nodes, OF_DMZ, ignored=ignored).nodes == {"n1", "n2"}
