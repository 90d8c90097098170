"""Services with local traffic that share an IP: it is where most of them are served."""

from dataclasses import replace
from ipaddress import ip_interface

import pytest

from extip.scheduling.policy.assigned import assigned_condition
from extip.scheduling.policy.filters import KubernetesNode
from extip.scheduling.policy.placement import Strategy
from extip.scheduling.policy.planner import plan_schedule
from extip.scheduling.policy.schedule import AssignClaim
from extip.scheduling.policy.snapshot import Snapshot
from tests.unit.scheduling.test_planner import NODES, apply, by_node, cluster, owner

IP = ip_interface("10.0.0.1/32")
NAME = "10-0-0-1-32"


def plan(claims, alive=NODES, **endpoints):
    """Plan for an IP that the services share whose nodes are given, and one with no such wish."""
    nodes = tuple(replace(one, kubernetes=KubernetesNode()) for one in cluster(alive).nodes)
    served = {f"default/{name}": frozenset(on) for name, on in endpoints.items()}
    wanted = {IP: (*(owner(name) for name in endpoints), owner("other"))}
    known = Snapshot(nodes=nodes, local_endpoints=served)
    return plan_schedule(wanted, claims, known, Strategy.FAIR)


def placed(claims=(), **endpoints):
    made = apply(claims, plan(claims, **endpoints))
    return made, by_node(made)[NAME]


def test_it_is_where_all_of_them_are_served():
    assert placed(a=["n1", "n2"], b=["n2", "n3"])[1] == "n2"


def test_who_has_no_endpoint_keeps_it_away_from_nobody():
    claims, node = placed(a=["n2"], b=[])
    assert node == "n2"
    assert placed(claims, a=["n3"], b=[])[1] == "n3"


def test_with_disjoint_endpoints_somebody_has_it_and_the_others_are_told():
    claims, node = placed(a=["n1"], b=["n2"], c=["n3"])
    assert node == "n1"
    schedule = plan(claims, a=["n1"], b=["n2"], c=["n3"])
    assert schedule.writes == ()
    assert [str(one) for one in schedule.not_served[NAME]] == ["default/b", "default/c"]
    condition = assigned_condition(claims[0], schedule, past=None)
    assert condition is not None
    assert condition.message == "to n1, which has no ready endpoint of default/b, default/c"


def test_the_holder_keeps_it_unless_another_serves_strictly_more():
    claims, _ = placed(a=["n2"], b=["n2"], c=["n3"])
    for endpoints in ({"a": ["n2"], "b": ["n3"], "c": []}, {"a": ["n2"], "b": ["n1"], "c": ["n3"]}):
        assert plan(claims, **endpoints).writes == ()
    (write,) = plan(claims, a=["n2"], b=["n3"], c=["n3"]).writes
    assert isinstance(write, AssignClaim)
    assert write.node == "n3"
    assert "another node had ready endpoints of more of the services" in write.why


def test_the_node_that_serves_most_is_one_that_may_hold_it():
    claims, node = placed(a=["n2"], b=["n2"], c=["n3"])
    assert node == "n2"
    (write,) = plan(claims, ["n1", "n3"], a=["n2"], b=["n2"], c=["n3"]).writes
    assert isinstance(write, AssignClaim)
    assert write.node == "n3"


@pytest.mark.parametrize("endpoints", [{"a": []}, {"a": [], "b": []}])
def test_while_nobody_serves_any_of_them_it_waits_or_stays_where_it_is(endpoints):
    assert placed(**endpoints)[1] == ""
    claims, _ = placed(a=["n2"])
    plans = plan(claims, **endpoints)
    assert [write for write in plans.writes if isinstance(write, AssignClaim)] == []
    assert "no ready endpoint" in plans.waiting[NAME]
    assert plans.not_served == {}
