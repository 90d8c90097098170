"""One word and one reason for every claim and every node."""

import pytest
from msgspec.structs import replace

from extip.api.coordination_v1 import Lease, LeaseSpec
from extip.api.core_v1 import DetailedService, DetailedServiceMeta, DetailedServiceSpec
from extip.api.ipcontroller_v1 import (
    IpClaim,
    IpClaimSpec,
    IpClaimStatus,
    IpNode,
    IpNodeSpec,
    IpNodeStatus,
    ServiceReference,
)
from extip.api.meta_v1 import Condition, FullObjectMeta
from extip.api.names import LEAVING_ANNOTATION, MANAGED_BY, MANAGED_BY_LABEL, heartbeat_lease
from extip.api.node_link import NodeLink
from extip.status.policy.table import ClaimState, claim_rows, node_rows

AT = "2026-01-01T00:00:00Z"
ASSIGNED = Condition(
    type="Assigned",
    status="True",
    reason="Assigned",
    message="to n2; moved from n1 at 2026-01-01T01:00:00Z: it was drained",
    last_transition_time="2026-01-01T01:00:00Z",
)
FIRST = replace(ASSIGNED, message="to n2")
UNSERVED = replace(ASSIGNED, message="to n2, where a/b have no ready endpoint")
NOBODY = Condition(
    type="Assigned", status="False", reason="NoEligibleNode", message="n1: it is being drained"
)
ELSEWHERE = Condition(
    type="Assigned", status="False", reason="DuplicateAddress", message="claim b holds the same IP"
)
ACCEPTED = Condition(type="Accepted", status="True", reason="Accepted")
REFUSED = Condition(type="Accepted", status="False", reason="Gateway", message="it is a gateway")
UP = Condition(type="Up", status="True", reason="AddressUp", message="on n2")
DOWN = Condition(
    type="Up", status="False", reason="AddressMissing", message="on n2: it was removed"
)
SERVED_IN_PART = Condition(
    type="Assigned",
    status="True",
    reason="Assigned",
    message="to n2, which has no ready endpoint of shop/web",
)


def claim(*conditions, cidr="10.0.0.1/32", node="n2", holder="", generation=1, managed=True):
    labels = {MANAGED_BY_LABEL: MANAGED_BY} if managed else None
    return IpClaim(
        metadata=FullObjectMeta(name=cidr, generation=generation, labels=labels),
        spec=IpClaimSpec(
            cidr=cidr, node_name=node, services=(ServiceReference(namespace="shop", name="web"),)
        ),
        status=IpClaimStatus(
            conditions=conditions or None, holder=holder, since=AT if holder else ""
        ),
    )


def seen(condition, generation=1):
    return Condition(
        **{f: getattr(condition, f) for f in condition.__struct_fields__}
        | {"observed_generation": generation}
    )


@pytest.mark.parametrize(
    ("found", "state", "why"),
    [
        (claim(node=""), ClaimState.WAITING, "no scheduler has looked at it yet"),
        (claim(NOBODY, node=""), ClaimState.WAITING, "n1: it is being drained"),
        (
            claim(ASSIGNED),
            ClaimState.MOVING,
            f"{ASSIGNED.message}; not reported yet (should it last: the log of n2)",
        ),
        (claim(ASSIGNED, seen(UP), holder="n1", generation=2), ClaimState.MOVING, "n1 had it; "),
        (claim(ELSEWHERE), ClaimState.REFUSED, "claim b holds the same IP"),
        (claim(ELSEWHERE, ACCEPTED, seen(UP), holder="n2"), ClaimState.REFUSED, "claim b holds"),
        (claim(ASSIGNED, ACCEPTED, seen(DOWN)), ClaimState.DOWN, "on n2: it was removed"),
        (claim(ASSIGNED, REFUSED, seen(DOWN)), ClaimState.REFUSED, "it is a gateway"),
        (
            claim(ASSIGNED, ACCEPTED, seen(UP), holder="n2"),
            ClaimState.UP,
            "moved from n1 at 2026-01-01T01:00:00Z: it was drained",
        ),
        (claim(FIRST, ACCEPTED, seen(UP), holder="n2"), ClaimState.UP, "there from the start"),
        (claim(UNSERVED, seen(UP), holder="n2"), ClaimState.UP, "where a/b have no ready endpoint"),
        (claim(ASSIGNED, node="nosuch"), ClaimState.WAITING, "there is no controller on a "),
        (claim(NOBODY, ACCEPTED, seen(UP), holder="n2"), ClaimState.UP, NOBODY.message),
        (
            claim(SERVED_IN_PART, ACCEPTED, seen(UP), holder="n2"),
            ClaimState.UP,
            "which has no ready endpoint of shop/web",
        ),
        (claim(ASSIGNED, seen(UP), holder="n2", managed=False), ClaimState.UP, "pinned by hand"),
        (claim(cidr="1:2:3/64", node=""), ClaimState.REFUSED, "'1:2:3/64' is no address"),
    ],
)
def test_every_claim_has_a_state_and_a_reason(found, state, why):
    (row,) = claim_rows([found], registered={"n1", "n2"})
    assert row.state is state
    assert row.why.startswith(why)
    assert row.services == ("shop/web",)
    assert row.since == (AT if state is ClaimState.UP else row.since)


