"""What cuts all nodes off at once moves nothing, neither when it begins nor when it ends."""

from dataclasses import replace

import pytest

from extip.scheduling.policy.filters import NodeLinkFacts
from tests.unit.scheduling.test_planner import INTERFACES, NODES, apply, cluster, schedule


def cut_off(*down, known=None, **more):
    """Return the nodes, some without carrier."""
    known = known or cluster(NODES)
    nodes = tuple(
        replace(node, links={"eth0": NodeLinkFacts(up=False)}) if node.name in down else node
        for node in known.nodes
    )
    return replace(known, nodes=nodes, **{name: frozenset(who) for name, who in more.items()})


def moves(now):
    claims = apply([], schedule(INTERFACES[:6], [], cluster(NODES)))
    planned = schedule(INTERFACES[:6], claims, now)
    return {(write.claim.spec.node_name, write.node) for write in planned.writes}


def test_the_first_nodes_to_lose_carrier_keep_their_ips_for_a_moment():
    assert moves(cut_off("n1", unsettled=["n1"])) == set()
    assert moves(cut_off("n1", "n2", unsettled=["n1", "n2"])) == set()
    assert moves(cut_off("n1")) == {("n1", "n2"), ("n1", "n3")}


def test_the_first_nodes_to_be_back_take_nothing_from_those_that_are_not_yet():
    assert moves(cut_off("n1", "n2", "n3")) == set()
    assert moves(cut_off("n1", "n2", returning=["n3"])) == set()
    assert moves(cut_off("n1", returning=["n2", "n3"])) == set()
    assert moves(cut_off(returning=NODES)) == set()
    assert moves(cut_off("n1", returning=["n2"])) == {("n1", "n3")}, "n3 was never away"


def test_nodes_that_are_reached_again_take_nothing_from_those_that_are_not_yet():
    isolated = cluster(NODES, isolated=["n1"], successors=["n2", "n3"])
    assert moves(cut_off(known=isolated, returning=["n2", "n3"])) == set()
    assert moves(cut_off(known=isolated, returning=["n2"])) == {("n1", "n3")}
    assert moves(cut_off("n2", known=isolated, returning=["n3"])) == set()


@pytest.mark.parametrize("why", ["draining", "dead"])
def test_nodes_that_are_back_take_over_from_those_that_wait_for_no_network(why):
    going = cluster(NODES, draining=["n1"]) if why == "draining" else cluster(["n2", "n3"])
    assert moves(cut_off(known=going, returning=["n2", "n3"])) == {("n1", "n2"), ("n1", "n3")}
    assert moves(cut_off("n1", known=going, unsettled=["n1"])) == {("n1", "n2"), ("n1", "n3")}
