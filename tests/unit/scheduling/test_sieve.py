"""A node that changes is looked at, no other one is, and the outcome is that of a look at all."""

from dataclasses import replace
from ipaddress import ip_address, ip_interface, ip_network

from hypothesis import given
from hypothesis import strategies as st

from extip.api.meta_v1 import LabelSelector
from extip.scheduling.policy import sieve
from extip.scheduling.policy.filters import KubernetesNode, Needs, NodeFacts, NodeLinkFacts
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


@given(st.lists(st.tuples(nodes(), NEEDS, NEEDS, st.sampled_from(PREFERRING)), max_size=8))
def test_filters_that_follow_the_nodes_say_what_new_ones_say(history):
    filters = NodeFilters(Snapshot(nodes=()))
    for known, *asked, pool in history:
        snapshot = Snapshot(nodes=known, preferring_pools={"pool": pool})
        filters, new = filters.among(snapshot), NodeFilters(snapshot)
        assert filters.open_nodes == new.open_nodes
        for needs in asked:
            assert filters.filter_nodes(needs) == new.filter_nodes(needs)
            assert list(filters.filter_nodes(needs).unfit) == list(new.filter_nodes(needs).unfit)


def test_the_death_of_a_node_costs_a_look_at_that_node(monkeypatch):
    """Also while all its claims are given to other nodes, and after a pool was edited."""
    looked: list[str] = []

    def counted(look):
        def one(node, *args, **kwargs):
            looked.append(node.name)
            return look(node, *args, **kwargs)

        return one

    for name in ("failed_filter", "failed_for_all"):
        monkeypatch.setattr(sieve, name, counted(getattr(sieve, name)))
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
