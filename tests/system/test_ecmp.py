"""An IP on every node, exported by BIRD or FRR to a router that spreads connections (ECMP)."""

import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial

import pytest

from tests.lab.anchor import python
from tests.lab.cluster import Lab
from tests.lab.extip import MARK
from tests.lab.host import Host
from tests.lab.probe import HICCUP_S
from tests.lab.wait import wait_until
from tests.system.bgp import POOL_V4, POOL_V6, Bgp
from tests.system.pooled_cluster import DUAL, LOAD_BALANCER, PooledCluster, pool
from tests.system.test_drain_moves import drain

NAMESPACE = "ecmp"
NODES = ["n1", "n2", "n3"]
ECHO_PORT = 7007
MANY = 24
"""Connections: enough for each of three nodes to have some."""

PORTS = [
    {"name": "http", "port": 80, "targetPort": 8080},
    {"name": "echo", "port": ECHO_PORT, "targetPort": ECHO_PORT},
]


class World(PooledCluster):
    """A cluster whose pool is for every node, with a BGP daemon on the router and the nodes."""

    ips: list[str]
    bgp: Bgp

    def begin(self, daemon: str) -> None:
        """Start everything; returns when the router knows three ways to each IP."""
        self.controller_flags += ("--iface=lo",)
        self.bgp = Bgp(self.lab, daemon)
        self.start()
        networks = [{"cidr": POOL_V6, "ranges": [["fd00:77::7", "fd00:77::7"]]}]
        ranges = ["10.77.0.7", "10.77.0.7"]
        self.lab.apply(pool("ecmp", POOL_V4, ranges, networks=networks, placement="EveryNode"))
        self.add("web", **LOAD_BALANCER, **DUAL, ports=PORTS)
        self.ips = ["10.77.0.7", "fd00:77::7"]
        self.bgp.wait_established()
        for ip in self.ips:
            self.bgp.wait_next_hops(ip, *NODES)
            for node in self.lab.nodes.values():
                wait_until(partial(answers, node, ip), f"the rules for {ip} on {node.name}")

    def on_lo(self) -> dict[str, set[str]]:
        """Return the external IPs on each node's lo."""
        return {
            name: {one.ip for one in node.addresses("lo") if one.proto == MARK}
            for name, node in self.lab.nodes.items()
        }


def answers(host: Host, ip: str) -> bool:
    try:
        return bool(host.http_get(ip, timeout=1))
    except OSError:
        return False


@pytest.fixture(params=["bird", "frr"])
def world(private_lab: Callable[..., Lab], request: pytest.FixtureRequest) -> Iterator[World]:
    """Backends are on n1 alone, so that the end of another node is no end of a backend."""
    lab = private_lab(nodes=3)
    lab.create_namespace(NAMESPACE)
    lab.add_backends(NAMESPACE, ["n1"])
    lab.nodes["n1"].pods.start(python("echo.py", str(ECHO_PORT)), name="echo")
    made = World(lab, NAMESPACE)
    made.install()
    made.begin(request.param)
    yield made
    made.end()


SEEN = """
table inet seen {
    set seen4 {
        type inet_service
        flags dynamic
    }
    set seen6 {
        type inet_service
        flags dynamic
    }
    chain prerouting {
        type filter hook prerouting priority raw
        ip daddr 10.77.0.7 tcp dport 7007 add @seen4 { tcp sport }
        ip6 daddr fd00:77::7 tcp dport 7007 add @seen6 { tcp sport }
    }
}
"""


class Connection:
    """An open connection of the client behind the router."""

    def __init__(self, lab: Lab, ip: str, opened: socket.socket) -> None:
        self._lab = lab
        self._opened = opened
        self._set = "seen6" if ":" in ip else "seen4"
        _, self._port, *_ = opened.getsockname()
        (self.node,) = self.seen_by(*NODES)

    def seen_by(self, *nodes: str) -> set[str]:
        """Return those of the nodes to which packets of it came."""
        return {name for name in nodes if self._port in self._ports(name)}

    def _ports(self, node: str) -> set[int]:
        command = ["nft", "-j", "list", "set", "inet", "seen", self._set]
        told = json.loads(self._lab.nodes[node].run(command).stdout)["nftables"]
        return {port for one in told if "set" in one for port in one["set"].get("elem", ())}

    def goes_on(self, timeout: float = 5.0) -> bool:
        """Whether something that is sent comes back."""
        self._opened.settimeout(timeout)
        try:
            self._opened.sendall(b"x")
            return self._opened.recv(16) == b"x"
        except OSError:
            return False


def connections(world: World, stack: ExitStack) -> list[Connection]:
    for node in world.lab.nodes.values():
        node.run(["nft", "-f", "-"], stdin=SEEN)
    found = []
    for ip in world.ips * (MANY // 2):
        opened = stack.enter_context(world.lab.far_client.connect(ip, ECHO_PORT))
        found.append(Connection(world.lab, ip, opened))
    assert all(one.goes_on() for one in found)
    assert {one.node for one in found} == set(NODES)
    return found


def test_a_node_that_dies_breaks_only_what_the_router_moves(world):
    """BFD notices it. Nothing that stays on its node notices anything."""
    survivors = ["n1", "n2"]
    with ExitStack() as stack:
        opened = connections(world, stack)
        world.lab.nodes["n3"].die()
        for ip in world.ips:
            world.bgp.wait_next_hops(ip, *survivors)
        assert world.bgp.dead_by_bfd() == ["n3 v4", "n3 v6"]
        went_on = {one: one.goes_on(1.0) for one in opened}
        staying = [one for one in opened if one.seen_by(*survivors) == {one.node}]
        assert len(staying) >= MANY // 4
        assert all(went_on[one] for one in staying)
        assert not any(went_on[one] for one in opened if one.node == "n3")
    for ip in world.ips * 5:
        assert world.lab.far_client.http_get(ip) == "n1"
    wait_until(
        lambda: {claim["spec"]["nodeName"] for claim in world.claims()} == set(survivors),
        "the claims of the dead node to go",
    )
    assert sorted(world.ingress("web")) == world.ips


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
            world.bgp.wait_next_hops(ip, "n1", "n2")
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
        world.bgp.wait_next_hops(ip, *NODES)
