"""FRR on a node: its daemons in the node's network, with the configuration of the manifests."""

import os
import re
from pathlib import Path

from tests.lab.daemon import Daemon
from tests.lab.host import Host
from tests.lab.network import ROUTER, lan_v4, lan_v6
from tests.system.ecmp_router import SECOND_ROUTER

_CONFIGURATION = Path(__file__).parents[2] / "manifests/ecmp/frr.conf"
_PROGRAMS = "/usr/lib/frr"
_DAEMONS = ("zebra", "bgpd", "bfdd")
_FOLDER = "/run/frr"
"""Of sockets and pid files; it is the host's own, as all of its /run."""

_TEMPORARY = "/var/tmp"  # noqa: S108 - the host gets one of its own


def start(host: Host, configuration: str) -> None:
    """Start FRR as its service does: the daemons first, then one vtysh reads all of frr.conf."""
    folder = f"{_FOLDER}/{host.name}"
    path = f"{folder}/frr.conf"
    host.write_file(path, configuration)
    # Each daemon makes a folder there, which stays when it is killed.
    host.run(["mount", "-t", "tmpfs", "-o", "mode=1777", "tmpfs", _TEMPORARY])
    host.run(["chown", "-R", "frr:frr", _FOLDER])  # the user that they change to
    for name in _DAEMONS:
        program = f"{_PROGRAMS}/{name}"
        argv = [program, "-N", host.name, "-f", os.devnull, "-P", "0", "--log", "stdout"]
        daemon = Daemon(host, name, argv, ready=host.outside(f"{folder}/{name}.vty").exists)
        daemon.launch()
        daemon.wait_ready()
    host.run(["vtysh", "-N", host.name, "-f", path])


def leave(host: Host, *, leaving: bool) -> None:
    """Have routers prefer other nodes."""
    command = "bgp graceful-shutdown" if leaving else "no bgp graceful-shutdown"
    lines = ["configure terminal", "router bgp 65010", command]
    host.run(["vtysh", "-N", host.name, *(word for line in lines for word in ("-c", line))])


def node_configuration(ip: str, *, pool_v4: str, pool_v6: str) -> str:
    """Return the shipped configuration with the values of a node."""
    values = {
        "192.0.2.11": ip,
        "192.0.2.1": lan_v4(ROUTER),
        "192.0.2.2": lan_v4(SECOND_ROUTER),
        "2001:db8::1": lan_v6(ROUTER),
        "2001:db8::2": lan_v6(SECOND_ROUTER),
        "198.51.100.0/24": pool_v4,
        "2001:db8:100::/64": pool_v6,
    }
    text = re.sub(r"(?m)^\s*!.*\n", "", _CONFIGURATION.read_text())
    for name, value in values.items():
        text, count = re.subn(rf"(?<=\s){re.escape(name)}(?=\s)", value, text)
        assert count == 1, name
    return text
