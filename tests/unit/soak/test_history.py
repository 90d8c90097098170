"""What each fault and change may cost, and when nobody decides."""

import pytest

from tests.soak import history
from tests.soak.faults import Fault
from tests.soak.policy import bounds, plan
from tests.soak.policy.kinds import BY_NAME
from tests.soak.policy.plan import Change, Planned
from tests.soak.policy.windows import Span

IP = plan.STEADY[0]


def fault(name, target="n1", *, led=False):
    planned = Planned(kind=BY_NAME[name], target=target, begin_s=0, end_s=0)
    return Fault(planned=planned, begin_s=50, end_s=60, led=led)


def causes(*faults, changed=(), wanted=None):
    found = history.causes(faults, changed, wanted or {})
    return [(c.what, c.begin_s, c.bound_s, set(c.nodes | c.ips)) for c in found]


def test_a_node_that_dies_costs_its_own_ips_until_it_is_found_dead():
    assert ("node-died n1", 50, bounds.DEAD_S, {"n1"}) in causes(fault("node-died"))


@pytest.mark.parametrize("name", ["node-drained", "lease-deleted", "watches-end", "api-slow"])
def test_a_fault_that_costs_nothing_explains_nothing(name):
    assert causes(fault(name)) == []


def test_a_foreign_station_costs_its_ip_until_the_node_may_defend_it_again():
    found = causes(fault("foreign-station", IP))
    assert found == [
        (f"foreign-station {IP}", 50, 10, {IP}),
        (f"end of foreign-station {IP}", 60, bounds.DEFENDED_S, {IP}),
    ]
    (there,) = history.strangers([fault("foreign-station", IP), fault("node-died")])
    assert (there.begin_s, there.until_s) == (50, 60)


def test_kube_proxy_may_refuse_for_a_minute_after_it_lost_the_api_server():
    (found,) = history.causes([fault("node-cut-from-api")], [], {})
    assert found.errors == {"refused", "reset"}
    assert found.up_on_wire
    assert found.bound_s == 10 + bounds.PROXY_BACK_S


def test_an_endpoint_that_goes_concerns_services_with_local_traffic():
    changed = [(50.0, 50.0, Change(at_s=0, what="endpoint", subject="n1"))]
    assert causes(changed=changed) == [
        ("change of endpoint n1", 50, bounds.ENDPOINTS_S, set(plan.LOCAL))
    ]
    assert causes(changed=[(50.0, 50.1, Change(at_s=0, what="service", subject=IP))]) == []


@pytest.mark.parametrize(("end_s", "stays"), [(50.5, True), (53.0, False)])
def test_a_service_that_is_replaced_at_once_keeps_its_ips_but_not_its_rules(end_s, stays):
    change = Change(at_s=0, what="replaced", subject="steady-0")
    (found,) = history.causes([], [(50.0, end_s, change)], {})
    assert found.ips == {IP, plan.STEADY[1]}
    assert found.up_on_wire is stays


def test_a_switch_that_restarts_takes_all_nodes_with_it():
    first, last = causes(fault("switch-restarted", "API server"))
    assert first == ("switch-restarted API server", 50, 10, set(plan.NODES))
    assert last[1:] == (60, bounds.REPAIRED_S, set(plan.NODES))


def test_an_ip_may_take_its_time_when_it_comes_but_not_one_that_was_there_from_the_begin():
    comes = plan.CHURNED[0]
    wanted = {comes: [Span(begin_s=40, end_s=50)], IP: [Span(begin_s=11, end_s=90)]}
    assert causes(wanted=wanted) == [("a service got it", 40, bounds.STARTED_S, {comes})]


def test_nobody_decides_without_the_api_server_and_without_a_leader():
    away = fault("api-server-stopped", "API server")
    found = history.blocks(
        [away, fault("scheduler-killed", "s2", led=True), fault("scheduler-killed", "s3")]
    )
    assert [(block.begin_s, block.end_s) for block in found] == [
        (50, 60 + bounds.API_BACK_S),
        (50, 50 + bounds.ELECTED_S),
    ]


def test_after_the_network_was_away_for_all_moves_wait_until_it_has_settled():
    (settling,) = history.blocks([fault("switch-restarted", "switch")])
    assert (settling.begin_s, settling.end_s) == (50, 60 + bounds.SETTLED_S)
