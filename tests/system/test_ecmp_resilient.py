"""An IP on every node, and a router with resilient hashing.

A node that dies breaks its own connections alone, and a drained one breaks none.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial

import pytest

from tests.lab.cluster import Lab
from tests.lab.wait import wait_until
from tests.system.ecmp_world import (
    NODES,
    World,
    connections,
    count_packets,
    ecmp_world,
    stay,
)
from tests.system.test_drain_moves import drain

MANY = 30
"""Connections to each of the two IPs."""

FEWEST = 5
"""Connections of a node, of 60: its share is 20."""

NOTICED_S = 3.0
"""BFD needs 0.3 s; the hold time of BGP is minutes."""

SURVIVORS = ["n1", "n2"]

IDLE_S = 20
"""Of a router in tests that wait for hashes without traffic."""

WEIGHTS = {"n1": 255, "n2": 255, "n3": 255}
WEIGHTS_DRAINED = WEIGHTS | {"n3": 1}


@pytest.fixture
def world(private_lab: Callable[..., Lab], request: pytest.FixtureRequest) -> Iterator[World]:
    settings = getattr(request, "param", {})
    with ecmp_world(private_lab(nodes=3), "bird", resilient=True, **settings) as made:
        count_packets(made)
        yield made


def shares(opened):
    nodes = [one.node for one in opened]
    return {name: nodes.count(name) for name in NODES}


def wait_ways(world, *nodes):
    for ip in world.ips:
        world.router.wait_next_hops(ip, *nodes)


def wait_weights(world, weights):
    for ip in world.ips:
        wait_until(
            partial(lambda ip: world.router.weights(ip) == weights, ip), f"{weights} of {ip}"
        )


def test_a_dead_node_breaks_its_own_connections_alone_and_its_return_breaks_none(world, request):
    with ExitStack() as stack:
        opened = connections(world, stack, MANY)
        assert min(shares(opened).values()) >= FEWEST
        of_others = [one for one in opened if one.node != "n3"]
        end_of_n3(world, request)
        assert [one for one in opened if one.goes_on()] == of_others
        assert stay(world, of_others, *SURVIVORS)
        assert {type(one.error) for one in opened if one.node == "n3"} == {ConnectionResetError}
        opened = of_others + connections(world, stack, MANY // 2, over=SURVIVORS)
        bring_back(world, "n3")
        wait_ways(world, *NODES)
        late = connections(world, stack, MANY)
        assert shares(late)["n3"] >= FEWEST
        assert all(one.goes_on() for one in opened)
        assert stay(world, opened, *NODES)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("world", [{"idle_s": IDLE_S}], indirect=True)
def test_a_drain_breaks_no_connection_and_the_node_gets_no_new_ones(world):
    """It serves those that it has; when they are closed, the router sends nothing there."""
    with ExitStack() as stack:
        opened = connections(world, stack, MANY)
        assert min(shares(opened).values()) >= FEWEST
        assert drain_n3(world, opened, "--wait=1m") == "n3 is drained\n"
        wait_weights(world, WEIGHTS_DRAINED)
        assert world.on_lo()["n3"] == set()
        since = time.monotonic()
        while time.monotonic() < since + IDLE_S + 2.0:
            go_on(opened)
        assert stay(world, opened, *NODES)
        of_others = [one for one in opened if one.node != "n3"]
        of_n3 = [one for one in opened if one.node == "n3"]
        assert tracked(world) == len(of_n3)
        go_on(opened)
        for one in of_n3:
            one.close()
        wait_until(lambda: tracked(world) == 0, "n3 to have no connection")
        wait_until(
            lambda: (
                all(one.goes_on() for one in of_others)
                and all(world.router.weights(ip).keys() == {*SURVIVORS} for ip in world.ips)
            ),
            "the hashes of n3 to fall silent",
            timeout=IDLE_S + 30,
        )
        opened = of_others + connections(world, stack, MANY // 2, over=SURVIVORS)
        drain_n3(world, opened, "--undo")
        wait_weights(world, WEIGHTS)
        opened += connections(world, stack, MANY)
        assert shares(opened)["n3"] >= FEWEST
        world.lab.nodes["n2"].die()
        wait_ways(world, "n1", "n3")
        assert [one for one in opened if one.goes_on()] == [o for o in opened if o.node != "n2"]
        assert stay(world, [one for one in opened if one.node != "n2"], "n1", "n3")


def test_a_node_that_dies_while_it_is_drained_is_out_at_once(world, request):
    """The router knows a death from a withdrawal, also after the withdrawal."""
    with ExitStack() as stack:
        opened = connections(world, stack, MANY)
        assert min(shares(opened).values()) >= FEWEST
        drain_n3(world, opened, "--wait=1m")
        wait_weights(world, WEIGHTS_DRAINED)
        go_on(opened)
        end_of_n3(world, request)
        of_others = [one for one in opened if one.node != "n3"]
        assert [one for one in opened if one.goes_on()] == of_others
        assert stay(world, of_others, *SURVIVORS)


def drain_n3(world, opened, *args):
    """Drain it while these connections have traffic, and return what the command says."""
    with drain(world.lab, "n3", *args) as command:
        while command.poll() is None:
            go_on(opened)
        assert command.returncode == 0
        return command.stdout.read()


def go_on(opened):
    """Use each connection, and leave the machine a moment for all else."""
    assert all(one.goes_on() for one in opened)
    time.sleep(0.5)


def end_of_n3(world, request):
    """Have it die, and wait until the router has left it out."""
    cut = time.monotonic()
    world.lab.nodes["n3"].cut()
    wait_ways(world, *SURVIVORS)
    noticed_s = time.monotonic() - cut
    request.node.user_properties.append(("routes gone", round(noticed_s, 3)))
    assert noticed_s < NOTICED_S
    world.lab.nodes["n3"].die()
    assert world.router.dead_by_bfd() == ["n3 v4", "n3 v6"]


def tracked(world):
    """Count the connections to the IPs that n3 has, as docs/ecmp.md tells an operator to do."""
    command = ["conntrack", "-L", "-p", "tcp", "--state", "ESTABLISHED", "-d"]
    told = [world.lab.nodes["n3"].run([*command, ip]).stdout for ip in world.ips]
    return sum(len(lines.splitlines()) for lines in told)


def bring_back(world, name):
    """Boot it as its own init would: the BGP daemon and the controller, too."""
    node = world.lab.nodes[name]
    node.revive()
    world.bgp.start(node)
    world.start_controller(name)
