"""The condition `Assigned` says what is in the way of a claim, also of one that nobody serves."""

import pytest

from extip.api.ipcontroller_v1 import IpClaim, IpClaimSpec
from extip.api.meta_v1 import FullObjectMeta
from extip.scheduling.policy.assigned import assigned_condition
from extip.scheduling.policy.placement import Strategy
from extip.scheduling.policy.planner import plan_schedule
from tests.unit.scheduling.test_planner import cluster

CLUSTER = cluster({"n1", "n2"}, unknown={"late"}, known=["n1", "n2", "nosuch", "late"])


def claim(cidr="10.0.0.1/32", node=""):
    return IpClaim(metadata=FullObjectMeta(name="c"), spec=IpClaimSpec(cidr=cidr, node_name=node))


def condition_of(one):
    schedule = plan_schedule({}, [one], CLUSTER, Strategy.FAIR)
    return assigned_condition(one, schedule, past=None)


@pytest.mark.parametrize("node", ["", "n1", "nosuch"])
def test_a_claim_that_cannot_be_read_says_so(node):
    found = condition_of(claim("fd00::1:/64", node))
    assert (found.status, found.reason) == ("False", "Malformed")
    assert "'fd00::1:/64' is no IP address" in found.message


def test_a_claim_on_a_node_that_has_no_controller_says_so():
    found = condition_of(claim(node="nosuch"))
    assert (found.status, found.reason) == ("False", "NoController")
    assert "nosuch" in found.message
    for node in ("n2", "late"):
        assert condition_of(claim(node=node)).reason == "Assigned"
