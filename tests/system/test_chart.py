"""Helm installs, upgrades and removes the chart, and extip lives on what it makes."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.lab import helm as engine
from tests.lab.cluster import Lab
from tests.lab.extip import MARK
from tests.lab.wait import wait_until
from tests.meta.manifests import ROOT, WORKLOADS, Workload
from tests.system import pods

IP, SPACE, RELEASE = "10.88.3.1", "extip-system", "extip"
VALUES = {"image": "registry.example/extip:1", "iface": "eth0"}


@pytest.fixture
def helm() -> Any:
    found = engine.load()
    if found is None:
        pytest.skip(engine.WHY_NOT)
    return found


@pytest.fixture
def lab(private_lab: Callable[..., Lab]) -> Lab:
    lab = private_lab(nodes=2)
    lab.create_namespace("test-chart")
    lab.add_backends("test-chart")
    return lab


@pytest.fixture
def releases(helm: Any, lab: Lab) -> Iterator[Any]:
    """Open Helm's connection to the cluster."""
    with helm.Config(kubeconfig_path=str(lab.outside_kubeconfig()), namespace=SPACE) as config:
        yield config


@pytest.fixture
def chart(lab: Lab, tmp_path: Path) -> str:
    version = lab.server_version.removeprefix("v").rpartition(".")[0]
    command = [sys.executable, "-m", "extip", "chart", str(tmp_path / "chart")]
    subprocess.run([*command, f"--kubernetes={version}"], cwd=ROOT, check=True, timeout=60)
    return str(tmp_path / "chart")


def workloads(manifest: str) -> dict[str, Workload]:
    """Return the workloads of a release by their commands."""
    objects = [one for one in yaml.safe_load_all(manifest) if one]
    for one in objects:
        one["metadata"]["namespace"] = SPACE
    made = [Workload(one, objects) for one in objects if one["kind"] in WORKLOADS]
    return {workload.command: workload for workload in made}


def test_helm_installs_upgrades_and_removes_extip(lab: Lab, releases: Any, chart: str) -> None:
    made = releases.install(chart, RELEASE, VALUES, create_namespace=True)
    found = workloads(made["manifest"])
    controllers = [pods.start(lab, node, found["controller"]) for node in lab.nodes.values()]
    scheduler = pods.start(lab, lab.switch, found["scheduler"])
    lab.add_service("web", [IP], namespace="test-chart")
    lab.wait_for_http(IP)
    for process in (*controllers, scheduler):
        assert pods.DENIED not in process.output()

    releases.upgrade(chart, RELEASE, {**VALUES, "mask": 24})
    deployed = lab.kubectl_json("-n", SPACE, "get", "deployment", "extip-scheduler")
    assert "--mask=24" in deployed["spec"]["template"]["spec"]["containers"][0]["args"]
    lab.wait_for_http(IP)

    releases.uninstall(RELEASE)
    for process in (*controllers, scheduler):
        assert process.terminate() == 0, process.tail()
    addresses = [one for node in lab.nodes.values() for one in node.addresses("eth0")]
    assert not any(address.proto == MARK for address in addresses)
    kinds = "clusterroles,clusterrolebindings,priorityclasses"
    there = lab.kubectl_json("-n", SPACE, "get", "leases")["items"]
    names = {lease["metadata"]["name"] for lease in there}
    assert names == {"extip-scheduler", *(f"extip-node-{name}" for name in lab.nodes)}
    left = lab.kubectl_json("get", kinds, "-l", "app.kubernetes.io/name=extip")["items"]
    wait_until(lambda: not lab.kubectl("-n", SPACE, "get", "all", "-o", "name"), "all to be gone")
    assert left == []
    assert lab.kubectl("get", "crd", "-o", "name").count("ipcontroller.ext") == 3

    lab.kubectl("delete", "namespace", SPACE)
    lab.kubectl("delete", "-f", f"{chart}/crds")
    apply = [sys.executable, "-m", "extip", "crds", "--apply"]
    kubeconfig = f"--kubeconfig={lab.outside_kubeconfig()}"
    subprocess.run([*apply, kubeconfig], cwd=ROOT, check=True, timeout=120)
    releases.install(chart, RELEASE, VALUES, create_namespace=True)  # beside these definitions
