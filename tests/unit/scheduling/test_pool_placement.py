"""A pool says which nodes hold its addresses, and its claims say which pool they are of."""

from ipaddress import ip_interface

import msgspec

from extip.api.meta_v1 import LabelSelector
from extip.claims.policy.claims import Create, SetServices, new_claim, pool_of, services_patch
from extip.scheduling.policy.filters import KubernetesNode, NodeFacts
from extip.scheduling.policy.placement import Strategy
from extip.scheduling.policy.planner import plan_schedule
from extip.scheduling.policy.schedule import AssignClaim, CreateClaim
from extip.scheduling.policy.snapshot import Snapshot
from extip.services.policy.requests import Owner

INTERFACE = ip_interface("10.0.0.1/24")
OWNER = Owner(kind="Service", namespace="default", name="web", uid="u")
WANTED = {INTERFACE: (OWNER,)}


def cluster(**zones):
    """Make a cluster whose pool `edge` is for zone b; nodes are given with their zones."""
    return Snapshot(
        nodes=tuple(
            NodeFacts(name=name, alive=True, kubernetes=KubernetesNode(labels={"zone": zone}))
            for name, zone in zones.items()
        ),
        node_selectors={"edge": LabelSelector(match_labels={"zone": "b"})},
    )


def plan(claims, nodes, *, pool=None):
    return plan_schedule(
        WANTED, claims, nodes, Strategy.FAIR, pools={INTERFACE: pool} if pool else {}
    )


def test_addresses_of_a_pool_go_where_it_says():
    (write,) = plan([], cluster(n1="a", n2="b"), pool="edge").writes
    assert isinstance(write, CreateClaim)
    assert write.claim.spec.node_name == "n2"
    assert pool_of(write.claim) == "edge"
    (other,) = plan([], cluster(n1="a", n2="b"), pool="elsewhere").writes
    assert isinstance(other, CreateClaim)
    assert other.claim.spec.node_name == "n1"


def test_a_claim_moves_when_its_node_is_none_of_the_pools_any_more():
    (made,) = plan([], cluster(n2="b"), pool="edge").writes
    assert isinstance(made, CreateClaim)
    (move,) = plan([made.claim], cluster(n2="a", n3="b"), pool="edge").writes
    assert isinstance(move, AssignClaim)
    assert move.node == "n3"
    waiting = plan([made.claim], cluster(n2="a"), pool="edge").waiting
    assert "node selector" in waiting["10-0-0-1-24"]


def test_a_claim_changes_its_pool_by_its_label_alone():
    create = Create(interface=INTERFACE, services=new_services(), pool="old")
    owned = new_claim(create, node="n1")
    (write,) = plan([owned], cluster(n1="a"), pool="new").writes
    assert isinstance(write, SetServices)
    patch = msgspec.json.decode(msgspec.json.encode(services_patch(write)))
    assert patch["metadata"]["labels"] == {"ip-pool-name": "new"}
    (write,) = plan([owned], cluster(n1="a")).writes
    assert isinstance(write, SetServices)
    patch = msgspec.json.decode(msgspec.json.encode(services_patch(write)))
    assert patch["metadata"]["labels"] == {"ip-pool-name": None}


def new_services():
    (write,) = plan([], cluster(n1="a")).writes
    assert isinstance(write, CreateClaim)
    return write.claim.spec.services
