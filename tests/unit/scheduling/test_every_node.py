"""An IP of a pool for every node: a claim for each node that may hold it, and none moves."""

from dataclasses import replace
from ipaddress import ip_interface

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace as changed

from extip.api.ipcontroller_v1 import UP, IpClaimStatus
from extip.api.meta_v1 import Condition
from extip.claims.policy.claims import Delete, SetServices
from extip.scheduling.policy.assigned import assigned_condition
from extip.scheduling.policy.filters import NodeFacts, NodeLinkFacts
from extip.scheduling.policy.placement import Strategy
from extip.scheduling.policy.planner import plan_schedule
from extip.scheduling.policy.schedule import AssignClaim, CreateClaim
from extip.scheduling.policy.snapshot import Snapshot
from extip.services.policy.requests import Owner
from tests.unit.scheduling.rebalance_reference import plan_rebalance
from tests.unit.scheduling.test_planner import NODES, apply, by_node

INTERFACE, OTHER = ip_interface("10.77.0.1/32"), ip_interface("10.77.0.2/32")
OWNER = Owner(kind="Service", namespace="default", name="web", uid="u")
POOL = {INTERFACE: "ecmp"}


def cluster(alive, *, draining=(), unknown=(), link="lo", every_node=("ecmp",), **more):
    return Snapshot(
        nodes=tuple(
            NodeFacts(
                name=name,
                alive=name in alive,
                draining=name in draining,
                link=link,
                links={link: NodeLinkFacts(up=True)},
            )
            for name in NODES
        ),
        unknown=frozenset(unknown),
        every_node=frozenset(every_node),
        **more,
    )


def plan(claims, nodes, *, owners=(OWNER,), wanted=(INTERFACE,), pools=POOL):
    return plan_schedule(dict.fromkeys(wanted, owners), claims, nodes, Strategy.FAIR, pools=pools)


def settled(nodes, claims=()):
    """Plan and write until nothing is left to do; all claims are up by then."""
    for _ in range(4):
        claims = [up(claim) for claim in apply(claims, plan(claims, nodes))]
    assert plan(claims, nodes).writes == ()
    return claims


def up(claim):
    if not claim.spec.node_name:
        return claim
    status = IpClaimStatus(
        holder=claim.spec.node_name, conditions=(Condition(type=UP, status="True"),)
    )
    return changed(claim, status=status)


def down(claim):
    return changed(claim, status=IpClaimStatus())


def nodes_of(claims):
    return sorted(by_node(claims).values())


def test_each_node_gets_a_claim_of_its_own():
    planned = plan([], cluster(NODES))
    assert [type(write) for write in planned.writes] == [CreateClaim] * 3
    claims = apply([], planned)
    assert by_node(claims) == {f"10-77-0-1-32.{node}": node for node in NODES}
    assert {claim.metadata.labels["ipnode"] for claim in claims} == set(NODES)
    condition = assigned_condition(claims[0], planned, past=None)
    assert condition is not None
    assert condition.message == "to n1, as to each node that may have it"


def test_other_pools_are_planned_beside_it_as_ever():
    pools = POOL | {OTHER: "one"}
    planned = plan([], cluster(NODES), wanted=(INTERFACE, OTHER), pools=pools)
    names = by_node(apply([], planned))
    assert names == {f"10-77-0-1-32.{node}": node for node in NODES} | {"10-77-0-2-32": "n1"}
    assert planned.counted == {"10-77-0-2-32": "n1"}


def test_a_dead_nodes_claim_goes_and_comes_back_with_it():
    claims = settled(cluster(NODES))
    (write,) = plan(claims, cluster(["n1", "n3"])).writes
    assert isinstance(write, Delete)
    assert write.claim.spec.node_name == "n2"
    assert nodes_of(settled(cluster(NODES), apply(claims, plan(claims, cluster(["n1"]))))) == NODES


def test_no_claim_goes_while_no_node_may_have_the_ip():
    claims = settled(cluster(NODES))
    planned = plan(claims, cluster([]))
    assert planned.writes == ()
    assert set(planned.waiting) == {claim.metadata.name for claim in claims}


