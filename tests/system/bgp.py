"""A router and nodes that speak BGP: BIRD on the router, BIRD or FRR on the nodes.

The nodes have the configurations of the manifests.
"""

import re
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from tests.lab.anchor import python
from tests.lab.cluster import Lab
from tests.lab.host import Host
from tests.lab.network import ROUTER, lan_v4, lan_v6
from tests.lab.node import Node
from tests.lab.wait import wait_until
from tests.system import frr

NODE_CONFIGURATION = Path(__file__).parents[2] / "manifests/ecmp/bird.conf"
POOL_V4, POOL_V6 = "10.77.0.0/24", "fd00:77::/64"
NODE_AS, ROUTER_AS = 65010, 65001
_HASH_OF_PORTS = "1"
"""``fib_multipath_hash_policy``: a connection stays on one next hop."""

_MAIN_TABLE, _TABLE_ASIDE = "254", "100"

_ROUTER = """
router id {router_id};
protocol device {{
}}
protocol bfd {{
    interface "*" {{
        interval 100 ms;
        multiplier 3;
    }};
}}
protocol kernel {{
    kernel table {table};
    ipv4 {{
        export all;
    }};
    merge paths on;
}}
protocol kernel {{
    kernel table {table};
    ipv6 {{
        export all;
    }};
    merge paths on;
}}
# RFC 8326: routers set the least preference on routes with GRACEFUL_SHUTDOWN.
filter leaving_last {{
    if (65535, 0) ~ bgp_community then bgp_local_pref = 0;
    accept;
}}
{sessions}
"""
# FRR makes its BFD session anew when BGP comes up, which ends BGP once: see docs/ecmp.md.
_SESSION = """
protocol bgp {name}_v{version} {{
    local as {router_as};
    neighbor {neighbour} as {node_as};
    bfd on;
    error wait time 5, 60;
    ipv{version} {{
        import filter leaving_last;
        export none;
    }};
}}
"""


class Bgp:
    """Runs BIRD on the router of a lab, and `daemon` ("bird" or "frr") on all nodes.

    A `resilient` router keeps the next hop of each hash, as far as that next hop is left.
    """

    def __init__(self, lab: Lab, daemon: str, *, resilient: bool = False) -> None:
        self.lab = lab
        self._daemon = daemon
        for family in ("ipv4", "ipv6"):
            lab.router.run(["sysctl", f"net.{family}.fib_multipath_hash_policy={_HASH_OF_PORTS}"])
        for node in lab.nodes.values():
            self.start(node)
        if resilient:
            lab.router.start(python("resilient_routes.py", _TABLE_ASIDE))
        table = _TABLE_ASIDE if resilient else _MAIN_TABLE
        _start_bird(lab.router, self._router_configuration(table))

    def start(self, node: Node) -> None:
        """Start the daemon of a node, also after it has died."""
        if self._daemon == "frr":
            values = frr.node_configuration(node.ip, pool_v4=POOL_V4, pool_v6=POOL_V6)
            frr.start(node, values)
        else:
            _start_bird(node, _node_configuration(node.ip))

    def leave(self, node: Node, *, leaving: bool = True) -> None:
        """Have routers prefer other nodes, as docs/ecmp.md says it."""
        if self._daemon == "frr":
            frr.leave(node, leaving=leaving)
            return
        text = _node_configuration(node.ip)
        if leaving:
            text = text.replace("define LEAVING = false;", "define LEAVING = true;")
        node.write_file(_configuration(node), text)
        node.run(["birdc", "-s", _socket(node), "configure"])

    def wait_established(self) -> None:
        """Wait until all sessions are up, and BFD runs on all of them at its final speed."""
        sessions = 2 * len(self.lab.nodes)
        wait_until(lambda: self._told("protocols").count("Established") == sessions, "BGP")
        fast = re.compile(r"Up\s.*\s0\.100\s+0\.300")
        wait_until(lambda: len(fast.findall(self._told("bfd sessions"))) >= sessions, "BFD")

    def next_hops(self, ip: str) -> set[str]:
        """Return the nodes over which the router's kernel sends to an IP."""
        routes = self.lab.router.ip_json(*_family(ip), "route", "show", ip) or []
        hops = [hop for route in routes for hop in route.get("nexthops", [route])]
        return {self._node(hop["gateway"]) for hop in hops}

    def wait_next_hops(self, ip: str, *nodes: str) -> None:
        wait_until(lambda: self.next_hops(ip) == set(nodes), f"{ip} by {nodes}", poll_s=0.005)

    def dead_by_bfd(self) -> list[str]:
        """Return the sessions that BFD has ended, as node and IP version."""
        found = re.findall(r"(?m)^(\w+)_v(\d) .*BFD session down$", self._told("protocols"))
        return sorted(f"{node} v{version}" for node, version in found)

    def _told(self, what: str) -> str:
        return self.lab.router.run(
            ["birdc", "-s", _socket(self.lab.router), "show", *what.split()]
        ).stdout

    def _node(self, address: str) -> str:
        of = {n.ip: name for name, n in self.lab.nodes.items()}
        of |= {n.ip6: name for name, n in self.lab.nodes.items()}
        return of[address]

    def _router_configuration(self, table: str) -> str:
        sessions = [
            _SESSION.format(
                name=name,
                version=ip_address(address).version,
                neighbour=address,
                router_as=ROUTER_AS,
                node_as=NODE_AS,
            )
            for name, node in self.lab.nodes.items()
            for address in (node.ip, node.ip6)
        ]
        return _ROUTER.format(router_id=lan_v4(ROUTER), table=table, sessions="".join(sessions))


def _start_bird(host: Host, configuration: str) -> None:
    path = _configuration(host)
    host.write_file(path, configuration)
    host.start(["bird", "-f", "-c", path, "-s", _socket(host)])


def _node_configuration(ip: str) -> str:
    """Return the shipped configuration with the values of a node; the lab has one router."""
    values: dict[str, Any] = {
        "NODE_AS": NODE_AS,
        "ROUTER_AS": ROUTER_AS,
        "ROUTER_1": lan_v4(ROUTER),
        "ROUTER_2": lan_v4(250),
        "ROUTER_1_V6": lan_v6(ROUTER),
        "ROUTER_2_V6": lan_v6(250),
        "POOL": f"[ {POOL_V4}{{32,32}} ]",
        "POOL_V6": f"[ {POOL_V6}{{128,128}} ]",
    }
    text = NODE_CONFIGURATION.read_text()
    for name, value in values.items():
        text, count = re.subn(rf"(?m)^define {name} = [^;]*;", f"define {name} = {value};", text)
        assert count == 1, name
    text, count = re.subn(r"(?m)^router id [^;]*;", f"router id {ip};", text)
    assert count == 1
    return text.replace("log syslog all;", "log stderr all;")


def _configuration(host: Host) -> str:
    return f"/run/bird-{host.name}.conf"


def _socket(host: Host) -> str:
    return f"/run/bird-{host.name}.ctl"


def _family(ip: str) -> list[str]:
    return ["-6"] if ":" in ip else ["-4"]
