"""A router with BIRD, that spreads the connections to an IP over all nodes that have it (ECMP)."""

import re
from collections.abc import Mapping
from ipaddress import ip_address

from tests.lab.anchor import python
from tests.lab.host import Host
from tests.lab.network import ROUTER, lan_v4
from tests.lab.node import Node
from tests.lab.wait import wait_until
from tests.system import bird

NODE_AS, ROUTER_AS = 65010, 65001
SECOND_ROUTER = 250
"""Its number on the LAN; the first one is ROUTER."""

IDLE_S = 120
"""A resilient router may give a hash to another node when it had no packet for so long."""

_HASH_OF_PORTS = "1"
"""``fib_multipath_hash_policy``: a connection stays on one next hop."""

_MAIN_TABLE, _TABLE_ASIDE, _TABLE_OF_LIVING = "254", "100", "101"

_CONFIGURATION = """
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
# Each living node has a route by way of itself, in a table of theirs.
_LIVING = """
ipv{version} table living{version};
protocol static {{
    ipv{version} {{
        table living{version};
    }};
    {routes}
}}
protocol kernel {{
    kernel table {table};
    ipv{version} {{
        table living{version};
        export all;
    }};
}}
"""


class EcmpRouter:
    """A host with BIRD, which has a session to each node in each IP version.

    A `resilient` one keeps the next hop of each hash, as far as that next hop is left, and for
    `idle_s` after each packet.
    """

    def __init__(
        self,
        host: Host,
        nodes: Mapping[str, Node],
        *,
        number: int = ROUTER,
        resilient: bool = False,
        idle_s: int = IDLE_S,
    ) -> None:
        self.host = host
        self._nodes = nodes
        for family in ("ipv4", "ipv6"):
            host.run(["sysctl", f"net.{family}.fib_multipath_hash_policy={_HASH_OF_PORTS}"])
        if resilient:
            tables = (_TABLE_ASIDE, _TABLE_OF_LIVING)
            host.start(python("resilient_routes.py", *tables, str(idle_s)))
            configuration = self._configuration(number, _TABLE_ASIDE) + self._living()
        else:
            configuration = self._configuration(number, _MAIN_TABLE)
        bird.start(host, configuration)

    def wait_established(self) -> None:
        """Wait until all sessions are up, and BFD runs on all of them at its final speed."""
        sessions = 2 * len(self._nodes)
        wait_until(lambda: self._told("protocols").count("Established") == sessions, "BGP")
        fast = re.compile(r"Up\s.*\s0\.100\s+0\.300")
        wait_until(lambda: len(fast.findall(self._told("bfd", "sessions"))) >= sessions, "BFD")

    def weights(self, ip: str) -> dict[str, int]:
        """Return the nodes over which the kernel sends to an IP, with their weights."""
        family = "-6" if ":" in ip else "-4"
        routes = self.host.ip_json(family, "route", "show", ip) or []
        hops = [hop for route in routes for hop in route.get("nexthops", [route])]
        return {self._node(hop["gateway"]): hop.get("weight", 1) for hop in hops}

    def next_hops(self, ip: str) -> set[str]:
        return set(self.weights(ip))

    def wait_next_hops(self, ip: str, *nodes: str) -> None:
        wait_until(lambda: self.next_hops(ip) == set(nodes), f"{ip} by {nodes}", poll_s=0.005)

    def dead_by_bfd(self) -> list[str]:
        """Return the sessions that BFD has ended, as node and IP version."""
        found = re.findall(r"(?m)^(\w+)_v(\d) .*BFD session down$", self._told("protocols"))
        return sorted(f"{node} v{version}" for node, version in found)

    def _told(self, *what: str) -> str:
        return bird.told(self.host, "show", *what)

    def _node(self, address: str) -> str:
        return next(name for name, n in self._nodes.items() if address in (n.ip, n.ip6))

    def _configuration(self, number: int, table: str) -> str:
        sessions = [
            _SESSION.format(
                name=name,
                version=ip_address(address).version,
                neighbour=address,
                router_as=ROUTER_AS,
                node_as=NODE_AS,
            )
            for name, node in self._nodes.items()
            for address in (node.ip, node.ip6)
        ]
        return _CONFIGURATION.format(
            router_id=lan_v4(number), table=table, sessions="".join(sessions)
        )

    def _living(self) -> str:
        v4, v6 = zip(*((node.ip, node.ip6) for node in self._nodes.values()), strict=True)
        return "".join(
            _LIVING.format(
                version=version,
                table=_TABLE_OF_LIVING,
                routes="\n    ".join(f"route {ip}/{bits} via {ip} bfd;" for ip in addresses),
            )
            for version, bits, addresses in ((4, 32, v4), (6, 128, v6))
        )