def test_a_node_of_unknown_liveness_keeps_its_claim_and_gets_none():
    claims = settled(cluster(NODES))
    assert plan(claims, cluster(["n1"], unknown=["n2", "n3"])).writes == ()
    created = apply([], plan([], cluster(["n1"], unknown=["n2"])))
    assert nodes_of(created) == ["n1"]


def test_a_drained_node_keeps_its_claim_until_another_one_has_the_ip_up():
    alone = settled(cluster(["n1"]))
    drained = cluster(["n1", "n2"], draining=["n1"])
    claims = apply(alone, plan(alone, drained))
    assert nodes_of(claims) == ["n1", "n2"]
    assert plan(claims, drained).writes == ()
    assert nodes_of(settled(drained, [up(claim) for claim in claims])) == ["n2"]


def test_a_drained_node_without_the_ip_up_is_waited_for_by_nobody():
    claims = [down(claim) for claim in settled(cluster(["n1", "n2"]))]
    assert nodes_of(apply(claims, plan(claims, cluster(["n1", "n2"], draining=["n1"])))) == ["n2"]


def test_with_no_node_one_claim_says_why_and_is_given_the_first_node():
    planned = plan([], cluster([]))
    claims = apply([], planned)
    assert by_node(claims) == {"10-77-0-1-32": ""}
    assert "no heartbeats" in plan(claims, cluster([])).waiting["10-77-0-1-32"]
    (assign, create) = sorted(plan(claims, cluster(["n1", "n2"])).writes, key=str)
    assert isinstance(assign, AssignClaim)
    assert isinstance(create, CreateClaim)
    assert nodes_of(settled(cluster(["n1", "n2"]), claims)) == ["n1", "n2"]


def test_an_interface_on_a_segment_has_none():
    """There two nodes would answer for one IP."""
    planned = plan([], cluster(NODES, link="eth0"))
    (claim,) = apply([], planned)
    assert claim.spec.node_name == ""
    assert "is not lo" in plan([claim], cluster(NODES, link="eth0")).waiting["10-77-0-1-32"]


def wishing(link):
    """Return nodes with lo and an interface on a segment, and a pool that chooses one of them."""
    links = {name: NodeLinkFacts(up=True) for name in ("eth0", "lo")}
    nodes = [replace(one, links=links) for one in cluster(NODES, link="eth0").nodes]
    return replace(cluster(NODES), nodes=tuple(nodes), pool_links={"ecmp": link})


def test_its_pool_may_choose_lo_beside_an_interface_on_a_segment():
    claims = settled(wishing("lo"))
    assert nodes_of(claims) == NODES
    assert {claim.spec.link for claim in claims} == {"lo"}
    assert {c.spec.link for c in settled(cluster(NODES), claims)} == {""}


def test_of_nodes_that_come_to_be_on_a_segment_one_keeps_the_ip():
    claims = settled(cluster(NODES))
    assert nodes_of(settled(cluster(NODES, link="eth0"), claims)) == ["n1"]
    drained = cluster(NODES, link="eth0", draining=["n1"])
    assert nodes_of(settled(drained, claims)) == ["n2"], "whatever else speaks against a node"
    dead = cluster(["n3"], link="eth0", unknown=["n2"])
    assert nodes_of(settled(dead, claims)) == ["n3"]
    unserved = cluster(NODES, link="eth0", local_endpoints={"default/web": frozenset()})
    assert nodes_of(settled(unserved, claims)) == ["n1"]


def test_a_pool_that_chooses_a_segment_puts_one_claim_there_and_no_two():
    claims = settled(wishing("lo"))
    for before in (claims, [down(claims[0]), *claims[1:]]):
        after = apply(before, plan(before, wishing("eth0")))
        assert [claim.spec.link for claim in after].count("eth0") == 1
    assert nodes_of(settled(wishing("eth0"), claims)) == ["n1"]


def test_a_pool_may_change_its_placement_both_ways():
    one = apply([], plan([], cluster(NODES, every_node=())))
    assert nodes_of(one) == ["n1"]
    every = settled(cluster(NODES), [up(claim) for claim in one])
    assert nodes_of(every) == NODES
    claims = every
    for _ in range(6):
        claims = apply(claims, plan(claims, cluster(NODES, every_node=())))
    assert list(by_node(claims)) == ["10-77-0-1-32"]


