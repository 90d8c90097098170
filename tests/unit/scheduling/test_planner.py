"""One plan for all claims: it converges, moves only what must move, and says why."""

from dataclasses import replace
from ipaddress import ip_interface, ip_network

from hypothesis import given
from hypothesis import strategies as st

from extip.api.ipcontroller_v1 import IpClaim, IpClaimSpec
from extip.api.meta_v1 import FullObjectMeta
from extip.api.names import PLACEMENT_ANNOTATION, PLACEMENT_AUTOMATIC
from extip.claims.policy.claims import Delete, SetServices
from extip.scheduling.policy.filters import KubernetesNode, NodeFacts, NodeLinkFacts
from extip.scheduling.policy.placement import Strategy
from extip.scheduling.policy.planner import plan_schedule
from extip.scheduling.policy.schedule import AssignClaim, CreateClaim
from extip.scheduling.policy.snapshot import Snapshot
from extip.services.policy.requests import Owner
from extip.uplink.policy.reachability import LinkId
from tests.unit.scheduling.rebalance_reference import plan_rebalance

LINKS = {"eth0": NodeLinkFacts(up=True, subnets=(ip_network("10.0.0.0/24"),))}
INTERFACES = [ip_interface(f"10.0.0.{n}/32") for n in range(1, 9)]
NODES = ["n1", "n2", "n3"]


def owner(name="web"):
    return Owner(kind="Service", namespace="default", name=name, uid=name)


def cluster(alive, *, unknown=(), draining=(), isolated=(), successors=(), known=NODES):
    reached = frozenset(LinkId(name, "eth0") for name in successors)
    return Snapshot(
        nodes=tuple(
            NodeFacts(
                name=name,
                alive=name in alive,
                draining=name in draining,
                isolated=frozenset({"eth0"} if name in isolated else ()),
                link="eth0",
                links=LINKS,
            )
            for name in known
        ),
        unknown=frozenset(unknown),
        successors={LinkId(node, "eth0"): reached for node in isolated if successors},
    )


def apply(claims, schedule):
    """Make the writes, as the API server would."""
    by_name = {c.metadata.name: c for c in claims}
    for write in schedule.writes:
        if isinstance(write, CreateClaim):
            assert write.claim.metadata.name not in by_name
            by_name[write.claim.metadata.name] = write.claim
            continue
        old = by_name[write.claim.metadata.name]
        if isinstance(write, Delete):
            del by_name[old.metadata.name]
        elif isinstance(write, SetServices):
            by_name[old.metadata.name] = changed(old, services=write.services, link=write.link)
        else:
            by_name[old.metadata.name] = changed(old, node=write.node)
    return list(by_name.values())


def changed(claim, *, node=None, services=None, link=None):
    labels = dict(claim.metadata.labels or {})
    if node is not None:
        labels["ipnode"] = node
    spec = IpClaimSpec(
        cidr=claim.spec.cidr,
        node_name=claim.spec.node_name if node is None else node,
        link=claim.spec.link if link is None else link,
        services=claim.spec.services if services is None else services,
    )
    return IpClaim(metadata=FullObjectMeta(name=claim.metadata.name, labels=labels), spec=spec)


def schedule(wanted, claims, nodes, strategy=Strategy.FAIR):
    return plan_schedule({i: (owner(),) for i in wanted}, claims, nodes, strategy)


def by_node(claims):
    return {c.metadata.name: c.spec.node_name for c in claims}


def test_creating_and_assigning_is_one_write():
    planned = schedule(INTERFACES[:3], [], cluster(NODES))
    assert [type(w) for w in planned.writes] == [CreateClaim] * 3
    assert sorted(by_node(apply([], planned)).values()) == NODES


def test_a_dead_nodes_claims_move_first_and_say_why():
    claims = apply([], schedule(INTERFACES[:6], [], cluster(NODES)))
    planned = schedule(INTERFACES[:7], claims, cluster(["n1", "n3"]))
    assert [type(w) for w in planned.writes] == [AssignClaim, AssignClaim, CreateClaim]
    assert all("sent no heartbeats" in w.why for w in planned.writes[:2])
    moved = by_node(apply(claims, planned))
    assert all(moved[n] == node for n, node in by_node(claims).items() if node != "n2")
    assert "n2" not in moved.values()


