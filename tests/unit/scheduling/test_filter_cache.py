"""A node that changes is looked at, no other one is, and the outcome is that of a look at all."""

from dataclasses import replace
from ipaddress import ip_address, ip_interface, ip_network
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from extip.api.meta_v1 import LabelSelector
from extip.scheduling.policy import filter_cache
from extip.scheduling.policy.filters import (
    KubernetesNode,
    Needs,
    NodeFacts,
    NodeLinkFacts,
    Unfit,
    failed_filter,
    is_local,
    strays,
)
from extip.scheduling.policy.keys import Wanted
from extip.scheduling.policy.node_filters import NodeFilters
from extip.scheduling.policy.placement import Strategy
from extip.scheduling.policy.snapshot import Snapshot
from tests.unit.scheduling.test_state import NAMES, PREFERRING, SELECTED, History, facts, owner

LANS = tuple(ip_network(f"10.0.0.{at}/{length}") for at, length in ((0, 29), (0, 30), (4, 30)))
IPS = tuple(ip_address(f"10.0.0.{number}") for number in (1, 5, 9))
SELECTORS = (None, SELECTED, LabelSelector(match_labels={"rack": "r2"}))


@st.composite
def nodes(draw):
    """Return some nodes, of which some have several interfaces and subnets."""
    found = []
    for name in draw(st.lists(st.sampled_from(NAMES), unique=True)):
        one = draw(facts(name))
        for link in draw(st.lists(st.sampled_from(["eth0", "eth1"]), unique=True)):
            subnets = tuple(draw(st.lists(st.sampled_from(LANS), unique=True)))
            by_subnet = draw(st.booleans())
            told = NodeLinkFacts(up=draw(st.booleans()), subnets=subnets, by_subnet=by_subnet)
            one = replace(one, links={**one.links, link: told})
        found.append(one)
    return tuple(sorted(found, key=lambda one: one.name))


NEEDS = st.builds(
    Needs,
    ip=st.sampled_from(IPS),
    link=st.sampled_from(["", "", "eth1"]),
    node_selector=st.sampled_from(SELECTORS),
    every_node=st.booleans(),
    endpoint_nodes=st.sampled_from(
        [(), (), (frozenset({"n1"}),), (frozenset({"n1"}), frozenset())]
    ),
)


def look_at_all(nodes, needs, off=frozenset()):
    """Filter node after node: the reference. Return those that pass, and the reasons."""
    unfit = {n.name: why for n in nodes if (why := failed_filter(n, needs, ignored=off))}
    if Unfit.OTHER_SUBNET not in off and any(is_local(one, needs.ip) for one in nodes):
        passed = [one for one in nodes if one.name not in unfit]
        unfit |= {one.name: Unfit.OTHER_SUBNET for one in passed if strays(one, needs)}
    passed = [one for one in nodes if one.name not in unfit]
    served = {n.name: needs.served_by(n.name) for n in passed if n.kubernetes is not None}
    if len(needs.endpoint_nodes) > 1:
        fewer = [name for name, number in served.items() if number < max(served.values())]
        unfit |= dict.fromkeys(fewer, Unfit.FEWER_ENDPOINTS)
    for soft in (Unfit.NO_NODE, Unfit.ISOLATED, Unfit.OTHER_SUBNET):
        if soft not in off and len(unfit) == len(nodes) and soft in unfit.values():
            hard = off - {Unfit.NO_NODE, Unfit.ISOLATED} if soft is Unfit.OTHER_SUBNET else off
            return look_at_all(nodes, needs, hard | {soft})
    return frozenset(one.name for one in nodes) - unfit.keys(), unfit


@given(st.lists(st.tuples(nodes(), NEEDS, NEEDS, st.sampled_from(PREFERRING)), max_size=8))
def test_filters_that_follow_the_nodes_say_what_new_ones_say(history):
    filters = NodeFilters(Snapshot(nodes=()))
    for known, *asked, pool in history:
        snapshot = Snapshot(nodes=known, preferring_pools={"pool": pool})
        filters, new = filters.among(snapshot), NodeFilters(snapshot)
        assert filters.open_nodes == new.open_nodes
        for needs in asked:
            found = filters.filter_nodes(needs)
            assert found == new.filter_nodes(needs)
            assert (found.nodes, found.unfit) == look_at_all(known, needs)


def test_the_death_of_a_node_costs_a_look_at_that_node(monkeypatch):
    """Also while all its claims are given to other nodes, and after a pool was edited."""
    looked: list[str] = []

    def counted(look):
        def one(node, *args, **kwargs):
            looked.append(node.name)
            return look(node, *args, **kwargs)

        return one

    for name in ("failed_filter", "failed_for_all"):
        monkeypatch.setattr(filter_cache, name, counted(getattr(filter_cache, name)))
    history = History(Strategy.FAIR)
    for number in range(200):
        history.node(NodeFacts(name=f"m{number}", alive=True, kubernetes=KubernetesNode()))
    for number in range(250):
        history.want(Wanted(ip_interface(f"10.0.1.{number}/32"), (owner("a"),)))
    for _ in range(2):
        history.decide()
        history.write(999)
    assert len(looked) >= 200
    looked.clear()
    history.node(NodeFacts(name="m7", alive=False, kubernetes=KubernetesNode()))
    history.decide()
    assert history.state.writes
    assert set(looked) == {"m7"}
    looked.clear()
    history.happen("preferring", PREFERRING[0])
    history.decide()
    assert not looked


def test_the_endpoints_of_each_service_cost_no_look_at_the_nodes(monkeypatch):
    looked: list[str] = []

    def counted(node, *args, **kwargs):
        looked.append(node.name)
        return failed_filter(node, *args, **kwargs)

    monkeypatch.setattr(filter_cache, "failed_filter", counted)
    names = [f"m{number}" for number in range(200)]
    known = tuple(NodeFacts(name=n, alive=True, kubernetes=KubernetesNode()) for n in names)
    filters = NodeFilters(Snapshot(nodes=known))
    for first, second in pairwise(names):
        needs = Needs(ip=IPS[0], endpoint_nodes=(frozenset({first, second}),))
        assert filters.filter_nodes(needs).nodes == {first, second}
    assert len(looked) == 200
