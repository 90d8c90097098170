"""A claim is at rest only when a plan would leave it as it is."""

from ipaddress import ip_interface

import pytest
from msgspec.structs import replace as changed

from extip.api.ipcontroller_v1 import IpClaimPoolSpec, ServiceReference
from extip.api.meta_v1 import LabelSelector
from extip.api.names import MANAGED_BY_LABEL, NODE_LABEL, POOL_LABEL, PORTS_ANNOTATION
from extip.claims.policy.claims import Create, new_claim
from extip.scheduling.policy.at_rest import is_at_rest
from extip.scheduling.policy.filters import KubernetesNode, NodeFacts, NodeLinkFacts, Unfit
from extip.scheduling.policy.placement import Strategy
from extip.scheduling.policy.planner import plan_some
from extip.scheduling.policy.snapshot import Snapshot
from extip.scheduling.policy.standing import Standing
from extip.services.policy.requests import Owner

IP = ip_interface("10.0.0.1/24")
WEB = Owner(kind="Service", namespace="shop", name="web", uid="u1")
API = Owner(kind="Service", namespace="shop", name="api", uid="u2")
CLAIM = new_claim(
    Create(interface=IP, services=(ServiceReference("shop", "web", "u1"),), pool="edge"), node="n1"
)


def node(name, *, alive=True, draining=False):
    return NodeFacts(
        name=name,
        alive=alive,
        draining=draining,
        link="eth0",
        links={"eth0": NodeLinkFacts(up=True)},
        kubernetes=KubernetesNode(),
    )


def standing(*nodes, **facts):
    known = nodes or (node("n1"), node("n2"))
    snapshot = Snapshot(nodes=known, ignored=frozenset({Unfit.NO_SUBNET}), **facts)
    return Standing(snapshot, Strategy.FAIR)


def labelled(**labels):
    names = {"managed": MANAGED_BY_LABEL, "node": NODE_LABEL, "pool": POOL_LABEL}
    new = (CLAIM.metadata.labels or {}) | {names[key]: value for key, value in labels.items()}
    return changed(CLAIM, metadata=changed(CLAIM.metadata, labels=new))


def specified(**fields):
    return changed(CLAIM, spec=changed(CLAIM.spec, **fields))


def test_a_claim_as_the_scheduler_wrote_it_is_at_rest():
    assert is_at_rest(CLAIM, IP, (WEB,), "edge", standing())
    served = standing(local_endpoints={"shop/web": frozenset({"n1"})})
    assert is_at_rest(CLAIM, IP, (WEB,), "edge", served)


@pytest.mark.parametrize(
    "claim",
    [
        labelled(pool="other"),
        labelled(node="n2"),
        specified(services=(ServiceReference("shop", "web", "old"),)),
        specified(services=()),
        specified(node_name=""),
        specified(node_name="n9"),
        changed(CLAIM, metadata=changed(CLAIM.metadata, name="10-0-0-1-32")),
        changed(
            CLAIM, metadata=changed(CLAIM.metadata, annotations={PORTS_ANNOTATION: "80/TCP=web"})
        ),
    ],
)
def test_another_claim_is_left_to_a_plan_which_has_a_write(claim):
    assert not is_at_rest(claim, IP, (WEB,), "edge", standing())
    assert plan_some({IP: (WEB,)}, [claim], standing(), pools={IP: "edge"}).writes


@pytest.mark.parametrize(
    "around",
    [
        standing(node("n1", alive=False), node("n2")),
        standing(node("n1", draining=True), node("n2")),
        standing(local_endpoints={"shop/web": frozenset({"n2"})}),
        standing(node_selectors={"edge": LabelSelector(match_labels={"rack": "r1"})}),
    ],
)
def test_a_claim_on_a_node_that_fails_a_filter_is_left_to_a_plan(around):
    assert not is_at_rest(CLAIM, IP, (WEB,), "edge", around)


def test_a_claim_with_a_wish_about_its_node_is_left_to_a_plan():
    wishes = standing(preferring_pools={"edge": IpClaimPoolSpec(rebalance="Never")})
    assert not is_at_rest(CLAIM, IP, (WEB,), "edge", wishes)
    wishes = standing(preferred_nodes={"shop/web": ("n2",)})
    assert not is_at_rest(CLAIM, IP, (WEB,), "edge", wishes)


def test_a_claim_of_a_person_or_of_several_services_is_left_to_a_plan():
    assert not is_at_rest(labelled(managed="somebody"), IP, (WEB,), "edge", standing())
    assert not is_at_rest(CLAIM, IP, (API, WEB), "edge", standing())


def test_a_claim_with_a_standby_that_may_take_its_ip_is_at_rest():
    claim = specified(standby="n2")
    assert is_at_rest(claim, IP, (WEB,), "edge", standing())
    for other in (node("n2", alive=False), node("n3")):
        assert not is_at_rest(claim, IP, (WEB,), "edge", standing(node("n1"), other))


def test_a_claim_of_a_pool_for_every_node_is_left_to_a_plan():
    """Other nodes may lack theirs."""
    loopback = {"lo": NodeLinkFacts(up=True)}
    nodes = tuple(NodeFacts(name=n, alive=True, link="lo", links=loopback) for n in ("n1", "n2"))
    assert is_at_rest(CLAIM, IP, (WEB,), "edge", standing(*nodes))
    every = standing(*nodes, every_node=frozenset({"edge"}))
    assert not is_at_rest(CLAIM, IP, (WEB,), "edge", every)


def test_a_claim_without_endpoints_is_at_rest_once_it_is_withdrawn():
    lasted = standing(unready={"shop/web": True})
    assert not is_at_rest(CLAIM, IP, (WEB,), "edge", lasted)
    assert is_at_rest(specified(withdrawn=True), IP, (WEB,), "edge", lasted)
    assert not is_at_rest(specified(withdrawn=True), IP, (WEB,), "edge", standing())