def test_a_node_of_which_nothing_is_known_keeps_what_it_has_and_gets_nothing():
    claims = apply([], schedule(INTERFACES[:3], [], cluster(NODES)))
    planned = schedule(INTERFACES[:6], claims, cluster(["n1", "n3"], unknown=["n2"]))
    assert all(isinstance(w, CreateClaim) for w in planned.writes)
    assert list(by_node(apply(claims, planned)).values()).count("n2") == 1


def test_an_isolated_nodes_claims_go_to_those_that_proved_that_they_are_not():
    """And only to them: any other may be dead, or isolated, and not have said so yet."""
    claims = apply([], schedule(INTERFACES[:6], [], cluster(NODES)))
    planned = schedule(INTERFACES[:6], claims, cluster(NODES, isolated=["n1"], successors=["n3"]))
    assert {(w.claim.spec.node_name, w.node) for w in planned.writes} == {("n1", "n3")}
    assert all("no other station answered" in w.why for w in planned.writes)


def test_until_then_it_keeps_what_it_has_and_gets_nothing():
    claims = apply([], schedule(INTERFACES[:3], [], cluster(NODES)))
    waiting = cluster(NODES, isolated=["n1"])
    planned = schedule(INTERFACES[:8], claims, waiting)
    assert all(isinstance(w, CreateClaim) for w in planned.writes)
    placed = by_node(apply(claims, planned))
    assert list(placed.values()).count("n1") == 1
    assert plan_rebalance(claims, waiting, steady=frozenset({"n2", "n3"}), limit=9) == ()


def test_a_node_that_nobody_answers_takes_over_where_there_is_no_other():
    """Its only neighbour has died: that is why."""
    two = ["n1", "n2"]
    claims = apply([], schedule(INTERFACES[:4], [], cluster(two, known=two)))
    alone = cluster(["n1"], isolated=["n1"], known=two)
    assert set(by_node(apply(claims, schedule(INTERFACES[:4], claims, alone))).values()) == {"n1"}


def test_a_node_that_does_its_work_keeps_it_when_all_others_are_isolated():
    """Not ready, for instance: nobody better off can have it."""
    claims = apply([], schedule(INTERFACES[:4], [], cluster(NODES)))
    known = cluster(NODES, isolated=["n2", "n3"])
    unready = replace(known.nodes[0], kubernetes=KubernetesNode(ready=False))
    planned = schedule(INTERFACES[:4], claims, replace(known, nodes=(unready, *known.nodes[1:])))
    assert planned.writes == ()
    draining = replace(known.nodes[0], draining=True)
    planned = schedule(INTERFACES[:4], claims, replace(known, nodes=(draining, *known.nodes[1:])))
    assert {w.claim.spec.node_name for w in planned.writes} == {"n1"}, "it goes in any case"


def test_nothing_moves_when_all_are_isolated():
    claims = apply([], schedule(INTERFACES[:3], [], cluster(NODES)))
    planned = schedule(INTERFACES[:3], claims, cluster(NODES, isolated=NODES))
    assert planned.writes == ()
    assert planned.waiting == {}


def test_nothing_moves_when_all_are_dead():
    claims = apply([], schedule(INTERFACES[:3], [], cluster(NODES)))
    planned = schedule(INTERFACES[:3], claims, cluster([]))
    assert planned.writes == ()
    assert len(planned.waiting) == 3


def test_with_nobody_there_a_claim_waits_and_says_why():
    planned = schedule(INTERFACES[:1], [], cluster([], known=[]))
    (write,) = planned.writes
    assert write.claim.spec.node_name == ""
    assert planned.waiting == {"10-0-0-1-32": "no node has registered"}


def test_a_draining_node_is_emptied():
    claims = apply([], schedule(INTERFACES[:6], [], cluster(NODES)))
    moved = by_node(
        apply(claims, schedule(INTERFACES[:6], claims, cluster(NODES, draining=["n1"])))
    )
    assert set(moved.values()) == {"n2", "n3"}


