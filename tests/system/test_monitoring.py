"""Prometheus reads what extip shows as installed; the LAN and external IPs show nothing."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import yaml

from extip.manifests.folder import METRICS_PORT
from tests.lab.binaries import find_tool
from tests.lab.cluster import Lab
from tests.lab.host import Host
from tests.lab.network import POD_NETWORK_V4, external_v4
from tests.lab.wait import wait_until
from tests.meta.manifests import MANIFESTS, ROOT, Workload, build
from tests.system import pods
from tests.system.pods import apply

IP = external_v4(0)
OPERATOR = "monitoring.coreos.com"
COMMAND = ("claims", "--image=extip", "--iface=eth0", f"--metrics-allow-cidr={POD_NETWORK_V4}")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Write the folder that a user applies."""
    mode, *options = COMMAND
    command = [sys.executable, "-m", "extip", "manifests", mode, str(tmp_path / "mine")]
    subprocess.run([*command, *options, "--monitoring"], cwd=ROOT, check=True, timeout=60)
    return tmp_path / "mine"


@pytest.fixture
def installed(lab: Lab, folder: Path) -> Iterator[dict[str, Workload]]:
    with pods.installed(lab, folder) as workloads:
        yield workloads
        lab.nodes["n1"].run(["rm", "-rf", "/run/secrets"])
        lab.switch.run(["rm", "-rf", "/run/secrets"])
        lab.discard_claims()


class Prometheus:
    """The real one, in the network of a node's pods."""

    def __init__(self, host: Host, folder: Path, *targets: str) -> None:
        scraped = {"job_name": "extip", "static_configs": [{"targets": list(targets)}]}
        config = {"global": {"scrape_interval": "1s"}, "scrape_configs": [scraped]}
        (folder / "prometheus.yaml").write_text(yaml.safe_dump(config))
        self._host = host
        self._process = host.start(
            [
                str(find_tool("prometheus")),
                f"--config.file={folder / 'prometheus.yaml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                "--web.listen-address=127.0.0.1:9090",
            ],
            name="prometheus",
        )

    def value(self, query: str) -> float | None:
        """Return the value of a query with one answer; None while there is none."""
        try:
            path = f"/api/v1/query?query={quote(query)}"
            answer = json.loads(self._host.http_get("127.0.0.1", 9090, path=path))
        except (OSError, ValueError):  # it starts
            return None
        found = answer["data"]["result"] if answer["status"] == "success" else []
        return float(found[0]["value"][1]) if found else None

    def end(self) -> None:
        self._process.terminate()


def test_prometheus_reads_a_node_from_a_pod_and_nobody_else_does(
    lab: Lab, namespace: str, installed: dict[str, Workload], tmp_path: Path
) -> None:
    node = lab.nodes["n1"]
    pods.start(lab, node, installed["controller"])
    pods.start(lab, lab.switch, installed["scheduler"], "--http=127.0.0.1:9190")
    lab.add_service("web", [IP], namespace=namespace)
    lab.wait_for_http(IP)
    prometheus = Prometheus(lab.nodes["n2"].pods, tmp_path, f"{node.ip}:{METRICS_PORT}")
    try:
        wait_until(lambda: prometheus.value("extip_addresses_up") == 1, "Prometheus to see the IP")
    finally:
        prometheus.end()

    refused = lab.client.http_get(node.ip, METRICS_PORT, path="/metrics")
    assert refused.endswith(": not in --metrics-allow-cidr"), refused
    assert lab.client.http_get(node.ip, METRICS_PORT, path="/readyz") == ""
    for port in (METRICS_PORT, pods.HTTP_PORT):
        with pytest.raises(ConnectionRefusedError):
            lab.client.http_get(IP, port, path="/metrics")
    assert "extip_addresses_up 1.0" in node.http_get("127.0.0.1", pods.HTTP_PORT, path="/metrics")


def definition(kind: str, plural: str) -> dict[str, Any]:
    """Return a definition of the operator's kind that takes anything."""
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{OPERATOR}"},
        "spec": {
            "group": OPERATOR,
            "scope": "Namespaced",
            "names": {"kind": kind, "listKind": f"{kind}List", "plural": plural},
            "versions": [version],
        },
    }


def test_kubectl_applies_monitoring_where_the_operator_is(lab: Lab) -> None:
    """Without its schemas: the server checks the NetworkPolicy and the dashboard alone."""
    definitions = [definition(*names) for names in pods.OF_THE_OPERATOR.items()]
    (space,) = (m for m in build(MANIFESTS / "claims") if m["kind"] == "Namespace")
    apply(lab, [*definitions, space])
    try:
        names = [f"crd/{one['metadata']['name']}" for one in definitions]
        lab.kubectl("wait", "--for=condition=Established", "--timeout=30s", *names)
        sent = build(MANIFESTS / "monitoring")
        apply(lab, sent)
        asked = ("get", "configmap,networkpolicy,podmonitor,prometheusrule")
        listed = lab.kubectl_json(*asked, "-n", space["metadata"]["name"])["items"]
        found = {(one["kind"], one["metadata"]["name"]) for one in listed}
        assert found >= {(one["kind"], one["metadata"]["name"]) for one in sent}
    finally:
        pods.delete(lab, [space, *definitions])
