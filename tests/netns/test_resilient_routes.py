"""The program that gives a router resilient hashing: of a table come groups of next hops."""

import json
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.lab.anchor import python
from tests.lab.wait import wait_until
from tests.netns.namespace import PrivateNamespace

pytestmark = pytest.mark.netns

IDLE_S = 2
NEVER_S = 3600
CLIENTS = 64
"""Senders: each of three nodes has traffic from some of them."""

ADDRESSES = {4: "10.9.0.1/24", 6: "fd09::1/64"}
NODES = {4: "10.9.0.1{}", 6: "fd09::1{}"}
IPS = {4: "10.77.0.7", 6: "fd00:77::7"}
ALL = {"1": 255, "2": 255, "3": 255}
WITHOUT_3 = {"1": 255, "2": 255}
DRAINED_3 = WITHOUT_3 | {"3": 1}


class Router:
    """A namespace with the tables that a routing daemon writes, and clients that send."""

    def __init__(self, namespace: PrivateNamespace, version: int) -> None:
        self._namespace = namespace
        self._version = version
        self._ip = IPS[version]
        for each, address in ADDRESSES.items():
            namespace.ip(f"addr add {address} dev v0 {'nodad' if each == 6 else ''}")
            hash_of_ports = f"/proc/sys/net/ipv{each}/fib_multipath_hash_policy"
            Path(hash_of_ports).write_text("1")
        family = socket.AF_INET6 if version == 6 else socket.AF_INET
        self._clients = [socket.socket(family, socket.SOCK_DGRAM) for _ in range(CLIENTS)]
        self._exported = False

    def close(self) -> None:
        for client in self._clients:
            client.close()

    def export(self, *nodes: str) -> None:
        """Have these nodes have the IP, as BIRD writes it: it deletes an IPv6 route first."""
        if self._exported:
            self._run(f"route del {self._ip} table 100")
        hops = " ".join(f"nexthop via {self._address(node)} dev v0" for node in nodes)
        if nodes:
            self._run(f"route add {self._ip} table 100 {hops}")
        self._exported = bool(nodes)

    def alive(self, node: str, *, alive: bool = True) -> None:
        address = self._address(node)
        self._run(f"route {'add' if alive else 'del'} {address} via {address} dev v0 table 101")

    def send(self) -> None:
        for client in self._clients:
            client.sendto(b"x", (self._ip, 9))

    def weights(self) -> dict[str, int]:
        """Return the nodes to which the kernel sends what comes for the IP."""
        found = json.loads(self._run(f"-j route show {self._ip}") or "[]")
        hops = [hop for route in found for hop in route.get("nexthops", [route])]
        return {hop["gateway"][-1]: hop.get("weight", 255) for hop in hops}

    def wait(self, weights: dict[str, int], timeout: float = 5.0) -> None:
        wait_until(lambda: self.weights() == weights, f"{weights}", timeout=timeout)

    def buckets_of(self, node: str) -> int:
        hops = json.loads(self._run("-j nexthop list"))
        number = next(h["id"] for h in hops if h.get("gateway") == self._address(node))
        return len(json.loads(self._run(f"-j nexthop bucket list nhid {number}") or "[]"))

    def groups(self) -> str:
        return self._run("nexthop list groups")

    def _address(self, node: str) -> str:
        return NODES[self._version].format(node)

    def _run(self, command: str) -> str:
        return self._namespace.ip(f"-{self._version} {command}")


@pytest.fixture(params=[4, 6])
def router(namespace: PrivateNamespace, request: pytest.FixtureRequest) -> Iterator[Router]:
    made = Router(namespace, request.param)
    yield made
    made.close()


@pytest.fixture
def follow(router: Router) -> Iterator[Callable[..., None]]:
    """Start the program with these bounds; all three nodes have the IP, and traffic."""
    started = []

    def start(idle_s: int, longest_s: int = NEVER_S) -> None:
        argv = python("resilient_routes.py", "100", "101", str(idle_s), str(longest_s))
        started.append(subprocess.Popen(argv))
        for node in ALL:
            router.alive(node)
        router.export(*ALL)
        router.wait(ALL)
        router.send()

    yield start
    for process in started:
        assert process.poll() is None
        process.kill()
        process.wait()


def test_a_node_that_withdraws_keeps_what_has_traffic_until_it_falls_silent(router, follow):
    follow(IDLE_S)
    router.export("1", "2")
    router.wait(DRAINED_3)
    before = router.buckets_of("3")
    assert before > 0
    until = time.monotonic() + 2 * IDLE_S
    while time.monotonic() < until:
        router.send()
        time.sleep(0.2)
    assert (router.weights(), router.buckets_of("3")) == (DRAINED_3, before)
    router.wait(WITHOUT_3, timeout=IDLE_S + 10)


def test_more_nodes_leave_than_stay_and_all_are_out_when_they_fell_silent(router, follow):
    """The kernel rounds: one of the two is entitled to a bucket, and so keeps one."""
    follow(IDLE_S)
    router.export("1")
    router.wait({"1": 255, "2": 1, "3": 1})
    router.wait({"1": 255}, timeout=IDLE_S + 10)


def test_a_node_that_comes_back_while_it_leaves_has_its_share_again(router, follow):
    follow(NEVER_S)
    router.export("1", "2")
    router.wait(DRAINED_3)
    router.export(*ALL)
    router.wait(ALL)


def test_a_node_that_dies_while_it_leaves_is_out_at_once(router, follow):
    follow(NEVER_S)
    router.export("1", "2")
    router.wait(DRAINED_3)
    router.alive("3", alive=False)
    router.wait(WITHOUT_3)


def test_a_dead_node_is_out_with_all_of_its_traffic(router, follow):
    follow(NEVER_S)
    router.alive("3", alive=False)
    router.export("1", "2")
    router.wait(WITHOUT_3)
    assert router.buckets_of("3") == 0


def test_a_node_that_leaves_is_out_when_its_time_is_over(router, follow):
    follow(NEVER_S, longest_s=2)
    router.export("1", "2")
    router.wait(DRAINED_3)
    router.wait(WITHOUT_3)


def test_a_route_that_all_nodes_withdraw_goes_also_when_one_of_them_leaves(router, follow):
    follow(NEVER_S)
    router.export("1", "2")
    router.wait(DRAINED_3)
    router.export()
    router.wait({})
    wait_until(lambda: not router.groups(), "the group to go", timeout=5.0)
    router.export(*WITHOUT_3)
    router.wait(WITHOUT_3)