def test_another_mask_moves_nothing():
    claims = apply([], schedule(INTERFACES[:3], [], cluster(NODES)))
    wider = [ip_interface(f"{i.ip}/24") for i in INTERFACES[:3]]
    both = apply(claims, schedule(wider, claims, cluster(NODES)))
    assert len(both) == 6
    after = by_node(apply(both, schedule(wider, both, cluster(NODES))))
    assert {n.removesuffix("-24"): node for n, node in after.items()} == {
        n.removesuffix("-32"): node for n, node in by_node(claims).items()
    }


def test_another_mask_goes_where_the_old_claim_has_to_go():
    claims = apply([], schedule(INTERFACES[:3], [], cluster(NODES)))
    wider = [ip_interface(f"{i.ip}/24") for i in INTERFACES[:3]]
    nodes = cluster(NODES, draining=["n1"])
    both = by_node(apply(claims, schedule(wider, claims, nodes)))
    assert "n1" not in both.values()
    assert all(both[f"10-0-0-{n}-32"] == both[f"10-0-0-{n}-24"] for n in (1, 2, 3))


def test_a_claim_that_gives_way_stays_while_the_one_that_stays_has_no_node():
    """The IP is up by it, and nobody else could have it up."""
    (claim,) = apply([], schedule(INTERFACES[:1], [], cluster(NODES)))
    mine = IpClaim(
        metadata=FullObjectMeta(name="mine"),
        spec=IpClaimSpec(cidr=f"{INTERFACES[0].ip}/24", link="eth9"),
    )
    both = [claim, mine]
    after = by_node(apply(both, schedule(INTERFACES[:1], both, cluster(NODES))))
    assert after == {claim.metadata.name: claim.spec.node_name, "mine": ""}


def test_a_claim_that_has_the_name_of_another_ip_keeps_nobody_else_waiting():
    taken = IpClaim(
        metadata=FullObjectMeta(name="10-0-0-1-32"), spec=IpClaimSpec(cidr="10.9.9.9/32")
    )
    planned = schedule(INTERFACES[:2], [taken], cluster(NODES))
    assert planned.in_the_way == {"10-0-0-1-32": INTERFACES[0]}
    created = [w.claim.metadata.name for w in planned.writes if isinstance(w, CreateClaim)]
    assert created == ["10-0-0-2-32"]


def test_rebalancing_evens_the_load_out_to_steady_nodes_alone():
    claims = apply([], schedule(INTERFACES, [], cluster(["n1", "n2"])))
    assert plan_rebalance(claims, cluster(NODES), steady=frozenset({"n1", "n2"}), limit=9) == ()
    moves = plan_rebalance(claims, cluster(NODES), steady=frozenset(NODES), limit=9)
    assert {m.node for m in moves} == {"n3"}
    assert len(moves) == 2
    assert len(plan_rebalance(claims, cluster(NODES), steady=frozenset(NODES), limit=1)) == 1


subsets = st.sets(st.sampled_from(NODES))


@given(
    st.lists(st.tuples(st.sets(st.sampled_from(INTERFACES)), subsets, subsets), max_size=6),
    st.sampled_from(list(Strategy)),
)
def test_whatever_came_before_one_round_settles_everything(history, strategy):
    claims: list[IpClaim] = []
    for wanted, alive, unknown in history:
        before = by_node(claims)
        nodes = cluster(alive, unknown=unknown - alive)
        claims = apply(claims, schedule(wanted, claims, nodes, strategy))
        assert schedule(wanted, claims, nodes, strategy).writes == ()
        after = by_node(claims)
        assert set(after) == {f"10-0-0-{int(i.ip) & 255}-32" for i in wanted}
        for name, node in after.items():
            if alive:
                assert node in alive | unknown
            if before.get(name) in alive | unknown:
                assert node == before[name], "moved without need"


def kubernetes_nodes():
    return tuple(replace(node, kubernetes=KubernetesNode()) for node in cluster(NODES).nodes)