def test_nothing_is_left_when_nobody_wants_the_ip():
    claims = settled(cluster(NODES))
    planned = plan(claims, cluster(NODES), wanted=())
    assert [type(write) for write in planned.writes] == [Delete] * 3


def test_another_prefix_length_replaces_each_claim():
    claims = settled(cluster(NODES))
    wider = ip_interface("10.77.0.1/24")
    for _ in range(3):
        planned = plan(claims, cluster(NODES), wanted=(wider,), pools={wider: "ecmp"})
        claims = [up(claim) for claim in apply(claims, planned)]
    assert by_node(claims) == {f"10-77-0-1-24.{node}": node for node in NODES}


def test_a_replaced_claim_says_that_its_node_has_no_controller():
    (claim,) = settled(cluster(["n1"]))
    nodes, wider = cluster([]), ip_interface("10.77.0.1/24")
    without_n1 = replace(nodes, nodes=nodes.nodes[1:])
    planned = plan([claim], without_n1, wanted=(wider,), pools={wider: "ecmp"})
    condition = assigned_condition(claim, planned, past=None)
    assert condition is not None
    assert condition.reason == "NoController"


def test_a_new_service_is_written_into_each_claim():
    claims = settled(cluster(NODES))
    planned = plan(claims, cluster(NODES), owners=(OWNER, replace(OWNER, name="db")))
    assert [type(write) for write in planned.writes] == [SetServices] * 3
    assert {len(write.services) for write in planned.writes} == {2}


def test_a_lost_label_is_mended():
    first, *rest = settled(cluster(NODES))
    unlabelled = changed(first, metadata=changed(first.metadata, labels=managed(first)))
    (write,) = plan([unlabelled, *rest], cluster(NODES)).writes
    assert isinstance(write, AssignClaim)
    assert write.node == first.spec.node_name


def managed(claim):
    return {name: text for name, text in claim.metadata.labels.items() if name != "ipnode"}


def test_a_persons_claim_is_the_claim_of_its_ip():
    (one, *_) = settled(cluster(NODES))
    by_hand = changed(one, metadata=changed(one.metadata, name="mine", labels={"ipnode": "n1"}))
    claims = [by_hand, *settled(cluster(NODES))]
    for _ in range(3):
        claims = apply(claims, plan(claims, cluster(NODES)))
    assert list(by_node(claims)) == ["mine"]


def test_a_name_that_a_person_gave_to_another_claim_is_told():
    (other,) = apply([], plan([], cluster(["n1"]), wanted=(OTHER,), pools={}))
    taken = changed(other, metadata=changed(other.metadata, name="10-77-0-1-32.n1", labels={}))
    planned = plan([taken], cluster(["n1"]))
    assert planned.in_the_way == {"10-77-0-1-32.n1": INTERFACE}
    assert not any(isinstance(write, CreateClaim) for write in planned.writes)


def test_local_traffic_policy_takes_nodes_with_endpoints_alone():
    local = cluster(NODES, local_endpoints={"default/web": frozenset({"n2"})})
    assert nodes_of(apply([], plan([], local))) == ["n2"]
    claims = settled(cluster(NODES))
    assert nodes_of(apply(claims, plan(claims, local))) == ["n2"]


def test_claims_of_every_node_are_not_rebalanced():
    claims = settled(cluster(NODES))
    single = apply([], plan([], cluster(["n1"]), wanted=(OTHER,), pools={}))
    moves = plan_rebalance(claims[:1] + single, cluster(NODES), steady=frozenset(NODES), limit=9)
    assert moves == ()


_SETS = st.frozensets(st.sampled_from(NODES))


@given(before=_SETS, after=_SETS, draining=_SETS, unknown=_SETS)
def test_plans_come_to_rest_with_the_nodes_that_may_have_it(before, after, draining, unknown):
    claims = settled(cluster(before))
    nodes = cluster(after - unknown, draining=draining, unknown=unknown)
    had, have = {*nodes_of(claims)} - {""}, {*nodes_of(settled(nodes, claims))} - {""}
    may = after - unknown - draining
    assert have == (may | (had & unknown) if may else had)
