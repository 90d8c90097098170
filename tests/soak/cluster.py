"""The cluster that suffers: five nodes, three schedulers, services that stay or go."""

import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from tests.lab.api import GROUP, MERGE_PATCH
from tests.lab.api_proxy import ApiProxy
from tests.lab.cluster import Lab
from tests.lab.errors import LabError
from tests.lab.extip import Extip
from tests.lab.node import Node
from tests.lab.objects import BACKEND_PORT
from tests.lab.wait import wait_until
from tests.lab.wall_clock import WallClock
from tests.soak.policy import plan
from tests.soak.policy.state import Service, State, by_ip
from tests.system.claims_cluster import ClaimsCluster

NAMESPACE = "soak"
POOL = "soak"
SERVICES = f"/api/v1/namespaces/{NAMESPACE}/services"
PODS = f"/api/v1/namespaces/{NAMESPACE}/pods"
_TERMS = ("leadership_acquired", "leadership_lost")
_ALONE_S = 6.0
"""Longer than any report to a claim is put off."""

_SINGLE = {"ipFamilyPolicy": "SingleStack", "ipFamilies": ["IPv4"]}


class SoakCluster(ClaimsCluster):
    """Programs by name, started again as often as it takes; their logs stay."""

    def __init__(self, lab: Lab, proxy: ApiProxy) -> None:
        super().__init__(lab, NAMESPACE)
        self.kubeconfig: Path = proxy.kubeconfig
        self.proxy = proxy
        self.scheduler_flags += ("--rebalance-after=10s",)
        self.running: dict[str, Extip] = {}
        """By name: controllers as their nodes, schedulers."""
        self.started: list[tuple[str, Extip]] = []
        """All that ever ran."""
        self.clocks: dict[str, WallClock] = {}
        self.ended_by_us: set[int] = set()

    # Programs.

    def start_all(self) -> None:
        """Start every program; returns when IPs are up and answer."""
        for name in plan.SCHEDULERS:
            self.start_one(name)
        for name in plan.NODES:
            self.start_one(name)
        for name in plan.NODES:
            self.running[name].wait_for_event("heartbeat_started")

    def start_one(self, name: str) -> None:
        """Start a controller or a scheduler by its name."""
        clock = self.clocks.setdefault(name, WallClock(self.lab.anchor.directory))
        if name in self.lab.nodes:
            one = self.start_controller(name, env=clock.env)
        else:
            host = self.lab.nodes.get(plan.ON_NODES.get(name, ""), self.lab.switch)
            one = self.start_scheduler(host=host, env=clock.env)
        self.running[name] = one
        self.started.append((name, one))

    def end_one(self, name: str, *, orderly: bool) -> None:
        """End a program at once, or in order."""
        one = self.running[name].process
        self.ended_by_us.add(one.pid)
        if orderly:
            one.terminate()
        else:
            one.kill()
            one.wait()

    def ended_alone(self) -> list[str]:
        """Return the programs that ended though nobody told them to."""
        return [
            f"{name} ended with status {one.process.status}: {one.process.tail(3)}"
            for name, one in self.started
            if not one.process.running and one.process.pid not in self.ended_by_us
        ]

    def on_node(self, node: str) -> list[str]:
        """Return the programs that run on a node."""
        return [node, *(name for name, host in plan.ON_NODES.items() if host == node)]

    def leads(self, name: str) -> bool:
        """Whether this is a scheduler that leads, as far as it knows."""
        one = self.running.get(name)
        if one is None or name in self.lab.nodes or not one.process.running:
            return False
        terms = [e["event"] for e in one.events() if e["event"] in _TERMS]
        return terms[-1:] == ["leadership_acquired"]

    def each_node(self, act: Callable[[Node], None]) -> None:
        """Do the same to each node, one right after the other."""
        for node in self.lab.nodes.values():
            act(node)

    # Services and pods.

    def furnish(self) -> None:
        """Make the pool, the pods, and the services that stay."""
        self.lab.create_namespace(NAMESPACE)
        self.lab.add_backends(NAMESPACE, [plan.HOME])
        for node in plan.NODES:
            self.lab.api.ensure(PODS, self._local_pod(node))
        pool = {
            "apiVersion": "ipcontroller.ext/v1",
            "kind": "IpClaimPool",
            "metadata": {"name": POOL},
            "spec": {"cidr": "10.88.4.0/24", "ranges": [[plan.POOLED[0], plan.POOLED[-1]]]},
        }
        self.lab.api.ensure(f"{GROUP}/ipclaimpools", pool)
        self._alien("add")
        for name, ips in plan.SERVICES.items():
            self.lab.add_service(name, ips, namespace=NAMESPACE)
        for number, ip in enumerate(plan.LOCAL):
            self._add_local(f"local-{number}", ip)

    def _alien(self, verb: str) -> None:
        """Add or delete an address that is nobody's business: a person put it there."""
        home = self.lab.nodes[plan.HOME]
        home.run(["ip", "addr", verb, f"{plan.ALIEN}/32", "dev", "eth0"])

    def take_alien(self) -> bool:
        """Delete the address that a person put on a node; False: it is gone."""
        addresses = self.lab.nodes[plan.HOME].addresses("eth0")
        untouched = any(a.ip == plan.ALIEN and a.permanent for a in addresses)
        if untouched:
            self._alien("del")
        return untouched

    def _local_pod(self, node: str) -> dict[str, Any]:
        return {
            "metadata": {"name": f"local-{node}", "labels": {"app": "local", "node": node}},
            "spec": {
                "nodeName": node,
                "automountServiceAccountToken": False,
                "containers": [
                    {
                        "name": "http",
                        "image": "lab/backend",
                        "ports": [{"containerPort": BACKEND_PORT}],
                    }
                ],
            },
        }

    def _add_local(self, name: str, ip: str) -> None:
        """Make a service whose traffic stays on the node that gets it."""
        spec = {"type": "LoadBalancer", "externalTrafficPolicy": "Local"}
        self.lab.add_service(
            name,
            namespace=NAMESPACE,
            spec={**_SINGLE, **spec, "selector": {"app": "local"}},
            metadata={"annotations": {"ipcontroller.ext/addresses": ip}},
        )

    def add_balanced(self, name: str) -> None:
        """Make a service that gets an address of the pool."""
        spec = {**_SINGLE, "type": "LoadBalancer"}
        self.lab.add_service(name, namespace=NAMESPACE, spec=spec)

    def set_ready(self, node: str, *, ready: bool) -> None:
        """Let a local pod say that it is ready, or not."""
        annotations = {"lab/ready": None if ready else "false"}
        self.merge(f"{PODS}/local-{node}", {"metadata": {"annotations": annotations}})

    def set_pool_end(self, last: str) -> None:
        """Make the pool smaller or larger."""
        spec = {"ranges": [[plan.POOLED[0], last]]}
        self.merge(f"{GROUP}/ipclaimpools/{POOL}", {"spec": spec})

    def merge(self, path: str, patch: dict[str, Any]) -> None:
        self.lab.api.request("PATCH", path, patch, content_type=MERGE_PATCH)

    # Looking.

    def services(self) -> list[Service]:
        """Return all services with their IPs."""
        return [
            Service(
                name=item["metadata"]["name"],
                uid=item["metadata"]["uid"],
                ips=(*item["spec"].get("externalIPs", []), *_ingress(item)),
            )
            for item in self.lab.api.get(SERVICES)["items"]
        ]

    def state(self) -> State:
        """Look at all that says where IPs are."""
        services = self.services()
        pool = self.lab.api.get(f"{GROUP}/ipclaimpools/{POOL}")
        return State(
            wanted=by_ip(services),
            waiting={service.name for service in services if not service.ips},
            claimed=self.placed(),
            up=self.up(),
            allocated=set(pool.get("status", {}).get("allocated", {})),
            pool=set(plan.POOLED),
            nodes=set(plan.NODES),
            shared=set(plan.STEADY[:1]),
        )

    def is_left_alone(self) -> bool:
        """Whether for some seconds nobody writes to what programs and people write to."""
        before = self._versions()
        time.sleep(_ALONE_S)
        return self._versions() == before

    def _versions(self) -> set[str]:
        paths = [SERVICES, *(f"{GROUP}/{kind}" for kind in ("ipclaims", "ipnodes", "ipclaimpools"))]
        return {
            item["metadata"]["resourceVersion"]
            for path in paths
            for item in self.lab.api.get(path)["items"]
        }

    def says_that_all_is_well(self) -> bool:
        """Ask `extip status`."""
        status = [sys.executable, "-m", "extip", "status", f"--kubeconfig={self.lab.kubeconfig}"]
        told = self.lab.switch.run(status, check=False)
        if told.returncode != 0:
            raise LabError(told.stdout + told.stderr)
        return True

    def wait_answers(self, ips: tuple[str, ...]) -> None:
        """Wait until all of these IPs answer the client."""
        for ip in ips:
            get = partial(self.lab.client.http_get, ip, timeout=0.5)
            wait_until(get, f"answer of {ip}")


def _ingress(item: dict[str, Any]) -> list[str]:
    return [way["ip"] for way in item["status"].get("loadBalancer", {}).get("ingress", [])]
