"""Nodes that speak BGP, by BIRD or FRR, with the configurations of the manifests."""

import re
from pathlib import Path
from typing import Any

from tests.lab.cluster import Lab
from tests.lab.network import ROUTER, lan_v4, lan_v6
from tests.lab.node import Node
from tests.system import bird, frr
from tests.system.ecmp_router import NODE_AS, ROUTER_AS, SECOND_ROUTER

NODE_CONFIGURATION = Path(__file__).parents[2] / "manifests/ecmp/bird.conf"
POOL_V4, POOL_V6 = "10.77.0.0/24", "fd00:77::/64"


class Bgp:
    """Runs `daemon` ("bird" or "frr") on all nodes of a lab."""

    def __init__(self, lab: Lab, daemon: str) -> None:
        self._daemon = daemon
        for node in lab.nodes.values():
            self.start(node)

    def start(self, node: Node) -> None:
        """Start the daemon of a node, also after it has died."""
        if self._daemon == "frr":
            values = frr.node_configuration(node.ip, pool_v4=POOL_V4, pool_v6=POOL_V6)
            frr.start(node, values)
        else:
            bird.start(node, _node_configuration(node.ip))

    def leave(self, node: Node, *, leaving: bool = True) -> None:
        """Have routers prefer other nodes, as docs/ecmp.md says it."""
        if self._daemon == "frr":
            frr.leave(node, leaving=leaving)
            return
        text = _node_configuration(node.ip)
        if leaving:
            text = text.replace("define LEAVING = false;", "define LEAVING = true;")
        bird.configure(node, text)


def _node_configuration(ip: str) -> str:
    """Return the shipped configuration with the values of a node."""
    values: dict[str, Any] = {
        "NODE_AS": NODE_AS,
        "ROUTER_AS": ROUTER_AS,
        "ROUTER_1": lan_v4(ROUTER),
        "ROUTER_2": lan_v4(SECOND_ROUTER),
        "ROUTER_1_V6": lan_v6(ROUTER),
        "ROUTER_2_V6": lan_v6(SECOND_ROUTER),
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
