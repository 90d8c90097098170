"""The interface that a service or a pool wants is in the claim, and decides about its node."""

from dataclasses import replace
from ipaddress import ip_interface

import pytest

from extip.api.core_v1 import DetailedService, DetailedServiceMeta
from extip.api.ipcontroller_v1 import IpClaim, IpClaimSpec
from extip.api.meta_v1 import FullObjectMeta
from extip.scheduling.policy.filters import KubernetesNode, Needs, NodeFacts, NodeLinkFacts
from extip.scheduling.policy.node_filters import NodeFilters
from extip.scheduling.policy.placement import Strategy
from extip.scheduling.policy.planner import plan_schedule
from extip.scheduling.policy.snapshot import Snapshot
from extip.services.policy.requests import Owner
from extip.services.policy.wished_link import wished_link
from tests.unit.scheduling.test_state import after

IP = ip_interface("10.0.0.1/32")
WEB, ALSO = (Owner(kind="Service", namespace="default", name=n, uid=n) for n in ("web", "also"))
UP = NodeLinkFacts(up=True)
CLUSTER = Snapshot(
    nodes=tuple(
        NodeFacts(
            name=name,
            alive=True,
            link=links[0],
            links=dict.fromkeys(links, UP),
            kubernetes=KubernetesNode(),
        )
        for name, links in (("n1", ("eth0",)), ("n2", ("eth0", "dmz")), ("n3", ("eth0",)))
    ),
)
BY_SERVICE = replace(CLUSTER, service_links={"default/web": "dmz"})
BY_POOL = replace(CLUSTER, pool_links={"edge": "dmz"})


def plan(claims, snapshot, owners=(WEB,), pool="edge"):
    return plan_schedule(
        {IP: owners},
        list(claims.values()),
        snapshot,
        Strategy.FAIR,
        pools={IP: pool} if pool else {},
    )


def settled(snapshot, claims=None, **given):
    """Return interface and node of the claim when all is written, and that this ends."""
    claims = claims or {}
    for _ in range(4):
        claims = after(claims, plan(claims, snapshot, **given).writes)
    assert not plan(claims, snapshot, **given).writes
    (claim,) = claims.values()
    return (claim.spec.link, claim.spec.node_name), claims


@pytest.mark.parametrize("snapshot", [BY_SERVICE, BY_POOL])
def test_a_new_claim_names_it_and_goes_where_it_is(snapshot):
    place, _ = settled(snapshot)
    assert place == ("dmz", "n2")


@pytest.mark.parametrize("snapshot", [BY_SERVICE, BY_POOL])
def test_a_wish_that_comes_moves_the_claim_and_one_that_goes_is_forgotten(snapshot):
    place, claims = settled(CLUSTER)
    assert place == ("", "n1")
    place, claims = settled(snapshot, claims)
    assert place == ("dmz", "n2")
    place, _ = settled(CLUSTER, claims)
    assert place == ("", "n2")


def test_a_services_wish_counts_more_than_that_of_its_pool():
    both = replace(BY_POOL, service_links={"default/web": "eth0"})
    assert settled(both)[0] == ("eth0", "n1")
    shared = replace(CLUSTER, service_links={"default/web": "eth0", "default/also": "dmz"})
    assert settled(shared, owners=(ALSO, WEB))[0] == ("dmz", "n2")


def test_where_no_node_has_it_the_claim_waits_and_says_so():
    wish = replace(CLUSTER, service_links={"default/web": "wan"})
    schedule = plan({}, wish)
    assert "does not have the interface" in schedule.waiting["10-0-0-1-32"]


def isolated_but_first(links):
    """Return two nodes, of which the first has these interfaces and the other one is isolated."""
    first, _, other = CLUSTER.nodes
    return replace(
        CLUSTER,
        nodes=(replace(first, links=links), replace(other, isolated=frozenset(other.links))),
    )


ELSEWHERE = {"dmz": NodeLinkFacts(up=True, by_subnet=True)}


@pytest.mark.parametrize(
    ("wishes", "links"), [({}, ELSEWHERE), ({"default/web": "eth0"}, {"dmz": UP})]
)
def test_a_node_without_an_interface_for_it_keeps_it_from_no_other_node(wishes, links):
    """Not even from an isolated one: its only neighbour may be that very node."""
    place, claims = settled(replace(CLUSTER, nodes=CLUSTER.nodes[:1], service_links=wishes))
    assert place[1] == "n1"
    place, _ = settled(replace(isolated_but_first(links), service_links=wishes), claims)
    assert place[1] == "n3"


@pytest.mark.parametrize("order", [1, -1])
def test_an_interface_without_carrier_loses_its_ips_whatever_is_wrong_with_another_one(order):
    """The node is also isolated, by the other one, and nobody has proved yet that it is not."""
    cluster = replace(CLUSTER, nodes=CLUSTER.nodes[1:])
    both = dict.fromkeys(("eth0", "dmz"), UP)
    first = replace(
        cluster.nodes[0],
        isolated=frozenset({"eth0"}),
        links=both | {"dmz": NodeLinkFacts(up=False)},
    )
    nodes = replace(cluster, nodes=(first, replace(cluster.nodes[1], links=both)))
    filters = NodeFilters(nodes)
    found = {link: filters.eligible(Needs(ip=IP.ip, link=link), "n2") for link in [*both][::order]}
    assert found == {"eth0": {"n2"}, "dmz": {"n3"}}


def test_a_claim_pinned_to_a_node_without_a_subnet_for_it_does_not_lead():
    claims = [
        IpClaim(metadata=FullObjectMeta(name=name), spec=IpClaimSpec(cidr=str(IP), node_name=node))
        for name, node in (("a", "n1"), ("b", "n3"))
    ]
    schedule = plan_schedule({}, claims, isolated_but_first(ELSEWHERE), Strategy.FAIR)
    assert schedule.refused.keys() == {"a"}


@pytest.mark.parametrize(
    ("text", "link"),
    [("dmz", "dmz"), (" dmz ", "dmz"), ("", None), ("a/b", None), ("a" * 16, None)],
)
def test_a_service_names_an_interface(text, link):
    meta = DetailedServiceMeta(
        namespace="default", name="web", annotations={"ipcontroller.ext/link": text}
    )
    found = wished_link(DetailedService(metadata=meta))
    assert found == (None if link is None else ("default/web", link))