def test_claims_come_in_order_of_ips_and_unreadable_ones_last():
    texts = ["nonsense", "10.0.0.10/32", "fd00::1/128", "10.0.0.9/32"]
    rows = claim_rows([claim(cidr=text) for text in texts], registered=())
    assert [row.ip for row in rows] == ["10.0.0.9", "10.0.0.10", "fd00::1", "nonsense"]


def test_a_claim_of_a_person_shows_the_services_that_ask_for_its_ip():
    meta = DetailedServiceMeta(namespace="shop", name="api", uid="2")
    asking = DetailedService(metadata=meta, spec=DetailedServiceSpec(external_ips=("10.0.0.1",)))
    found = [claim(managed=False), claim(cidr="10.0.0.1/24")]
    by_hand, made = claim_rows(found, registered={"n2"}, services=[asking])[::-1]
    assert {by_hand.services, made.services} == {("shop/api", "shop/web"), ("shop/web",)}


def lease(node, *, holder="id", leaving="", renewed=AT):
    annotations = {LEAVING_ANNOTATION: leaving} if leaving else None
    return Lease(
        metadata=FullObjectMeta(name=heartbeat_lease(node), annotations=annotations),
        spec=LeaseSpec(holder_identity=holder, renew_time=renewed),
    )


def node(name, *, ready="True", draining=False):
    condition = Condition(type="Ready", status=ready, reason="NoCarrier", message="eth0")
    return IpNode(
        metadata=FullObjectMeta(name=name),
        spec=IpNodeSpec(draining=draining),
        status=IpNodeStatus(conditions=(condition,)),
    )


def test_every_node_that_anything_names():
    nodes = [node("a"), node("b", draining=True), node("c", ready="False"), node("d"), node("e")]
    leases = [lease("a"), lease("b"), lease("c"), lease("d", holder=""), lease("e", leaving="bye")]
    rows = node_rows(
        nodes, leases, [claim(node="a"), claim(node="a"), claim(node="z")], missing="?"
    )
    assert [(row.node, row.state, row.claims) for row in rows] == [
        ("a", "ready", 2),
        ("b", "draining", 0),
        ("c", "not ready", 0),
        ("d", "stopped", 0),
        ("e", "leaving", 0),
        ("z", "unknown", 1),
    ]
    assert rows[0].heartbeat == AT
    assert rows[3].why == "its controller was stopped in order"
    assert rows[4].why == "bye"


def test_a_node_without_a_lease_was_perhaps_looked_for_in_the_wrong_place():
    (row,) = node_rows([node("a")], [], [], missing="namespace x has no Lease of it")
    assert (row.state, row.why) == ("unknown", "namespace x has no Lease of it")


@pytest.mark.parametrize("turned", [False, True])
def test_of_leases_in_several_namespaces_the_live_one_counts(turned):
    later = "2026-01-01T00:00:09Z"
    leases = [lease("a", holder="", renewed=later), lease("a"), lease("a", renewed="2025")]
    (row,) = node_rows([node("a")], leases[::-1] if turned else leases, [], missing="")
    assert (row.state, row.heartbeat) == ("ready", AT)


def test_a_node_is_not_called_ready_where_the_scheduler_says_that_it_is_not():
    """Its heartbeats may be in a namespace where no scheduler looks, its controller dead."""
    found = Condition(type="Ready", status="False", reason="HeartbeatNotFound", message="not in y")
    late = Condition(type="Ready", status="Unknown", reason="HeartbeatUnknown", message="late")
    nodes = [node(name) for name in ("a", "b", "c")]
    nodes[0] = replace(nodes[0], status=IpNodeStatus(conditions=(found,)))
    nodes[1] = replace(nodes[1], status=IpNodeStatus(conditions=(late,)))
    nodes[2] = replace(nodes[2], status=IpNodeStatus())
    leases = [lease("a"), lease("b"), lease("c")]
    leases[0] = replace(leases[0], metadata=replace(leases[0].metadata, namespace="x"))
    rows = node_rows(nodes, leases, [], missing="")
    assert [(row.state, row.why) for row in rows] == [
        ("not ready", "not in y (there is one in x)"),
        ("unknown", "late"),
        ("unknown", "no scheduler has looked at it yet"),
    ]


@pytest.mark.parametrize(
    ("links", "named"),
    [
        ((NodeLink(name="eth7", takes="Any"),), " (eth7)"),
        ((NodeLink(name="eth0", takes="Any", up=True), NodeLink(name="spare")), ""),
        ((), ""),
    ],
)
def test_the_interface_that_is_down_or_missing_is_named(links, named):
    down = Condition(type="Ready", status="False", reason="LinkDown", message="it is missing")
    told = replace(node("a"), status=IpNodeStatus(conditions=(down,), links=links))
    (row,) = node_rows([told], [lease("a")], [], missing="")
    assert row.why == f"it is missing{named}"


def test_interfaces_for_ips_are_told_also_when_they_are_down():
    links = (
        NodeLink(name="mgmt", up=True),
        NodeLink(name="eth0", up=True, takes="Any"),
        NodeLink(name="eth1", takes="Subnets"),
        NodeLink(name="spare"),
    )
    told = replace(node("a"), status=IpNodeStatus(links=links))
    (row,) = node_rows([told], [], [], missing="")
    assert row.links == "eth0,eth1:down,mgmt"