def test_controllers_that_kubernetes_knows_by_other_names_are_not_asked_for_endpoints():
    nodes = Snapshot(nodes=cluster(NODES).nodes, local_endpoints={"default/web": frozenset({"x"})})
    assert all(by_node(apply([], schedule(INTERFACES, [], nodes))).values())


def test_a_service_with_local_traffic_is_where_it_is_served():
    served = {"default/web": frozenset({"n2"})}
    nodes = Snapshot(nodes=kubernetes_nodes(), local_endpoints=served)
    claims = apply([], schedule(INTERFACES, [], nodes))
    assert set(by_node(claims).values()) == {"n2"}
    moved = Snapshot(nodes=nodes.nodes, local_endpoints={"default/web": frozenset({"n3"})})
    writes = [w for w in schedule(INTERFACES, claims, moved).writes if isinstance(w, AssignClaim)]
    assert {w.node for w in writes} == {"n3"}
    assert all("no ready endpoint" in w.why for w in writes)
    nowhere = Snapshot(nodes=nodes.nodes, local_endpoints={"default/web": frozenset()})
    plan = schedule(INTERFACES, claims, nowhere)
    assert plan.writes == ()
    assert len(plan.waiting) == len(INTERFACES)


def moves_of(planned):
    return {w.claim.metadata.name: w.node for w in planned}


def gathering(claims, nodes, *, steady=NODES, limit=9):
    return plan_rebalance(
        claims, nodes, steady=frozenset(steady), limit=limit, strategy=Strategy.FIRST_ALIVE
    )


def test_first_alive_brings_together_what_another_strategy_has_spread():
    claims = apply([], schedule(INTERFACES[:7], [], cluster(NODES)))
    moves = gathering(claims, cluster(NODES))
    assert {m.node for m in moves} == {"n1"}, "it has the most"
    assert len(moves) == 4
    assert {m.why for m in moves} == {"to join those on n1"}
    assert len(gathering(claims, cluster(NODES), limit=2)) == 2
    assert moves_of(gathering(claims, replace(cluster(NODES), registered={"n2": "2026"}))) == (
        moves_of(moves)
    )


def test_first_alive_brings_nothing_together_while_a_holder_is_not_steady():
    claims = apply([], schedule(INTERFACES[:6], [], cluster(NODES)))
    assert gathering(claims, cluster(NODES), steady=["n1", "n2"]) == ()
    assert gathering(claims, cluster(["n1", "n2"], unknown=["n3"]), steady=["n1", "n2"]) == ()
    assert gathering(claims, cluster(NODES, isolated=["n3"]), steady=["n1", "n2"]) == ()
    two = apply(claims, schedule(INTERFACES[:6], claims, cluster(["n1", "n2"])))
    assert gathering(two, cluster(["n1", "n2"]), steady=["n1", "n2"]), "n3 is known to be dead"


def test_first_alive_moves_no_pinned_claim_and_counts_none():
    pinned = [hand_made(f"pin-{n}", f"10.0.1.{n}/32", "n3") for n in range(5)]
    free = [automatic(c) for c in (hand_made("a", "10.0.2.1/32", "n2"),)]
    free += [automatic(c) for c in (hand_made("b", "10.0.2.2/32", "n1"),)]
    assert moves_of(gathering([*pinned, *free], cluster(NODES))) == {"a": "n1"}


def hand_made(name, cidr, node=""):
    labels = {"ipnode": node} if node else None
    return IpClaim(
        metadata=FullObjectMeta(name=name, labels=labels),
        spec=IpClaimSpec(cidr=cidr, node_name=node),
    )


def automatic(claim):
    metadata = FullObjectMeta(
        name=claim.metadata.name,
        labels=claim.metadata.labels,
        annotations={PLACEMENT_ANNOTATION: PLACEMENT_AUTOMATIC},
    )
    return IpClaim(metadata=metadata, spec=claim.spec)


