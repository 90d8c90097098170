"""What the scheduler says of each node in its IpNode."""

from typing import cast

import pytest

from extip.api.ipcontroller_v1 import IpNode, IpNodeStatus
from extip.api.meta_v1 import Condition, FullObjectMeta
from extip.liveness.policy import Verdict
from extip.nodes.policy.verdict import (
    Evidence,
    Heartbeat,
    differs,
    namesake,
    ready_condition,
    verdict_patch,
)
from extip.scheduling.policy.filters import KubernetesNode, NodeFacts, NodeLinkFacts, Unfit
from tests.fakes.conditions import condition_of

ETH0 = {"eth0": NodeLinkFacts(up=True)}


def facts(**known):
    common = {"name": "n1", "alive": True, "link": "eth0", "links": ETH0}
    return NodeFacts(**{**common, "kubernetes": KubernetesNode(), **known})


def evidence(verdict=Verdict.ALIVE, heartbeat=Heartbeat.HELD, **known):
    return Evidence(verdict=verdict, heartbeat=heartbeat, namespace="here", **known)


@pytest.mark.parametrize(
    ("node", "found", "status", "reason", "message"),
    [
        (facts(), evidence(), "True", "Eligible", "on eth0"),
        (
            facts(links=ETH0 | {"eth1": ETH0["eth0"]}, isolated=frozenset({"eth0"})),
            evidence(),
            "True",
            "Eligible",
            "on eth1",
        ),
        (facts(), evidence(heartbeat=Heartbeat.NONE), "True", "Eligible", "on eth0"),
        (
            facts(alive=False),
            evidence(Verdict.UNKNOWN, Heartbeat.NONE),
            "False",
            "HeartbeatNotFound",
            "namespace here has no heartbeat Lease",
        ),
        (
            facts(alive=False),
            evidence(Verdict.UNKNOWN),
            "Unknown",
            "HeartbeatUnknown",
            "its heartbeats are late",
        ),
        (facts(alive=False), evidence(Verdict.DEAD), "False", "NodeDead", "its controller sends"),
        (
            facts(alive=False),
            evidence(Verdict.DEAD, Heartbeat.GIVEN_UP),
            "False",
            "NodeStopped",
            "its controller was stopped",
        ),
        (
            facts(draining=True),
            evidence(leaving="stopped by SIGTERM"),
            "False",
            "NodeDraining",
            "its controller is leaving: stopped by SIGTERM",
        ),
        (
            facts(draining=True),
            evidence(),
            "False",
            "NodeDraining",
            "its controller is leaving, or",
        ),
        (
            facts(isolated=frozenset({"eth0"})),
            evidence(),
            "False",
            "NodeIsolated",
            "no other station",
        ),
        (
            facts(kubernetes=KubernetesNode(ready=False)),
            evidence(),
            "False",
            "NodeNotReady",
            "its Kubernetes node is not ready",
        ),
        (
            facts(kubernetes=None),
            evidence(namesake="n1.example.com"),
            "True",
            "NoKubernetesNode",
            "no Kubernetes node has its name",
        ),
    ],
)
def test_each_verdict_has_a_reason(node, found, status, reason, message):
    condition = ready_condition(node, found)
    assert (condition.status, condition.reason) == (status, reason)
    assert condition.message.startswith(message)


def test_rules_that_are_switched_off_are_not_in_the_way_here_either():
    node = facts(kubernetes=KubernetesNode(ready=False))
    assert ready_condition(node, evidence(), ignored=frozenset({Unfit.NOT_READY})).status == "True"
    nameless = ready_condition(
        facts(kubernetes=None), evidence(), ignored=frozenset({Unfit.NO_NODE})
    )
    assert nameless.reason == "Eligible"


def test_a_name_that_is_almost_that_of_a_kubernetes_node_is_told():
    assert namesake("n1", ["n1.example.com", "n10", "n2.example.com"]) == "n1.example.com"
    assert namesake("n1.example.com", ["n1", "n2"]) == "n1"
    assert namesake("n1.example.com", ["n1", "n1.example.org"]) == ""
    assert namesake("router", ["n1"]) == ""
    message = ready_condition(facts(kubernetes=None), evidence(namesake="n1")).message
    assert message.endswith("is it n1? Then give its controller --hostname n1")


def record(*conditions, claims=0):
    return IpNode(
        metadata=FullObjectMeta(name="n1", resource_version="7"),
        status=IpNodeStatus(conditions=conditions or None, claims=claims),
    )


LINK = Condition(type="LinkReady", status="True", reason="LinkUp", message="on eth0")
DEAD = ready_condition(facts(alive=False), evidence(Verdict.DEAD))


def test_conditions_of_the_controller_stay_and_a_dead_node_has_no_ips():
    patch = verdict_patch(record(LINK, claims=2), DEAD, now="2026-01-01T00:00:00Z")
    assert patch["metadata"] == {"resourceVersion": "7"}
    assert patch["status"]["claims"] == 0
    conditions = cast("tuple[Condition, ...]", patch["status"]["conditions"])
    assert condition_of(conditions, "LinkReady") == LINK
    assert condition_of(conditions, "Ready").last_transition_time == "2026-01-01T00:00:00Z"


def test_how_many_ips_a_live_node_has_is_for_its_controller_to_say():
    patch = verdict_patch(record(claims=2), ready_condition(facts(), evidence()), now="")
    assert "claims" not in patch["status"]


def test_nothing_is_written_twice():
    assert differs(record(LINK), DEAD)
    assert not differs(record(LINK, DEAD), DEAD)
    assert differs(record(DEAD), ready_condition(facts(), evidence()))
