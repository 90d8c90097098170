"""The addresses of one service are on different nodes, as far as there are nodes."""

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace as changed

from extip.api.core_v1 import DetailedService, DetailedServiceMeta
from extip.api.ipcontroller_v1 import IpClaim
from extip.scheduling.policy.placement import Strategy
from extip.scheduling.policy.spread import Apart, Spread, group_of, service_of_group
from extip.services.policy.address_count import spreads
from tests.unit.scheduling.test_preference import ALL, IPS, STAYS, cluster, loads, quiet, settled

NODES = sorted(ALL)


def spreading(*alive, **wishes):
    return replace(cluster(*alive, **wishes), spread={"default/web": 3})


@pytest.mark.parametrize("strategy", Strategy)
def test_each_is_on_a_node_of_its_own(strategy):
    assert loads(settled({}, spreading(*ALL), strategy, IPS[:3])) == {"n1": 1, "n2": 1, "n3": 1}
    assert sorted(loads(settled({}, spreading("n1", "n4"), strategy, IPS)).values()) == [3, 3]


@pytest.mark.parametrize("strategy", Strategy)
def test_preferred_nodes_get_the_first_ones(strategy):
    wish = spreading(*ALL, nodes=("n4", "n2"))
    assert loads(settled({}, wish, strategy, IPS[:2])) == {"n2": 1, "n4": 1}
    assert loads(settled({}, wish, strategy, IPS[:1])) == {"n4": 1}


@pytest.mark.parametrize("strategy", Strategy)
def test_after_a_death_and_a_return_they_are_apart_again(strategy):
    ips = IPS[:3]
    home = settled({}, spreading("n1", "n2", "n3"), strategy, ips)
    crowded = settled(home, spreading("n1", "n3"), strategy, ips)
    assert sorted(loads(crowded).values()) == [1, 2], "only the one of the dead node has moved"
    (move,) = quiet(crowded, spreading("n1", "n2", "n3"), strategy)
    assert (move.node, move.why) == ("n2", "another address of its service was there")
    assert quiet(crowded, spreading("n1", "n2", "n3"), strategy, steady=ALL - {"n2"}) == ()
    assert quiet(crowded, spreading("n1", "n2", "n3", pool=STAYS), strategy) == ()


HISTORIES = st.lists(st.sets(st.sampled_from(NODES), min_size=1), min_size=1, max_size=5)


@given(HISTORIES, st.integers(1, 6), st.sampled_from(Strategy), st.sampled_from([(), ("n4",)]))
def test_whatever_died_they_are_on_as_many_nodes_as_may_be_when_it_is_quiet(
    history, count, strategy, nodes
):
    claims: dict[str, IpClaim] = {}
    for alive in history:
        claims = settled(claims, spreading(*alive, nodes=nodes), strategy, IPS[:count])
    alive = history[-1]
    for _ in range(20):
        moves = quiet(claims, spreading(*alive, nodes=nodes), strategy)
        if not moves:
            break
        places = {move.claim.metadata.name: move.node for move in moves}
        claims = moved(claims, places)
    else:
        raise AssertionError("it never ends")
    held = Counter(claim.spec.node_name for claim in claims.values())
    counts = [held[node] for node in alive]
    assert max(counts) - min(counts) <= 1
    assert sum(held.values()) == sum(counts) == count
    if "n4" in nodes and "n4" in alive:
        assert held["n4"] == max(counts)


def moved(claims, places):
    return {
        name: changed(claim, spec=changed(claim.spec, node_name=places[name]))
        if name in places
        else claim
        for name, claim in claims.items()
    }


@pytest.mark.parametrize("strategy", Strategy)
def test_load_is_evened_out_without_putting_two_together(strategy):
    """Fair moves one of the two to the empty node; neither puts both on one."""
    home = settled({}, spreading("n1", "n2"), strategy, IPS[:4])
    assert loads(home) == {"n1": 2, "n2": 2}
    for _ in range(9):
        moves = quiet(home, spreading("n1", "n2", "n3"), strategy)
        home = moved(home, {move.claim.metadata.name: move.node for move in moves})
    assert sorted(loads(home).values()) == [1, 1, 2]


@given(
    st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from(NODES)), max_size=20),
    st.frozensets(st.sampled_from(NODES), min_size=1),
    st.sampled_from(["", *NODES]),
)
def test_the_best_nodes_have_the_fewest_others_of_the_group(held, eligible, holder):
    spread = Spread()
    for group, node in held:
        spread.hold(group, node)
    if holder:
        spread.hold("a", holder)
    others = Counter(node for group, node in held if group == "a")
    ranks = {node: (int(node == "n1"), 0) for node in eligible}
    best = min((others[node], ranks[node]) for node in eligible)
    assert spread.best(Apart("a", ranks), eligible, holder) == {
        node for node in eligible if (others[node], ranks[node]) == best
    }
    fewest = min(others[node] for node in eligible)
    assert spread.best(Apart("a", {}), eligible, holder) == {
        node for node in eligible if others[node] == fewest
    }
    for group, node in held:
        spread.release(group, node)
    assert spread.count("b", "n1") == 0


def test_a_group_is_a_service_and_an_ip_version():
    assert group_of("shop/web", 6) != group_of("shop/web", 4)
    assert service_of_group(group_of("shop/web", 4)) == "shop/web"


@pytest.mark.parametrize(
    ("text", "found"), [("3", ("shop/web", 3)), ("1", None), ("x", None), (None, None)]
)
def test_services_that_ask_for_several_are_apart(text, found):
    annotations = None if text is None else {"ipcontroller.ext/address-count": text}
    meta = DetailedServiceMeta(namespace="shop", name="web", annotations=annotations)
    assert spreads(DetailedService(metadata=meta)) == found