def test_a_new_claim_joins_a_holder_of_which_nothing_is_known_for_a_moment():
    """It is up there at once if that lives, and moves with the others if not."""
    first = Strategy.FIRST_ALIVE
    claims = apply([], schedule(INTERFACES[:2], [], cluster(["n2"]), first))
    late = cluster(["n1", "n3"], unknown=["n2"])
    claims = apply(claims, schedule(INTERFACES[:3], claims, late, first))
    assert set(by_node(claims).values()) == {"n2"}
    assert schedule(INTERFACES[:3], claims, late, first).writes == ()
    nobody = cluster([], unknown=NODES)
    assert set(
        by_node(apply(claims, schedule(INTERFACES[:4], claims, nobody, first))).values()
    ) == {"n2"}
    dead = apply(claims, schedule(INTERFACES[:3], claims, cluster(["n1", "n3"]), first))
    assert set(by_node(dead).values()) == {"n1"}


def test_but_not_where_it_may_not_be_nor_one_that_lost_its_node():
    first = Strategy.FIRST_ALIVE
    claims = apply([], schedule(INTERFACES[:2], [], cluster(["n2"]), first))
    late = cluster(["n1", "n3"], unknown=["n2"])
    leaving = cluster(["n1", "n3"], unknown=["n2"], draining=["n2"])
    placed = by_node(apply(claims, schedule(INTERFACES[:3], claims, leaving, first)))
    assert sorted(placed.values()) == ["n1", "n2", "n2"]
    lost = automatic(hand_made("lost", "10.0.1.1/32", "n9"))
    assert moves_of(schedule(INTERFACES[:2], [*claims, lost], late, first).writes) == {"lost": "n1"}
    fresh = cluster(["n3"], unknown=["n1", "n2"])
    assert set(by_node(apply([], schedule(INTERFACES[:2], [], fresh, first))).values()) == {"n3"}


def test_fair_counts_what_people_pinned_to_a_node():
    pinned = [hand_made(f"pin-{n}", f"10.0.1.{n}/32", "n1") for n in range(4)]
    claims = apply(pinned, schedule(INTERFACES, pinned, cluster(NODES)))
    assert sorted(map(list(by_node(claims).values()).count, NODES)) == [4, 4, 4]
    uneven = [automatic(hand_made(f"a{n}", f"10.0.2.{n}/32", "n1")) for n in range(2)]
    moves = plan_rebalance([*pinned, *uneven], cluster(NODES), steady=frozenset(NODES), limit=9)
    assert sorted(moves_of(moves).values()) == ["n2", "n3"]


def test_an_ip_that_a_node_has_without_a_claim_gets_its_claim_there():
    busy = replace(cluster(NODES), located={INTERFACES[0].ip: "n3", INTERFACES[1].ip: "n2"})
    wanted = {interface: (owner(),) for interface in INTERFACES[:3]}
    made = apply([], plan_schedule(wanted, [], busy, Strategy.FAIR))
    assert [c.spec.node_name for c in made] == ["n3", "n2", "n1"]
    gone = replace(cluster(["n1"]), located={INTERFACES[0].ip: "n3"})
    (moved,) = apply([], plan_schedule({INTERFACES[0]: (owner(),)}, [], gone, Strategy.FAIR))
    assert moved.spec.node_name == "n1"


def test_a_node_that_does_not_hear_of_its_claims_keeps_them_and_gets_no_more():
    nodes = cluster(NODES).nodes
    deaf = replace(cluster(NODES), nodes=tuple(replace(n, unread=n.name == "n1") for n in nodes))
    wanted = {interface: (owner(),) for interface in INTERFACES[:6]}
    made = apply(
        [], plan_schedule(dict(list(wanted.items())[:3]), [], cluster(NODES), Strategy.FAIR)
    )
    before = {c.metadata.name: c.spec.node_name for c in made}
    assert "n1" in before.values()
    after = {
        c.metadata.name: c.spec.node_name
        for c in apply(made, plan_schedule(wanted, made, deaf, Strategy.FAIR))
    }
    assert before.items() <= after.items()
    assert "n1" not in {node for name, node in after.items() if name not in before}
    dying = replace(deaf, nodes=tuple(replace(n, alive=n.name != "n1") for n in deaf.nodes))
    last = apply(made, plan_schedule(wanted, made, dying, Strategy.FAIR))
    assert "n1" not in {c.spec.node_name for c in last}
