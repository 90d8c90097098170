"""An IP on every node, and a router with resilient hashing: the end of a node is its own alone."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from tests.lab.cluster import Lab
from tests.system.ecmp_world import NODES, World, connections, count_packets, ecmp_world
from tests.system.test_drain_moves import drain

MANY = 30
"""Connections to each of the two IPs."""

FEWEST = 5
"""Connections of a node, of 60: its share is 20."""

NOTICED_S = 3.0
"""BFD needs 0.3 s; the hold time of BGP is minutes."""

SURVIVORS = ["n1", "n2"]


@pytest.fixture
def world(private_lab: Callable[..., Lab]) -> Iterator[World]:
    with ecmp_world(private_lab(nodes=3), "bird", resilient=True) as made:
        count_packets(made)
        yield made


def shares(opened):
    nodes = [one.node for one in opened]
    return {name: nodes.count(name) for name in NODES}


def wait_ways(world, *nodes):
    for ip in world.ips:
        world.bgp.wait_next_hops(ip, *nodes)


def test_a_dead_node_breaks_its_own_connections_alone_and_its_return_breaks_none(world, request):
    with ExitStack() as stack:
        opened = connections(world, stack, MANY)
        assert min(shares(opened).values()) >= FEWEST
        of_others = [one for one in opened if one.node != "n3"]
        world.lab.nodes["n3"].die()
        died = time.monotonic()
        wait_ways(world, *SURVIVORS)
        noticed_s = time.monotonic() - died
        request.node.user_properties.append(("routes gone", round(noticed_s, 3)))
        assert noticed_s < NOTICED_S
        assert world.bgp.dead_by_bfd() == ["n3 v4", "n3 v6"]
        assert [one for one in opened if one.goes_on()] == of_others
        assert all(one.seen_by(*SURVIVORS) == {one.node} for one in of_others)
        assert {type(one.error) for one in opened if one.node == "n3"} == {ConnectionResetError}
        opened = of_others + connections(world, stack, MANY // 2, over=SURVIVORS)
        bring_back(world, "n3")
        wait_ways(world, *NODES)
        late = connections(world, stack, MANY)
        assert shares(late)["n3"] >= FEWEST
        assert all(one.goes_on() for one in opened)
        assert all(one.seen_by(*NODES) == {one.node} for one in opened)


def test_a_drain_breaks_no_connection_of_other_nodes(world):
    """Those of the node itself break when the router gives them to another node, and not before."""
    with ExitStack() as stack:
        opened = connections(world, stack, MANY)
        of_others = [one for one in opened if one.node != "n3"]
        drained = drain(world.lab, "n3", "--wait=1m")
        assert drained.communicate(timeout=100) == ("n3 is drained\n", "")
        wait_ways(world, *SURVIVORS)
        broken = [one for one in opened if not one.goes_on()]
        assert all(one.seen_by(*NODES) == {one.node} for one in of_others)
        assert not {*broken} & {*of_others}
        assert all(one.seen_by(*SURVIVORS) for one in broken)
        connections(world, stack, MANY // 2, over=SURVIVORS)
        drain(world.lab, "n3", "--undo").communicate(timeout=100)
        wait_ways(world, *NODES)
        assert all(one.goes_on() for one in of_others)
        assert min(shares(connections(world, stack, MANY)).values()) >= FEWEST


def bring_back(world, name):
    """Boot it as its own init would: the BGP daemon and the controller, too."""
    node = world.lab.nodes[name]
    node.revive()
    world.bgp.start(node)
    world.start_controller(name)
