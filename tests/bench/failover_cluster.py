"""Controllers and a scheduler on a lab, as the figures of claims mode need them."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from extip.api.names import heartbeat_lease
from extip.uplink.policy.silence import WATCHED
from tests.lab.api import GROUP
from tests.lab.cluster import Lab
from tests.lab.extip import MARK, Extip
from tests.lab.wait import PATIENCE_S, wait_until

CLAIMS = f"{GROUP}/ipclaims"
NAMESPACE = "bench"


class ClaimsCluster:
    """Starts and ends extip's programs; answers where IPs are."""

    def __init__(
        self, lab: Lab, *, controller: Sequence[str] = (), scheduler: Sequence[str] = ()
    ) -> None:
        """Take the flags of all controllers and of all schedulers."""
        self.lab = lab
        self.controllers: dict[str, Extip] = {}
        self.schedulers: list[Extip] = []
        self._controller_flags = controller
        self._scheduler_flags = scheduler

    def start(self, *nodes: str) -> None:
        """Start a scheduler that leads, and a controller on each of the nodes."""
        self.lab.switch.run(["extip", "crds", "--apply", f"--kubeconfig={self.lab.kubeconfig}"])
        self.start_scheduler().wait_for_event("leadership_acquired")
        for node in nodes:
            self.start_controller(node)

    def start_scheduler(self) -> Extip:
        """Start one more."""
        flags = ["--leader-elect", "--http=", *self._scheduler_flags]
        scheduler = Extip(self.lab.switch, "scheduler", *flags, kubeconfig=self.lab.kubeconfig)
        self.schedulers.append(scheduler)
        return scheduler

    def start_controller(self, node: str) -> None:
        """Start one; returns when every scheduler that runs knows that it is alive."""
        schedulers = [s for s in self.schedulers if s.process.running]
        known = [(s, len(_alive(s, node))) for s in schedulers]
        flags = [f"--hostname={node}", *self._controller_flags]
        host = self.lab.nodes[node]
        self.controllers[node] = Extip(host, "controller", *flags, kubeconfig=self.lab.kubeconfig)
        self.controllers[node].wait_for_event("heartbeat_started")
        for scheduler, count in known:
            scheduler.wait_for_event(
                "node_liveness_changed", node=node, state="alive", count=count + 1
            )

    def wait_watched(self) -> None:
        """Wait until each node with a running controller is watched by the others."""
        running = [c for c in self.controllers.values() if c.process.running]
        watched = min(WATCHED, len(running) - 1)
        wait_until(
            lambda: all(c.metric("extip_link_watched") == watched for c in running),
            "all nodes to watch others",
            poll_s=0.2,
        )

    def wait_given_up(self, node: str) -> None:
        """Wait until no scheduler that runs takes a node whose controller ended for alive."""
        for scheduler in (s for s in self.schedulers if s.process.running):
            wait_until(
                partial(_is_given_up, scheduler, node), f"{node} to be given up", poll_s=0.05
            )

    def end(self) -> None:
        """Kill all programs."""
        for started in [*self.schedulers, *self.controllers.values()]:
            started.process.kill()
            started.process.wait()

    def stop(self) -> None:
        """End all programs and delete what they wrote."""
        self.end()
        for kind in ("ipclaims", "ipnodes"):
            self.lab.kubectl("delete", kind, "--all")
        self.lab.kubectl("-n", "kube-system", "delete", "lease", "--all")

    def placed(self) -> dict[str, str]:
        """Return the node of each IP, as the claims have it."""
        items: list[dict[str, Any]] = self.lab.api.get(CLAIMS)["items"]
        return {c["spec"]["cidr"].split("/")[0]: c["spec"].get("nodeName", "") for c in items}

    def up_on(self, node: str) -> set[str]:
        """Return extip's addresses on a node's interface."""
        found = self.lab.nodes[node].addresses("eth0")
        return {address.ip for address in found if address.proto == MARK}

    def versions(self) -> dict[str, str]:
        """Return the version of each claim, by name."""
        items = [claim["metadata"] for claim in self.lab.api.get(CLAIMS)["items"]]
        return {item["name"]: item["resourceVersion"] for item in items}

    def wait_quiet(self, timeout: float = PATIENCE_S) -> None:
        """Wait until claims are not written any more."""
        last: dict[str, str] = {}

        def same() -> bool:
            nonlocal last
            before, last = last, self.versions()
            return bool(before == last)

        wait_until(same, "claims to be left alone", timeout=timeout, poll_s=2.0)

    def wait_for_heartbeat(self, node: str) -> None:
        """Return right after the node's Lease was renewed."""
        path = f"/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/{heartbeat_lease(node)}"
        before = self.lab.api.get(path)["metadata"]["resourceVersion"]
        wait_until(
            lambda: self.lab.api.get(path)["metadata"]["resourceVersion"] != before,
            f"a heartbeat of {node}",
            poll_s=0.005,
        )

    def wait_settled(self, ips: Sequence[str], timeout: float = PATIENCE_S) -> dict[str, str]:
        """Wait until each of the IPs is up on the one node of its claim; return the nodes."""

        def settled() -> dict[str, str] | None:
            placed = self.placed()
            if set(placed) != set(ips):
                return None
            for node in self.lab.nodes:
                if self.up_on(node) != {ip for ip, where in placed.items() if where == node}:
                    return None
            return placed

        return wait_until(
            settled,
            f"{len(ips)} IPs to be up where they are claimed",
            timeout=timeout,
            poll_s=max(0.05, len(ips) / 5000),  # the server reads all claims for each look
        )


def _is_given_up(scheduler: Extip, node: str) -> bool:
    events = scheduler.events("node_liveness_changed", node=node)
    return bool(events) and events[-1]["state"] != "alive"


def _alive(scheduler: Extip, node: str) -> list[dict[str, Any]]:
    return scheduler.events("node_liveness_changed", node=node, state="alive")
