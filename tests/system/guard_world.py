"""extip in one of its modes on a lab, and what it refuses there."""

import json

from tests.lab.api import GROUP
from tests.lab.cluster import Lab
from tests.lab.extip import Extip
from tests.lab.wait import wait_until
from tests.system.claims_cluster import ClaimsCluster

MODES = ("simple", "claims")


class World:
    """extip in one of its modes on a lab; in simple mode it runs on n1."""

    def __init__(self, lab: Lab, mode: str, namespace: str) -> None:
        self.lab = lab
        self.namespace = namespace
        self._cluster = ClaimsCluster(lab, namespace) if mode == "claims" else None
        self._simple: Extip | None = None

    def start(self, *flags: str) -> Extip:
        """Start it; `flags` go to the program that reads services, and that is returned."""
        if self._cluster is None:
            self._simple = Extip(
                self.lab.nodes["n1"],
                "simple",
                "--resync=1s",
                *flags,
                kubeconfig=self.lab.kubeconfig,
            )
            return self._simple
        self._cluster.install()
        self._cluster.scheduler_flags += flags
        self._cluster.controller_flags += ("--resync=1s",)
        self._cluster.start_controllers()
        scheduler = self._cluster.start_scheduler()  # which begins with all that nodes have told
        self._cluster.wait_alive(scheduler)
        return scheduler

    def up(self) -> set[str]:
        """Return the external IPs that are up somewhere."""
        if self._cluster is not None:
            return set(self._cluster.up())
        assert self._simple is not None
        return {address.split("/")[0] for address in self._simple.addresses()}

    def wait_up(self, *ips: str) -> None:
        wait_until(lambda: self.up() == set(ips), f"{ips} to be up, and no other IP")

    def changes(self, event: str) -> list[str]:
        """Return the addresses that nodes' logs tell such an event of."""
        running = [self._simple] if self._cluster is None else self._cluster.controllers.values()
        return [said["address"] for one in running if one for said in one.events(event)]

    def claimed(self) -> set[str]:
        return set() if self._cluster is None else set(self._cluster.placed())

    def refused(self, service: str, namespace: str = "") -> dict[str, tuple[str, int]]:
        """Return reason and count of each IP that Events on the service tell of."""
        where = f"/api/v1/namespaces/{namespace or self.namespace}/events"
        return {
            item["message"].split()[0].strip(","): (item["reason"], item["count"])
            for item in self.lab.api.get(where)["items"]
            if item["source"].get("component") == "extip"
            if item["type"] == "Warning" and item["involvedObject"]["name"] == service
        }

    def told(self, service: str) -> set[tuple[str, str, int]]:
        """Return reason, message and count of the warnings on the service."""
        where = f"/api/v1/namespaces/{self.namespace}/events"
        return {
            (item["reason"], item["message"], item["count"])
            for item in self.lab.api.get(where)["items"]
            if item["type"] == "Warning" and item["involvedObject"]["name"] == service
        }

    def wait_refused(self, service: str, reasons: dict[str, str], namespace: str = "") -> None:
        expected = {ip: (reason, 1) for ip, reason in reasons.items()}
        wait_until(
            lambda: self.refused(service, namespace) == expected,
            f"Events on {service}: {expected}",
        )

    def add(self, name: str, *ips: str, namespace: str = "", **spec: object) -> None:
        self.lab.add_service(name, ips, namespace=namespace or self.namespace, spec=spec)

    def edit(self, name: str, *ips: str, namespace: str) -> None:
        patch = json.dumps({"spec": {"externalIPs": ips}})
        self.lab.kubectl("-n", namespace, "patch", "service", name, "--type=merge", "-p", patch)

    def move(self, ip: str) -> Extip:
        """Have another node take an IP, where there is another; return what has it up then."""
        if self._cluster is None:
            assert self._simple is not None
            return self._simple
        before = self._cluster.placed()[ip]
        self._drain(before, draining=True)
        # Nodes are read one after the other: on its way it may seem to be on none.
        up = self._cluster.up
        wait_until(lambda: up().get(ip, {before}).isdisjoint({before}), f"{ip} to leave {before}")
        (after,) = up()[ip]
        self._drain(before, draining=False)
        return self._cluster.controllers[after]

    def _drain(self, node: str, *, draining: bool) -> None:
        self.lab.api.request(
            "PATCH",
            f"{GROUP}/ipnodes/{node}",
            {"spec": {"draining": draining}},
            content_type="application/merge-patch+json",
        )

    def end(self) -> None:
        if self._simple is not None:
            assert self._simple.process.terminate() == 0
        if self._cluster is not None:
            self._cluster.end()
            self._cluster.clean_up()
