"""A cluster whose pool is for every node, a router with ECMP, and connections through it."""

import json
import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial

from tests.lab.anchor import python
from tests.lab.cluster import Lab
from tests.lab.extip import MARK
from tests.lab.host import Host
from tests.lab.wait import wait_until
from tests.system.bgp import POOL_V4, POOL_V6, Bgp
from tests.system.ecmp_router import IDLE_S, EcmpRouter
from tests.system.pooled_cluster import DUAL, LOAD_BALANCER, PooledCluster, pool

NAMESPACE = "ecmp"
NODES = ["n1", "n2", "n3"]
ECHO_PORT = 7007
PORTS = [
    {"name": "http", "port": 80, "targetPort": 8080},
    {"name": "echo", "port": ECHO_PORT, "targetPort": ECHO_PORT},
]


class World(PooledCluster):
    """A cluster whose pool is for every node, with a BGP daemon on the router and the nodes."""

    ips: list[str]
    bgp: Bgp
    router: EcmpRouter

    def begin(self, daemon: str, *, resilient: bool, idle_s: int) -> None:
        """Start everything; returns when the router knows three ways to each IP."""
        self.controller_flags += ("--iface=lo",)
        self.bgp = Bgp(self.lab, daemon)
        self.router = EcmpRouter(
            self.lab.router, self.lab.nodes, resilient=resilient, idle_s=idle_s
        )
        self.start()
        networks = [{"cidr": POOL_V6, "ranges": [["fd00:77::7", "fd00:77::7"]]}]
        ranges = ["10.77.0.7", "10.77.0.7"]
        self.lab.apply(pool("ecmp", POOL_V4, ranges, networks=networks, placement="Everywhere"))
        self.add("web", **LOAD_BALANCER, **DUAL, ports=PORTS)
        self.ips = ["10.77.0.7", "fd00:77::7"]
        self.router.wait_established()
        for ip in self.ips:
            self.router.wait_next_hops(ip, *NODES)
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


@contextmanager
def ecmp_world(
    lab: Lab, daemon: str, *, resilient: bool = False, idle_s: int = IDLE_S
) -> Iterator[World]:
    """Backends are on n1 alone, so that the end of another node is no end of a backend."""
    lab.create_namespace(NAMESPACE)
    lab.add_backends(NAMESPACE, ["n1"])
    lab.nodes["n1"].pods.start(python("echo.py", str(ECHO_PORT)), name="echo")
    made = World(lab, NAMESPACE)
    made.install()
    made.begin(daemon, resilient=resilient, idle_s=idle_s)
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
        self.ip = ip
        self.node = ""
        self.error: OSError | None = None
        self._lab = lab
        self._opened = opened
        _, port, *_ = opened.getsockname()
        self.key = ("seen6" if ":" in ip else "seen4", port)

    def seen_by(self, *nodes: str) -> set[str]:
        """Return those of the nodes to which packets of it came."""
        return {name for name in nodes if self.key in seen(self._lab, name)}

    def close(self) -> None:
        self._opened.close()

    def goes_on(self, timeout: float = 5.0) -> bool:
        """Whether something that is sent comes back."""
        self._opened.settimeout(timeout)
        try:
            self._opened.sendall(b"x")
            return self._opened.recv(16) == b"x"
        except OSError as error:
            self.error = error
            return False


def count_packets(world: World) -> None:
    """Have all nodes note the connections whose packets come to them."""
    for node in world.lab.nodes.values():
        node.run(["nft", "-f", "-"], stdin=SEEN)


def seen(lab: Lab, node: str) -> set[tuple[str, int]]:
    """Return the connections whose packets came to a node, by set and port of the client."""
    command = ["nft", "-j", "list", "table", "inet", "seen"]
    told = json.loads(lab.nodes[node].run(command).stdout)["nftables"]
    sets = [one["set"] for one in told if "set" in one]
    return {(one["name"], port) for one in sets for port in one.get("elem", ())}


def stay(world: World, opened: Sequence[Connection], *nodes: str) -> bool:
    """Whether their packets came to their own node, and to no other one of these."""
    ports = {name: seen(world.lab, name) for name in nodes}
    return all({name for name in nodes if one.key in ports[name]} == {one.node} for one in opened)


def connections(
    world: World, stack: ExitStack, many: int, *, over: Sequence[str] = NODES
) -> list[Connection]:
    """Open as many connections to each IP; each of these nodes, and no other, gets some of them."""
    client = world.lab.far_client
    found = [
        Connection(world.lab, ip, stack.enter_context(client.connect(ip, ECHO_PORT)))
        for ip in world.ips * many
    ]
    ports = {name: seen(world.lab, name) for name in NODES}
    for one in found:
        (one.node,) = (name for name in NODES if one.key in ports[name])
    assert all(one.goes_on() for one in found)
    for ip in world.ips:
        assert {one.node for one in found if one.ip == ip} == set(over)
    return found
