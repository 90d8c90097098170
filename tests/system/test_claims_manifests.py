"""Claims mode lives on what its pods get: under both ServiceAccounts, as the manifests confine it.

Controllers on three nodes, two schedulers beside the API server. Each test goes through what makes
them send other requests: claims and moves, drain, election, pools, refusals.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.lab.api import GROUP
from tests.lab.cluster import Lab
from tests.lab.objects import BACKEND_PORT
from tests.lab.probe import HICCUP_S
from tests.lab.process import Process
from tests.lab.wait import wait_until
from tests.meta.manifests import Workload
from tests.meta.pages import README, blocks
from tests.system import pods
from tests.system.claims_cluster import IPS, ClaimsCluster
from tests.system.pods import DENIED, HTTP_PORT, denied_nothing, serves

NET_ADMIN_AND_RAW = 1 << 12 | 1 << 13  # linux/capability.h
POOL = {
    "apiVersion": "ipcontroller.ext/v1",
    "kind": "IpClaimPool",
    "metadata": {"name": "test-manifests"},
    "spec": {"cidr": "10.88.5.0/29"},
}
REFUSED, REASON = "10.88.255.255", "BroadcastAddress"  # of the nodes' own network
SINGLE = {"ipFamilyPolicy": "SingleStack", "ipFamilies": ["IPv4"]}


class Installation(ClaimsCluster):
    """What `kubectl apply -k manifests/claims` brings up."""

    def __init__(self, lab: Lab, namespace: str, workloads: dict[str, Workload]) -> None:
        super().__init__(lab, namespace)
        self.workloads = workloads
        self.ports: dict[str, int] = {}
        self.pods: dict[str, Process] = {}

    def start(self) -> None:
        for name in self.lab.nodes:
            self.start_controller_pod(name)
        for number in range(self.workloads["scheduler"].manifest["spec"]["replicas"]):
            self.start_scheduler_pod(f"scheduler-{number}", HTTP_PORT + number)
        wait_until(lambda: all(map(self.is_ready, self.pods)), "all pods to be ready")

    def start_controller_pod(self, node: str) -> None:
        host = self.lab.nodes[node]
        self.pods[node] = pods.start(self.lab, host, self.workloads["controller"])
        self.ports[node] = HTTP_PORT

    def start_scheduler_pod(self, name: str, port: int) -> None:
        """Start one; here they share an address, so each needs a port of its own."""
        flags = [f"--http=:{port}"] if port != HTTP_PORT else []
        workload = self.workloads["scheduler"]
        self.pods[name] = pods.start(self.lab, self.lab.switch, workload, *flags)
        self.ports[name] = port

    def is_ready(self, name: str) -> bool:
        workload = self.workloads["scheduler" if name.startswith("scheduler") else "controller"]
        host = self.lab.nodes.get(name, self.lab.switch)
        # The kubelet asks a pod that is not on the host's network by its own address.
        ip = "" if name in self.lab.nodes else "127.0.0.1"
        probes = ("livenessProbe", "readinessProbe")
        return all(serves(host, workload, p, port=self.ports[name], ip=ip) == "ok" for p in probes)

    def leading(self) -> str:
        """Return the scheduler that leads, of those that run."""

        def leader() -> str | None:
            holders = [
                name
                for name, pod in self.pods.items()
                if pod.running and '"leadership_acquired"' in pod.output()
            ]
            return holders[0] if holders else None

        return wait_until(leader, "a scheduler to lead")

    def denials(self) -> list[str]:
        """Return what was denied, of all that was asked for until now and at the pods' ends."""
        said = [
            f"{name}: {pod.tail()}" for name, pod in self.pods.items() if DENIED in pod.output()
        ]
        running = {name for name, pod in self.pods.items() if pod.running}
        said += [
            f"{name}: see its metrics"
            for name in running
            if not denied_nothing(self.lab.nodes.get(name, self.lab.switch), port=self.ports[name])
        ]
        return said

    def errors(self) -> list[str]:
        lines = [line for pod in self.pods.values() for line in pod.lines().splitlines()]
        return [line for line in lines if json.loads(line)["level"] == "error"]


@pytest.fixture
def installation(lab: Lab, namespace: str) -> Iterator[Installation]:
    """Install claims mode and start its pods; nothing of it is left but the definitions."""
    with pods.installed(lab, "claims") as workloads:
        made = Installation(lab, namespace, workloads)
        try:
            made.start()
            yield made
        finally:
            for pod in made.pods.values():
                pod.kill()
                pod.wait()
            for host in (*lab.nodes.values(), lab.switch):
                host.run(["rm", "-rf", "/run/secrets"])
            lab.discard_claims()


def events(lab: Lab, namespace: str) -> set[tuple[str, str]]:
    """Return object and reason of the Events in a namespace."""
    items = lab.api.get(f"/api/v1/namespaces/{namespace}/events")["items"]
    return {(item["involvedObject"]["name"], item["reason"]) for item in items}


def capabilities(pod: Process) -> int:
    return int(words(pod)["CapEff"], 16)


