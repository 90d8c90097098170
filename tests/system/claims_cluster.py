"""Claims mode on a lab: controllers on the nodes, schedulers beside the API server or elsewhere."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from tests.lab.api import GROUP
from tests.lab.cluster import Lab
from tests.lab.extip import MARK, Extip
from tests.lab.host import Host
from tests.lab.wait import PATIENCE_S, wait_until

IPS = [f"10.88.3.{n}" for n in range(1, 7)]
MONITOR_S = 3.0
TTL_S = 6
CONTROLLER = ("--hb=400ms", f"--address-ttl={TTL_S}s")
SCHEDULER = (
    f"--monitor={MONITOR_S:g}s",
    "--leader-elect-lease-duration=6s",
    "--leader-elect-renew-deadline=4s",
    "--leader-elect-retry-period=500ms",
)
"""Quicker than the defaults, so that a test need not wait for long, and slow enough for a loaded
machine: who stands still for two seconds loses neither IPs nor the lead."""


WITHOUT_A_GAP = ("--hb=1s",)
"""For controllers that are to hand over: who has not been heard for two heartbeats makes way at
once, since it may have been replaced."""


class ClaimsCluster:
    """Starts and ends extip's programs, tells where IPs are."""

    def __init__(self, lab: Lab, namespace: str) -> None:
        self.lab = lab
        self.namespace = namespace
        self.controllers: dict[str, Extip] = {}
        self.schedulers: list[Extip] = []
        self.kubeconfig = lab.kubeconfig
        """Of the programs started from now on."""
        self.controller_flags: tuple[str, ...] = CONTROLLER
        self.scheduler_flags: tuple[str, ...] = SCHEDULER

    def install(self) -> None:
        """Make extip's kinds known to the API server."""
        self.lab.install_definitions()

    def start(self) -> None:
        """Start a controller on each node and one scheduler; returns when all may be given IPs."""
        scheduler = self.start_scheduler()
        self.start_controllers()
        self.wait_alive(scheduler)
        self.wait_ready()

    def start_controllers(self) -> None:
        """Start one on each node; returns when all have told of their nodes."""
        for name in self.lab.nodes:
            self.start_controller(name)
        for controller in self.controllers.values():
            controller.wait_for_event("heartbeat_started")
        wait_until(self._registered, "every controller to have told of its node")

    def _registered(self) -> bool:
        items = self.lab.api.get(f"{GROUP}/ipnodes")["items"]
        told = {item["metadata"]["name"] for item in items if item.get("status", {}).get("links")}
        return told >= set(self.controllers)

    def start_controller(
        self, name: str, *flags: str, env: Mapping[str, str] | None = None
    ) -> Extip:
        self.controllers[name] = Extip(
            self.lab.nodes[name],
            "controller",
            *self.controller_flags,
            *flags,
            kubeconfig=self.kubeconfig,
            env={"EXTIP_CONTROLLER_HOSTNAME": name, **(env or {})},
        )
        return self.controllers[name]

    def start_scheduler(
        self, *flags: str, host: Host | None = None, env: Mapping[str, str] | None = None
    ) -> Extip:
        """Start one more; it takes part in the election."""
        number = len(self.schedulers)
        scheduler = Extip(
            host or self.lab.switch,
            "scheduler",
            "--leader-elect",
            f"--http=127.0.0.1:{9200 + number}",
            *self.scheduler_flags,
            *flags,
            kubeconfig=self.kubeconfig,
            env=env,
        )
        scheduler.port = 9200 + number
        self.schedulers.append(scheduler)
        return scheduler

    def wait_neighbours(self, *nodes: str, link: str = "eth0") -> None:
        """Wait until a neighbour has answered each of these nodes there (default: all)."""
        for name in nodes or tuple(self.controllers):
            known = partial(self.controllers[name].metric, "extip_link_neighbours", link=link)
            wait_until(known, f"a neighbour of {name} on {link}")

    def wait_ready(self) -> None:
        """Wait until all controllers have told that their nodes can hold IPs."""
        wait_until(
            lambda: all(self.readiness(name) == "LinkUp" for name in self.controllers),
            "all nodes to be ready",
        )

    def readiness(self, name: str) -> str:
        """Return the reason of a node's LinkReady; empty before its controller told of it."""
        items = self.lab.api.get(f"{GROUP}/ipnodes")["items"]
        node: dict[str, Any] = next((i for i in items if i["metadata"]["name"] == name), {})
        conditions = node.get("status", {}).get("conditions", [])
        return next((c["reason"] for c in conditions if c["type"] == "LinkReady"), "")

    def wait_alive(self, scheduler: Extip, *nodes: str) -> None:
        """Wait until a scheduler takes these nodes (default: all with a controller) for alive."""

        def alive() -> bool:
            events = scheduler.events("node_liveness_changed")
            last = {event["node"]: event["state"] for event in events}
            return all(last.get(node) == "alive" for node in nodes or self.controllers)

        try:
            wait_until(alive, f"{nodes or 'all nodes'} to be alive")
        except Exception as error:
            raise AssertionError(f"{error}\n{scheduler.process.tail(50)}") from error

    def end(self) -> None:
        """Kill all programs."""
        for started in [*self.schedulers, *self.controllers.values()]:
            started.process.kill()
            started.process.wait()

    def clean_up(self) -> None:
        """Delete what the programs wrote."""
        self.lab.discard_claims()

    def claims(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.lab.api.get(f"{GROUP}/ipclaims")["items"]
        return found

    def placed(self) -> dict[str, str]:
        """Return the node of each IP as the claims have it."""
        return {
            c["spec"]["cidr"].split("/")[0]: c["spec"].get("nodeName", "") for c in self.claims()
        }

    def up(self) -> dict[str, set[str]]:
        """Return the nodes that have each IP on their interface."""
        found: dict[str, set[str]] = {}
        for name, node in self.lab.nodes.items():
            for address in node.addresses("eth0"):
                if address.proto == MARK:
                    found.setdefault(address.ip, set()).add(name)
        return found

    def address_changes(self) -> list[str]:
        """Tell in words what controllers that run have added and deleted so far.

        Their logs may be a moment behind the kernel: what is up must be in them, so controllers
        must be those that brought it up.
        """
        up = {f"{node}: address_added {ip}" for ip, nodes in self.up().items() for node in nodes}
        wait_until(
            lambda: up <= {change.split("/")[0] for change in self._logged_changes()},
            "all that is up to be logged",
        )
        return self._logged_changes()

    def _logged_changes(self) -> list[str]:
        return [
            f"{name}: {event['event']} {event['address']}"
            for name, controller in self.controllers.items()
            for event in controller.events()
            if event["event"] in ("address_added", "address_deleted")
        ]

    def settled(self, *ips: str) -> bool:
        """Whether exactly these IPs are up, each on the one node of its claim."""
        placed = self.placed()  # once: a claim that came in between would not be looked for
        return set(placed) == set(ips) and self.up() == {ip: {node} for ip, node in placed.items()}

    def wait_settled(self, *ips: str, timeout: float = PATIENCE_S) -> None:
        try:
            wait_until(partial(self.settled, *ips), f"{len(ips)} IPs settled", timeout=timeout)
        except Exception as error:
            raise AssertionError(
                f"{error}; placed {self.placed()}, up {self.up()}\n{self.logs()}"
            ) from error

    def serve(self, *ips: str) -> None:
        """Make a service that asks for IPs; returns when they are up and answer."""
        self.lab.add_service("web", ips, namespace=self.namespace)
        self.wait_settled(*ips)
        for ip in ips:
            self.lab.wait_for_http(ip)

    def logs(self) -> str:
        """Return what all programs said last."""
        started = [*self.schedulers, *self.controllers.values()]
        return "\n".join(one.process.tail(40) for one in started)
