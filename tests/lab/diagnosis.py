"""What a failed wait for traffic shows: which part of the cluster has not done its work."""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from tests.lab.daemon import Daemon
from tests.lab.errors import LabError

if TYPE_CHECKING:
    from tests.lab.cluster import Lab
    from tests.lab.node import Node

_OBJECTS = "nodes,services,endpointslices,pods"


def why_no_answer(lab: "Lab", ip: str) -> str:
    """Tell what the cluster knows of its services, and what each node's kube-proxy made of an IP.

    A part that cannot be had is replaced by the reason.
    """
    parts: list[Callable[[], str]] = [
        partial(lab.kubectl, "get", _OBJECTS, "--all-namespaces", "--output=wide"),
        partial(_log, lab.control_plane.controller_manager),
    ]
    for node in lab.nodes.values():
        parts += [partial(_rules, node, ip)]
        parts += [partial(_log, daemon) for daemon in (node.kube_proxy, node.kubelet)]
    return "\n".join(_told(part) for part in parts)


def _told(part: Callable[[], str]) -> str:
    try:
        return part()
    except (OSError, LabError) as error:
        return f"not to be had: {error}"


def _rules(node: "Node", ip: str) -> str:
    """Return a node's addresses, listeners and kube-proxy's rules, of all only those of the IP."""
    family = "ip6tables-save" if ":" in ip else "iptables-save"
    commands = (["ip", "-oneline", "address"], ["ss", "-Hlntp"], [family])
    written = "".join(node.run(command).stdout for command in commands)
    found = [line for line in written.splitlines() if ip in line]
    return "\n".join([f"{node.name}, what it has of {ip}:", *found])


def _log(daemon: Daemon) -> str:
    state = "runs" if daemon.running else "ended"
    return f"{daemon.name} {state}:\n{daemon.process.tail(20)}"