def words(pod: Process) -> dict[str, str]:
    """Return what the kernel says of a process."""
    status = Path(f"/proc/{pod.pid}/status").read_text()
    return dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)


def test_ips_come_up_and_a_drain_has_no_gap(installation: Installation, lab: Lab) -> None:
    lab.add_service("web", IPS, namespace=installation.namespace)
    installation.wait_settled(*IPS)
    for ip in IPS:
        lab.wait_for_http(ip)
    for name in lab.nodes:
        assert capabilities(installation.pods[name]) == NET_ADMIN_AND_RAW
    assert words(installation.pods["scheduler-0"])["Uid"].split() == ["65532"] * 4
    assert installation.denials() == []

    with lab.probe(IPS) as probe:
        assert installation.pods["n1"].terminate() == 0
        installation.wait_settled(*IPS)
    assert "n1" not in installation.placed().values()
    assert max(probe.longest_outage_s(ip) for ip in IPS) < HICCUP_S

    installation.start_controller_pod("n1")  # its IpNode and its Lease are there already
    wait_until(lambda: installation.is_ready("n1"), "the controller to be back")
    lab.delete_service("web", namespace=installation.namespace)
    installation.wait_settled()
    assert installation.denials() == []
    assert installation.errors() == []


def test_leases_are_in_the_namespace_of_the_pods(installation: Installation, lab: Lab) -> None:
    space = installation.workloads["controller"].namespace
    leases = lab.api.get(f"/apis/coordination.k8s.io/v1/namespaces/{space}/leases")["items"]
    labelled = {lease["metadata"].get("labels", {}).get("ipnode") for lease in leases}
    assert labelled >= set(lab.nodes)
    assert "extip-scheduler" in {lease["metadata"]["name"] for lease in leases}


def test_the_standby_leads_when_the_leader_leaves(installation: Installation, lab: Lab) -> None:
    lab.add_service("web", IPS[:3], namespace=installation.namespace)
    installation.wait_settled(*IPS[:3])
    leader = installation.leading()
    assert installation.pods[leader].terminate() == 0
    del installation.pods[leader]
    assert installation.leading() != leader
    lab.add_service("more", IPS[3:], namespace=installation.namespace, port=81)
    installation.wait_settled(*IPS)
    assert installation.denials() == []
    assert installation.errors() == []


def test_pools_and_refusals_are_written_where_they_belong(
    installation: Installation, lab: Lab
) -> None:
    """Services, their status, the status of pools, and Events."""
    namespace = installation.namespace
    lab.apply(POOL)
    lab.add_service("balanced", namespace=namespace, spec={"type": "LoadBalancer", **SINGLE})
    automatic = {"annotations": {"external-ip": "auto"}}
    lab.add_service("automatic", namespace=namespace, port=81, spec=SINGLE, metadata=automatic)
    lab.add_service("unfit", [REFUSED], namespace=namespace, port=82)

    def given() -> list[str]:
        path = f"/api/v1/namespaces/{namespace}/services"
        balanced, other = (lab.api.get(f"{path}/{name}") for name in ("balanced", "automatic"))
        ways = balanced["status"]["loadBalancer"].get("ingress", [])
        found: list[str] = [*(way["ip"] for way in ways), *other["spec"].get("externalIPs", [])]
        return found

    wait_until(lambda: len(given()) == 2, "both services to have an address")
    for ip, port in zip(given(), (80, 81), strict=True):
        lab.wait_for_http(ip, port)
    wait_until(
        lambda: {("balanced", "AddressAllocated"), ("unfit", REASON)} <= events(lab, namespace),
        "Events about what was given and what was refused",
    )
    pool = f"{GROUP}/ipclaimpools/test-manifests"
    wait_until(
        lambda: set(lab.api.get(pool).get("status", {}).get("allocated", {})) == set(given()),
        "the pool to show what it gave",
    )
    assert installation.denials() == []
    assert installation.errors() == []


def test_the_example_of_readme_answers_and_is_seen_from_the_schedulers_pod(
    installation: Installation, lab: Lab
) -> None:
    """The service is for the lab's pods, and their port; all else is as README has it."""
    (text,) = (block for block in blocks(README, "yaml") if "kind: IpClaimPool" in block)
    pool, service = yaml.safe_load_all(text)
    ((first, _),) = pool["spec"]["ranges"]
    service["spec"] |= {"selector": {"app": "backend"}}
    service["spec"]["ports"][0]["targetPort"] = BACKEND_PORT
    lab.apply(pool)
    lab.api.request("POST", f"/api/v1/namespaces/{installation.namespace}/services", service)
    installation.wait_settled(first)
    assert lab.wait_for_http(first) in lab.nodes

    workload = installation.workloads["scheduler"]
    account = lab.mount_service_account(lab.switch, workload.namespace, workload.service_account)
    seen = lab.switch.run(["extip", "status"], env=account)
    assert f"{installation.namespace}/{service['metadata']['name']}" in seen.stdout
    assert all(name in seen.stdout for name in lab.nodes)
