"""An IP on every node, exported by BIRD or FRR to a router that spreads connections (ECMP)."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from tests.lab.cluster import Lab
from tests.lab.network import lan_v4, lan_v6
from tests.lab.probe import HICCUP_S
from tests.lab.wait import wait_until
from tests.system.ecmp_router import SECOND_ROUTER, EcmpRouter
from tests.system.ecmp_world import (
    ECHO_PORT,
    NODES,
    World,
    connections,
    count_packets,
    ecmp_world,
)
from tests.system.test_drain_moves import drain

MANY = 12
"""Connections to each IP: enough for each of three nodes to have some."""

REDIRECTS = ["net.ipv4.conf.all", "net.ipv4.conf.eth0", "net.ipv6.conf.eth0"]


@pytest.fixture(params=["bird", "frr"])
def world(private_lab: Callable[..., Lab], request: pytest.FixtureRequest) -> Iterator[World]:
    with ecmp_world(private_lab(nodes=3), request.param) as made:
        yield made


def test_a_node_that_dies_breaks_only_what_the_router_moves(world):
    """BFD notices it. Nothing that stays on its node notices anything."""
    survivors = ["n1", "n2"]
    with ExitStack() as stack:
        count_packets(world)
        opened = connections(world, stack, MANY)
        world.lab.nodes["n3"].die()
        for ip in world.ips:
            world.router.wait_next_hops(ip, *survivors)
        assert world.router.dead_by_bfd() == ["n3 v4", "n3 v6"]
        went_on = {one: one.goes_on(1.0) for one in opened}
        staying = [one for one in opened if one.seen_by(*survivors) == {one.node}]
        assert len(staying) >= MANY // 2
        assert all(went_on[one] for one in staying)
        assert not any(went_on[one] for one in opened if one.node == "n3")
    for ip in world.ips * 5:
        assert world.lab.far_client.http_get(ip) == "n1"
    wait_until(
        lambda: {claim["spec"]["nodeName"] for claim in world.claims()} == set(survivors),
        "the claims of the dead node to go",
    )
    assert sorted(world.ingress("web")) == world.ips


def test_two_routers_have_the_same_ways_and_both_see_a_node_die(world):
    """The client on the LAN goes by the second one, and not by shorter ways that it tells of."""
    lab = world.lab
    lab.client.run(["sysctl", *(f"{key}.accept_redirects=0" for key in REDIRECTS)])
    host = lab.outsiders.add_router(SECOND_ROUTER)
    second = EcmpRouter(host, lab.nodes, number=SECOND_ROUTER)
    routers = [world.router, second]
    second.wait_established()
    for ip, via in zip(world.ips, [lan_v4(SECOND_ROUTER), lan_v6(SECOND_ROUTER)], strict=True):
        second.wait_next_hops(ip, *NODES)
        lab.client.run(["ip", "route", "add", ip, "via", via])
        assert lab.client.http_get(ip) == "n1"
    lab.nodes["n3"].die()
    for router in routers:
        for ip in world.ips:
            router.wait_next_hops(ip, "n1", "n2")
        assert router.dead_by_bfd() == ["n3 v4", "n3 v6"]
    for ip in world.ips * 5:
        assert lab.client.http_get(ip) == lab.far_client.http_get(ip) == "n1"


def test_a_drained_node_still_serves_what_arrives_and_gets_nothing_new(world):
    """The client on the LAN is a router that has not heard of the withdrawal yet."""
    lab = world.lab
    late = [lab.nodes["n3"].ip, lab.nodes["n3"].ip6]
    for ip, via in zip(world.ips, late, strict=True):
        lab.client.run(["ip", "route", "add", ip, "via", via])
    with ExitStack() as stack:
        probe = stack.enter_context(lab.probe(world.ips, host=lab.far_client))
        for ip in world.ips:
            probe.wait_for_answer(ip=ip)
        opened = [stack.enter_context(lab.client.connect(ip, ECHO_PORT)) for ip in world.ips]
        drained = drain(lab, "n3", "--wait=1m")
        assert drained.communicate(timeout=100) == ("n3 is drained\n", "")
        for ip in world.ips:
            world.router.wait_next_hops(ip, "n1", "n2")
        assert world.on_lo() == {"n1": set(world.ips), "n2": set(world.ips), "n3": set()}
        for one, ip in zip(opened, world.ips, strict=True):
            one.sendall(b"x")
            assert one.recv(16) == b"x"
            assert lab.client.http_get(ip) == "n1"
        for ip in world.ips:
            probe.wait_for_answer(ip=ip, sent_after_s=time.monotonic())
    assert all(probe.longest_outage_s(ip) < HICCUP_S for ip in world.ips)
    drain(lab, "n3", "--undo").communicate(timeout=100)
    for ip in world.ips:
        world.router.wait_next_hops(ip, *NODES)


def test_routers_prefer_other_nodes_to_one_that_says_that_it_leaves(world):
    """GRACEFUL_SHUTDOWN (RFC 8326): the node still has its IPs, and serves what arrives."""
    lab, leaving = world.lab, world.lab.nodes["n3"]
    with lab.probe(world.ips, host=lab.far_client) as probe:
        for ip in world.ips:
            probe.wait_for_answer(ip=ip)
        world.bgp.leave(leaving)
        for ip in world.ips:
            world.router.wait_next_hops(ip, "n1", "n2")
        assert world.on_lo() == {name: set(world.ips) for name in NODES}
        world.bgp.leave(leaving, leaving=False)
        for ip in world.ips:
            world.router.wait_next_hops(ip, *NODES)
            probe.wait_for_answer(ip=ip, sent_after_s=time.monotonic())
    assert all(probe.longest_outage_s(ip) < HICCUP_S for ip in world.ips)
