"""The same seed gives the same faults, and never more at a time than a cluster can bear."""

import pytest

from tests.soak import faults
from tests.soak.policy import plan
from tests.soak.policy.kinds import KINDS

HOUR_S = 3600.0


def overlapping(drawn, scope):
    """Yield those of a scope that others had not ended before, with these others."""
    mine = [one for one in drawn if one.kind.scope == scope]
    for one in mine:
        yield one, [o for o in mine if o is not one and o.begin_s <= one.begin_s < o.end_s]


def test_the_same_seed_gives_the_same_plan():
    assert plan.faults(7, HOUR_S) == plan.faults(7, HOUR_S)
    assert plan.changes(7, HOUR_S) == plan.changes(7, HOUR_S)
    assert plan.faults(7, HOUR_S) != plan.faults(8, HOUR_S)


def test_every_kind_happens_and_can_be_done():
    assert {one.kind for one in plan.faults(1, HOUR_S)} == set(KINDS)
    assert faults.implemented() == {kind.name for kind in KINDS}


@pytest.mark.parametrize("seed", range(10))
def test_most_nodes_have_no_fault_at_any_time(seed):
    for one, others in overlapping(plan.faults(seed, HOUR_S), "node"):
        assert one.target not in {other.target for other in others}
        assert len(others) < 2


def test_a_scheduler_has_no_fault_while_its_node_has_one():
    drawn = plan.faults(1, 3 * HOUR_S)
    on_node = [one for one in drawn if one.target in plan.ON_NODES]
    assert on_node
    for one in on_node:
        node = plan.ON_NODES[one.target]
        others = [other for other in drawn if other.target == node]
        assert not any(o.begin_s < one.end_s and one.begin_s < o.end_s for o in others)


@pytest.mark.parametrize("scope", ["scheduler", "plane"])
def test_one_fault_at_a_time_of_those_that_decide(scope):
    assert not any(others for _, others in overlapping(plan.faults(1, HOUR_S), scope))


def test_some_programs_live_from_begin_to_end():
    ended = {one.target for one in plan.faults(1, HOUR_S) if one.kind.ends_process}
    assert ended == {*plan.NODES, *plan.SCHEDULERS} - {plan.HOME, plan.OLDEST}


def test_all_is_over_in_time():
    drawn = plan.faults(1, 60)
    assert drawn
    assert all(0 < one.begin_s < one.end_s < 60 for one in drawn)
    assert all(0 < one.at_s < 60 for one in plan.changes(1, 60))
