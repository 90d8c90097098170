"""Nodes that have said that they would refuse an IP are the last to get it."""

from dataclasses import replace

from tests.unit.scheduling.rebalance_reference import plan_rebalance
from tests.unit.scheduling.test_planner import INTERFACES, NODES, apply, by_node, cluster, schedule


def refusing(snapshot, interface, *names):
    """Return the snapshot in which these nodes have said that they would refuse an IP."""
    nodes = (
        replace(n, refuses=n.refuses | {interface.ip}) if n.name in names else n
        for n in snapshot.nodes
    )
    return replace(snapshot, nodes=tuple(nodes))


def on(node, *interfaces):
    """Return claims of a node."""
    every = schedule(interfaces, [], cluster([node], known=[node]))
    return apply([], every)


def test_an_ip_goes_to_no_node_that_would_refuse_it_while_another_one_may_have_it():
    mine, *others = INTERFACES[:4]
    claims = [*on("n1", mine), *on("n3", *others)]
    nodes = refusing(cluster(["n2", "n3"]), mine, "n2")
    assert by_node(apply(claims, schedule([mine, *others], claims, nodes))) == {
        c.metadata.name: "n3" for c in claims
    }
    new = schedule([mine, *others], on("n3", *others), nodes)
    assert set(by_node(apply(on("n3", *others), new)).values()) == {"n3"}


def test_where_all_would_refuse_it_the_ip_goes_to_one_of_them():
    claims = on("n1", INTERFACES[0])
    nodes = refusing(cluster(["n2", "n3"]), INTERFACES[0], "n2", "n3")
    moved = by_node(apply(claims, schedule(INTERFACES[:1], claims, nodes)))
    assert set(moved.values()) == {"n2"}


def test_a_node_that_refuses_an_ip_keeps_its_claim_in_quiet_times_too():
    """It alone may know the station that has the IP, such as a pod."""
    claims = on("n1", INTERFACES[0])
    nodes = refusing(cluster(NODES), INTERFACES[0], "n1")
    planned = schedule(INTERFACES[:1], claims, nodes)
    assert (planned.writes, planned.astray) == ((), frozenset())


def test_no_ip_is_moved_for_balance_to_a_node_that_would_refuse_it():
    claims = on("n1", *INTERFACES[:4])
    nodes = cluster(["n1", "n2"], known=["n1", "n2"])
    for interface in INTERFACES[:2]:
        nodes = refusing(nodes, interface, "n2")
    steady = frozenset({"n1", "n2"})
    moves = plan_rebalance(claims, nodes, steady=steady, limit=9)
    assert [w.claim.spec.cidr for w in moves] == [str(one) for one in INTERFACES[2:4]]
