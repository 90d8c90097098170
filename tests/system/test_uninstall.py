"""`kubectl delete -k` leaves nothing of extip: no address, object, Lease or finalizer."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.lab.api import GROUP
from tests.lab.cluster import Lab
from tests.lab.extip import MARK
from tests.lab.process import Process
from tests.lab.wait import wait_until
from tests.meta.manifests import ROOT, WORKLOADS, build, workloads
from tests.system import pods

IP, SPACE = "10.88.3.1", "test-uninstall"
POOL = {
    "apiVersion": "ipcontroller.ext/v1",
    "kind": "IpClaimPool",
    "metadata": {"name": "edge"},
    "spec": {"cidr": "10.88.5.0/29"},
}
BALANCED = {"type": "LoadBalancer", "ipFamilyPolicy": "SingleStack", "ipFamilies": ["IPv4"]}
KINDS = (
    "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
    "/apis/rbac.authorization.k8s.io/v1/clusterroles",
    "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
    "/apis/scheduling.k8s.io/v1/priorityclasses",
    "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations",
    "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations",
    "/apis/coordination.k8s.io/v1/leases",
    "/api/v1/namespaces",
)


@pytest.fixture
def lab(private_lab: Callable[..., Lab]) -> Lab:
    """Make a lab of its own: all definitions go."""
    lab = private_lab(nodes=2)
    lab.create_namespace(SPACE)
    lab.add_backends(SPACE)
    return lab


@pytest.fixture
def folder(lab: Lab, tmp_path: Path) -> Path:
    """Write the folder that a user applies and deletes."""
    version = lab.server_version.removeprefix("v").rpartition(".")[0]
    options = ("--image=extip", "--iface=eth0", f"--kubernetes={version}")
    command = [sys.executable, "-m", "extip", "manifests", "claims", str(tmp_path / "mine")]
    subprocess.run([*command, *options], cwd=ROOT, check=True, timeout=60)
    return tmp_path / "mine"


@pytest.fixture
def running(lab: Lab, folder: Path) -> Iterator[dict[str, Process]]:
    """Apply the folder but for workloads, and start a controller on each node and a scheduler."""
    pods.apply(lab, [one for one in build(folder) if one["kind"] not in WORKLOADS])
    found = {workload.command: workload for workload in workloads(folder)}
    started = {name: pods.start(lab, node, found["controller"]) for name, node in lab.nodes.items()}
    started["scheduler"] = pods.start(lab, lab.switch, found["scheduler"])
    yield started
    for process in started.values():
        process.kill()
        process.wait()


def ours(lab: Lab) -> set[str]:
    """Return the objects that have extip's name, label or group, wherever they are."""
    return {
        f"{path.rpartition('/')[2]} {one['metadata']['name']}"
        for path in KINDS
        for one in lab.api.get(path)["items"]
        if "extip" in str(one["metadata"]["name"]) or "ipcontroller.ext" in str(one["metadata"])
    }


def addresses(lab: Lab) -> set[str]:
    """Return extip's addresses on all nodes."""
    return {
        address.ip
        for node in lab.nodes.values()
        for address in node.addresses("eth0")
        if address.proto == MARK
    }


def objects_with_finalizers(lab: Lab) -> list[str]:
    """Return services, nodes and Leases that something of extip's keeps from going."""
    paths = ("/api/v1/services", "/api/v1/nodes", "/apis/coordination.k8s.io/v1/leases")
    items: list[dict[str, Any]] = [one for path in paths for one in lab.api.get(path)["items"]]
    return [
        one["metadata"]["name"]
        for one in items
        if "ext" in "".join(one["metadata"].get("finalizers", ()))
    ]


@pytest.mark.parametrize("pods_end_first", [True, False])
def test_nothing_is_left(
    lab: Lab, folder: Path, running: dict[str, Process], *, pods_end_first: bool
) -> None:
    """Also when permissions and definitions go before the pods, which is a matter of chance."""
    pods.apply(lab, [POOL])
    lab.add_service("web", [IP], namespace=SPACE)
    lab.add_service("balanced", namespace=SPACE, port=81, spec=BALANCED)
    lab.wait_for_http(IP)
    wait_until(lambda: len(addresses(lab)) == 2, "both services to have their IP")
    assert len(lab.api.get(f"{GROUP}/ipclaims")["items"]) == 2
    assert ours(lab)

    def end_pods() -> None:
        for process in running.values():
            assert process.terminate() == 0, process.tail()

    if pods_end_first:
        end_pods()
    lab.kubectl("delete", "-k", str(folder), "--ignore-not-found")
    if not pods_end_first:
        end_pods()
    assert addresses(lab) == set()
    assert ours(lab) == set()
    assert objects_with_finalizers(lab) == []
