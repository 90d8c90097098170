"""An IP is on the nodes that its service or pool prefers while those may hold it."""

from dataclasses import replace
from ipaddress import ip_interface

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extip.api.core_v1 import DetailedService, DetailedServiceMeta
from extip.api.ipcontroller_v1 import IpClaimPoolSpec
from extip.api.meta_v1 import LabelSelector
from extip.api.pool_parts import PreferredNodes
from extip.scheduling.policy.assigned import assigned_condition
from extip.scheduling.policy.filters import KubernetesNode, NodeFacts, Unfit
from extip.scheduling.policy.placement import Strategy
from extip.scheduling.policy.planner import plan_schedule
from extip.scheduling.policy.preference import Preferred, preference_of
from extip.scheduling.policy.snapshot import Snapshot
from extip.services.policy.preferred_nodes import preferred_nodes
from extip.services.policy.requests import Owner
from tests.unit.scheduling.rebalance_reference import plan_rebalance
from tests.unit.scheduling.test_state import after

WEB = Owner(kind="Service", namespace="default", name="web", uid="u")
IPS = [ip_interface(f"10.0.0.{n}/32") for n in range(1, 7)]
ALL = frozenset({"n1", "n2", "n3", "n4"})


def prefers(**weights):
    """Return the spec of a pool that prefers racks, each with its weight."""
    return IpClaimPoolSpec(
        preferred_nodes=tuple(
            PreferredNodes(weight=weight, selector=LabelSelector(match_labels={"rack": rack}))
            for rack, weight in weights.items()
        )
    )


STAYS = IpClaimPoolSpec(rebalance="Never")


def cluster(*alive, pool=None, nodes=(), racks="aabb"):
    """Make a cluster of four nodes in racks, with a preference of the pool or of the service."""
    return Snapshot(
        nodes=tuple(
            NodeFacts(
                name=name, alive=name in alive, kubernetes=KubernetesNode(labels={"rack": rack})
            )
            for name, rack in zip(sorted(ALL), racks, strict=True)
        ),
        ignored=frozenset({Unfit.NO_SUBNET}),
        preferring_pools={} if pool is None else {"edge": pool},
        preferred_nodes={"default/web": nodes} if nodes else {},
    )


def plan(claims, snapshot, strategy=Strategy.FAIR, ips=IPS):
    return plan_schedule(
        dict.fromkeys(ips, (WEB,)),
        list(claims.values()),
        snapshot,
        strategy,
        pools=dict.fromkeys(ips, "edge"),
    )


def settled(claims, snapshot, strategy=Strategy.FAIR, ips=IPS):
    return after(claims, plan(claims, snapshot, strategy, ips).writes)


def quiet(claims, snapshot, strategy=Strategy.FAIR, *, steady=ALL):
    return plan_rebalance(claims.values(), snapshot, steady=steady, limit=99, strategy=strategy)


def loads(claims):
    held = [claim.spec.node_name for claim in claims.values()]
    return {node: held.count(node) for node in sorted({*held})}


@pytest.mark.parametrize("strategy", Strategy)
def test_the_first_of_the_named_nodes_that_may_hold_an_ip_gets_it(strategy):
    named = ("n3", "n2")
    assert loads(settled({}, cluster(*ALL, nodes=named), strategy)) == {"n3": 6}
    assert loads(settled({}, cluster("n1", "n2", nodes=named), strategy)) == {"n2": 6}
    assert sum(loads(settled({}, cluster("n1", "n4", nodes=named), strategy)).values()) == 6


def test_the_greatest_sum_of_weights_wins_and_equals_are_even_to_one_claim():
    pool = prefers(a=10, b=20)
    assert loads(settled({}, cluster(*ALL, pool=pool))) == {"n3": 3, "n4": 3}
    pool = prefers(a=10, b=4)
    twice = replace_terms(pool, *prefers(b=7).preferred_nodes)
    assert loads(settled({}, cluster(*ALL, pool=pool))) == {"n1": 3, "n2": 3}
    assert loads(settled({}, cluster(*ALL, pool=twice))) == {"n3": 3, "n4": 3}


def replace_terms(pool, *more):
    return IpClaimPoolSpec(preferred_nodes=(*pool.preferred_nodes, *more))


def test_the_list_of_the_service_counts_before_the_weights_of_the_pool():
    assert loads(settled({}, cluster(*ALL, pool=prefers(b=9), nodes=("n2",)))) == {"n2": 6}
    assert loads(settled({}, cluster("n1", "n3", pool=prefers(b=9), nodes=("n2",)))) == {"n3": 6}


def test_a_node_that_kubernetes_does_not_know_is_preferred_by_no_selector():
    known = cluster(*ALL, pool=IpClaimPoolSpec(preferred_nodes=(PreferredNodes(weight=1),)))
    strange = tuple(replace(n, kubernetes=None) if n.name != "n4" else n for n in known.nodes)
    assert loads(settled({}, replace(known, nodes=strange))) == {"n4": 6}


