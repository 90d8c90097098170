"""Act two, claims mode: a controller on each of three nodes, a scheduler, and a node that dies."""

import textwrap
import time
from collections import Counter
from functools import partial
from typing import Any

from tests.demo.stage import Stage
from tests.lab.api import GROUP
from tests.lab.cluster import Lab
from tests.lab.extip import MARK, Extip
from tests.lab.probe import Probe

IPS = tuple(f"10.88.2.{n}" for n in range(1, 7))
FAST = ("--hb=500ms", "--address-ttl=3s")
SCHEDULER = ("--leader-elect", "--monitor=1s", "--rebalance-after=3s", "--http=")


def play(stage: Stage, lab: Lab) -> None:
    """Show IPs being spread, moved and handed over."""
    stage.title(f"extip controller {' '.join(FAST)} on n1, n2, n3; extip scheduler --monitor 1s")
    controllers = {name: controller(lab, name) for name in lab.nodes}
    scheduler = Extip(lab.switch, "scheduler", *SCHEDULER, kubeconfig=lab.kubeconfig)
    stage.wait("controllers are alive", partial(all_alive, scheduler, len(lab.nodes)), "n1, n2, n3")

    stage.title(f"A service asks for six IPs: {IPS[0]} ... {IPS[-1]}")
    lab.add_service("web", IPS)
    stage.wait("all six are up, two on each node", partial(evenly_up, lab, 3))
    for ip in IPS:
        lab.wait_for_http(ip)
    stage.say(table(lab))
    node_dies(stage, lab)

    stage.title("Node n2 comes back; once it has been steady for 3 s it gets its share again")
    lab.nodes["n2"].revive()
    controllers["n2"] = controller(lab, "n2")
    stage.wait("two IPs on each node again", partial(evenly_up, lab, 3))
    node_is_drained(stage, lab, controllers["n1"])
    stage.say(table(lab))

    stage.title("The service is deleted, everything is stopped in order")
    lab.delete_service("web")
    stage.wait("no claim is left", lambda: not placed(lab), "none")
    for process in (controllers["n2"], controllers["n3"], scheduler):
        status = process.process.terminate()
        stage.show(f"{process.process.name}: exit status 0", status == 0, str(status))


def node_dies(stage: Stage, lab: Lab) -> None:
    """Show what clients see when a node is gone."""
    stage.title("Node n2 dies: all of its processes, and its cable")
    lost = [ip for ip, node in placed(lab).items() if node == "n2"]
    with lab.probe(IPS) as probe:
        lab.nodes["n2"].die()
        stage.wait("its claims have other nodes", partial(has_left, lab, "n2"), "n1, n3")
        stage.wait("all six answer again", partial(all_answered, probe, time.monotonic()), "client")
    for ip in lost:
        outage_ms = 1000 * probe.longest_outage_s(ip)
        stage.row(f"{ip} did not answer for", f"{outage_ms:7.0f} ms", "seen by a client")


def node_is_drained(stage: Stage, lab: Lab, leaving: Extip) -> None:
    """Show that an ordered stop leaves no gap."""
    stage.title("Node n1 is drained: its controller is stopped in order (SIGTERM)")
    with lab.probe(IPS) as probe:
        status = leaving.process.terminate()
        stage.wait("all six are up elsewhere", partial(evenly_up, lab, 2))
        stage.wait("all six answer", partial(all_answered, probe, time.monotonic()), "client")
    stage.show("exit status 0", status == 0, str(status))
    longest_ms = 1000 * max(probe.longest_outage_s(ip) for ip in IPS)
    stage.row("longest outage of any IP", f"{longest_ms:7.0f} ms", "seen by a client")


def all_alive(scheduler: Extip, count: int) -> bool:
    """Return whether the scheduler knows that many controllers to be alive."""
    return len(scheduler.events("node_liveness_changed", state="alive")) >= count


def controller(lab: Lab, name: str) -> Extip:
    """Start the controller of a node."""
    return Extip(lab.nodes[name], "controller", *FAST, kubeconfig=lab.kubeconfig)


def placed(lab: Lab) -> dict[str, str]:
    """Return the node of each IP, as the claims have it."""
    return {
        item["spec"]["cidr"].split("/")[0]: item["spec"].get("nodeName", "")
        for item in items(lab, "ipclaims")
    }


def items(lab: Lab, plural: str) -> list[dict[str, Any]]:
    """Return all objects of one of extip's kinds."""
    found: list[dict[str, Any]] = lab.api.get(f"{GROUP}/{plural}")["items"]
    return found


def up(lab: Lab) -> dict[str, list[str]]:
    """Return the nodes that have each IP on their interface."""
    found: dict[str, list[str]] = {}
    for name, node in lab.nodes.items():
        for address in node.addresses("eth0"):
            if address.proto == MARK:
                found.setdefault(address.ip, []).append(name)
    return found


def evenly_up(lab: Lab, count: int) -> str:
    """Return the spread when every IP is up once, on `count` nodes evenly; else nothing."""
    nodes_of = up(lab)
    if set(nodes_of) != set(IPS) or any(len(nodes) != 1 for nodes in nodes_of.values()):
        return ""
    spread = Counter(nodes[0] for nodes in nodes_of.values())
    if len(spread) != count or max(spread.values()) - min(spread.values()) > 1:
        return ""
    return ", ".join(f"{node}: {number}" for node, number in sorted(spread.items()))


def has_left(lab: Lab, node: str) -> bool:
    """Return whether no claim is with the node any more."""
    return node not in placed(lab).values()


def all_answered(probe: Probe, since_s: float) -> bool:
    """Return whether every IP answered a question asked after that time."""
    return all(
        any(answer.node and answer.sent_s > since_s for answer in probe.answers_of(ip)[-50:])
        for ip in IPS
    )


def table(lab: Lab) -> str:
    """Return what `kubectl get ipclaims` shows."""
    return "\n" + textwrap.indent(lab.kubectl("get", "ipclaims"), "   ").rstrip()