@pytest.mark.parametrize("strategy", Strategy)
def test_an_ip_goes_back_in_quiet_times_alone(strategy):
    away = settled({}, cluster("n1", "n3", nodes=("n2",)), strategy)
    back = cluster(*ALL, nodes=("n2",))
    assert plan(away, back, strategy).writes == ()
    assert quiet(away, back, strategy, steady=ALL - {"n2"}) == (), "it waits for n2"
    moves = quiet(away, back, strategy)
    assert {move.node for move in moves} == {"n2"}
    assert {move.why for move in moves} == {"n2 is preferred"}
    home = after(away, moves)
    assert loads(home) == {"n2": 6}
    assert quiet(home, back, strategy) == ()


@pytest.mark.parametrize("strategy", Strategy)
def test_an_ip_whose_pool_says_never_moves_only_when_it_must(strategy):
    pool = IpClaimPoolSpec(preferred_nodes=prefers(b=1).preferred_nodes, rebalance="Never")
    away = settled({}, cluster("n1", pool=pool), strategy)
    assert loads(away) == {"n1": 6}
    assert quiet(away, cluster(*ALL, pool=pool), strategy) == ()
    assert quiet(away, cluster(*ALL, pool=STAYS), strategy) == ()
    dead = cluster("n2", "n3", pool=pool)
    assert loads(settled(away, dead, strategy)) == {"n3": 6}


def test_in_quiet_times_equal_nodes_are_evened_out_and_others_get_nothing():
    pool = prefers(a=5)
    away = settled({}, cluster("n1", "n3", pool=pool))
    assert loads(away) == {"n1": 6}
    home = after(away, quiet(away, cluster(*ALL, pool=pool)))
    assert loads(home) == {"n1": 3, "n2": 3}


def test_a_claim_says_that_it_is_not_where_it_is_to_be():
    for snapshot, text in (
        (cluster("n1", nodes=("n2", "n1")), "to n1, though n2 is preferred"),
        (cluster("n1", pool=prefers(b=1)), "to n1, though its pool prefers others"),
        (cluster("n1", pool=prefers(a=1)), "to n1"),
        (cluster("n1", nodes=("n1", "n2"), pool=prefers(b=1)), "to n1"),
    ):
        claims = settled({}, snapshot, ips=IPS[:1])
        (claim,) = claims.values()
        told = assigned_condition(claim, plan(claims, snapshot, ips=IPS[:1]), past=None)
        assert told is not None
        assert told.message == text


def test_of_services_that_share_an_ip_the_first_with_a_list_counts():
    other = Owner(kind="Service", namespace="default", name="also", uid="v")
    snapshot = replace(
        cluster(*ALL), preferred_nodes={"default/also": ("n4",), "default/web": ("n2",)}
    )
    (write,) = plan_schedule({IPS[0]: (WEB, other)}, [], snapshot, Strategy.FAIR).writes
    assert write.claim.spec.node_name == "n4"


NODE_SETS = st.frozensets(st.sampled_from(sorted(ALL)), min_size=1)


@given(
    NODE_SETS,
    st.lists(st.sampled_from([*sorted(ALL), "n9"]), unique=True, max_size=3),
    st.dictionaries(st.sampled_from("ab"), st.integers(1, 100)),
)
def test_no_other_node_that_may_hold_it_is_better_than_a_preferred_one(eligible, named, weights):
    racks = dict(zip(sorted(ALL), "aabb", strict=True))
    known = Preferred({name: {"rack": rack} for name, rack in racks.items()})
    wish = preference_of(tuple(named), prefers(**weights))

    def rank(node):
        place = named.index(node) if node in named else len(named)
        return place, -weights.get(racks[node], 0)

    best = min(map(rank, eligible))
    found = known.among(eligible, wish)
    assert found == {node for node in eligible if rank(node) == best}
    assert known.among(eligible, wish) is found
    for node in eligible:
        if not known.better(node, wish):
            assert node in found


@pytest.mark.parametrize(
    ("text", "nodes"),
    [("n2,n1", ("n2", "n1")), (" n2 , ,n1,n2", ("n2", "n1")), ("", None), (" , ", None)],
)
def test_a_service_lists_nodes(text, nodes):
    meta = DetailedServiceMeta(
        namespace="default",
        name="web",
        annotations={"ipcontroller.ext/preferred-nodes": text},
    )
    found = preferred_nodes(DetailedService(metadata=meta))
    assert found == (None if nodes is None else ("default/web", nodes))


def test_of_a_list_without_end_the_first_names_count():
    """A tenant who writes one must not have the scheduler look each node up in 60,000 names."""
    names = [f"{number:x}" for number in range(60_000)]
    meta = DetailedServiceMeta(
        namespace="default",
        name="web",
        annotations={"ipcontroller.ext/preferred-nodes": ",".join(names)},
    )
    found = preferred_nodes(DetailedService(metadata=meta))
    assert found is not None
    assert found[1] == tuple(names[:64])
