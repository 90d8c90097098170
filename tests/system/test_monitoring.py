"""Prometheus reads what extip shows as installed; the LAN and external IPs show nothing."""

import json
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.client import HTTPResponse
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import yaml

from extip.http_server import CONNECTION_S, MAX_CONNECTIONS
from extip.manifests.folder import METRICS_FILES, METRICS_PORT, METRICS_READER
from tests.fakes.certificates import NAME, Pair, make
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
COMMAND = ("--image=extip", "--iface=eth0", f"--metrics-allow-cidr={POD_NETWORK_V4}")
SECURE = ("--metrics-tls-secret=extip-metrics", "--metrics-auth")


@contextmanager
def installation(lab: Lab, folder: Path, *options: str) -> Iterator[dict[str, Workload]]:
    """Write the folder that a user applies, and install it."""
    mode = "simple" if "simple" in options else "claims"
    flags = [option for option in options if option != mode]
    command = [sys.executable, "-m", "extip", "manifests", mode, str(folder)]
    subprocess.run([*command, *COMMAND, *flags, "--monitoring"], cwd=ROOT, check=True, timeout=60)
    with pods.installed(lab, folder) as workloads:
        yield workloads
        lab.nodes["n1"].run(["rm", "-rf", "/run/secrets"])
        lab.switch.run(["rm", "-rf", "/run/secrets"])
        lab.discard_claims()


@pytest.fixture
def installed(lab: Lab, tmp_path: Path) -> Iterator[dict[str, Workload]]:
    with installation(lab, tmp_path / "mine") as workloads:
        yield workloads


class Prometheus:
    """The real one, in the network of a node's pods."""

    def __init__(self, host: Host, folder: Path, *targets: str, **how: Any) -> None:
        scraped = {"job_name": "extip", "static_configs": [{"targets": list(targets)}], **how}
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


@dataclass(frozen=True, slots=True)
class Secured:
    """Programs with TLS and tokens, and a certificate for each host that they run on."""

    lab: Lab
    workloads: dict[str, Workload]
    folder: Path

    def certify(self, name: str) -> Pair:
        """Make a certificate and put it where pods have it mounted."""
        pair = make(self.folder, name)
        for host in (self.lab.nodes["n1"], self.lab.switch):
            for file, path in (("tls.crt", pair.certificate), ("tls.key", pair.key)):
                host.write_file(f"{METRICS_FILES}/{file}", path.read_text())
                host.outside(f"{METRICS_FILES}/{file}").chmod(0o644)  # as of a Secret
        return pair

    def token(self, namespace: str, name: str) -> str:
        return self.lab.control_plane.service_account_token(namespace, name, expiration_s=600)

    def scrape(
        self, pair: Pair, token: str = "", *, by: Host | None = None, path: str = "/metrics"
    ) -> tuple[int, str]:
        """Ask a node's program from a pod; return the status and the page."""
        node, host = self.lab.nodes["n1"], by or self.lab.nodes["n2"].pods
        plain = host.connect(node.ip, METRICS_PORT, timeout=30)
        with pair.client().wrap_socket(plain, server_hostname=NAME) as connection:
            header = f"Authorization: Bearer {token}\r\n" if token else ""
            connection.sendall(f"GET {path} HTTP/1.0\r\nHost: x\r\n{header}\r\n".encode())
            response = HTTPResponse(connection)
            response.begin()
            return response.status, response.read().decode()


@pytest.fixture
def secured(lab: Lab, tmp_path: Path) -> Iterator[Callable[..., Secured]]:
    with ExitStack() as stack:

        def install(*options: str) -> Secured:
            folder = tmp_path / "mine"
            workloads = stack.enter_context(installation(lab, folder, *SECURE, *options))
            return Secured(lab, workloads, tmp_path)

        yield install


def test_a_token_that_may_reads_with_tls_and_no_other_does(
    lab: Lab, namespace: str, secured: Callable[..., Secured], tmp_path: Path
) -> None:
    world, node = secured(), lab.nodes["n1"]
    pair = world.certify("first")
    controller = pods.start(lab, node, world.workloads["controller"])
    pods.start(lab, lab.switch, world.workloads["scheduler"], "--http=127.0.0.1:9190")
    lab.add_service("web", [IP], namespace=namespace)
    lab.wait_for_http(IP)
    space = world.workloads["controller"].namespace
    reader, stranger = world.token(space, METRICS_READER), world.token(namespace, "default")

    status, text = world.scrape(pair, reader)
    assert (status, "extip_addresses_up 1.0" in text) == (200, True), text
    assert world.scrape(pair)[0] == 401
    assert world.scrape(pair, "made-up")[0] == 401
    status, text = world.scrape(pair, stranger)
    assert (status, f"system:serviceaccount:{namespace}:default may not get" in text) == (403, True)
    status, text = world.scrape(pair, reader, by=lab.client)
    assert (status, text.endswith(": not in --metrics-allow-cidr\n")) == (403, True)
    assert world.scrape(pair, reader, path="/readyz")[0] == 404
    with pytest.raises(ssl.SSLCertVerificationError):
        world.scrape(make(tmp_path, "another"), reader)
    with pytest.raises(ConnectionError):  # without TLS
        lab.nodes["n2"].pods.http_get(node.ip, METRICS_PORT, path="/metrics")
    wait_until(
        lambda: pods.serves(node, world.workloads["controller"], "readinessProbe") == "ok",
        "the controller to be ready",
    )
    assert pods.denied_nothing(node)

    lab.api_server.stop()
    assert world.scrape(pair, reader)[0] == 200
    assert world.scrape(pair, f"{reader[:-4]}aaaa")[0] == 503
    lab.api_server.start()
    assert controller.running
    assert reader not in controller.output()


def test_prometheus_reads_with_tls_until_it_does_not_trust_the_renewed_certificate(
    lab: Lab, namespace: str, secured: Callable[..., Secured], tmp_path: Path
) -> None:
    world, node = secured("simple"), lab.nodes["n1"]
    pair = world.certify("first")
    pods.start(lab, node, world.workloads["simple"])
    lab.add_service("web", [IP], namespace=namespace)
    lab.wait_for_http(IP)
    reader = world.token(world.workloads["simple"].namespace, METRICS_READER)
    (tmp_path / "token").write_text(reader)
    prometheus = Prometheus(
        lab.nodes["n2"].pods,
        tmp_path,
        f"{node.ip}:{METRICS_PORT}",
        scheme="https",
        tls_config={"ca_file": str(pair.certificate), "server_name": NAME},
        authorization={"credentials_file": str(tmp_path / "token")},
    )
    try:
        wait_until(lambda: prometheus.value("extip_addresses_up") == 1, "Prometheus to see the IP")
        new = world.certify("second")
        assert world.scrape(new, reader)[0] == 200
        with pytest.raises(ssl.SSLCertVerificationError):
            world.scrape(pair, reader)
        wait_until(lambda: prometheus.value("up") == 0, "Prometheus to mind the other authority")
    finally:
        prometheus.end()


def test_a_scheduler_serves_metrics_in_its_pod_with_tls_and_health_without(
    lab: Lab, namespace: str, secured: Callable[..., Secured]
) -> None:
    world = secured()
    pair = world.certify("first")
    flags = ("--http=127.0.0.1:9190", "--metrics-allow-cidr=127.0.0.0/8")
    pods.start(lab, lab.switch, world.workloads["scheduler"], *flags)
    wait_until(
        lambda: lab.switch.http_get("127.0.0.1", 9190, path="/readyz") == "ok",
        "the scheduler to be ready",
    )
    token = world.token(world.workloads["scheduler"].namespace, METRICS_READER)
    with pair.client().wrap_socket(
        lab.switch.connect("127.0.0.1", METRICS_PORT), server_hostname=NAME
    ) as connection:
        connection.sendall(
            f"GET /metrics HTTP/1.0\r\nAuthorization: Bearer {token}\r\n\r\n".encode()
        )
        assert connection.recv(15) == b"HTTP/1.0 200 OK"


def test_handshakes_that_hang_are_cut_off_and_keep_no_scrape_out(
    lab: Lab, namespace: str, secured: Callable[..., Secured]
) -> None:
    world, node = secured("simple"), lab.nodes["n1"]
    pair = world.certify("first")
    pods.start(lab, node, world.workloads["simple"])
    wait_until(
        lambda: pods.serves(node, world.workloads["simple"], "readinessProbe") == "ok",
        "it to be ready",
    )
    token = world.token(world.workloads["simple"].namespace, METRICS_READER)
    with ExitStack() as stack:
        hanging = []
        for _ in range(2 * MAX_CONNECTIONS):
            connection = lab.nodes["n2"].pods.connect(node.ip, METRICS_PORT, timeout=60)
            hanging.append(stack.enter_context(connection))
            connection.sendall(b"\x16\x03\x01\x02\x00\x01")
        assert world.scrape(pair, token)[0] == 200
        assert pods.serves(node, world.workloads["simple"], "livenessProbe") == "ok"
        for connection in hanging:
            connection.settimeout(CONNECTION_S + 50)
            assert is_cut_off(connection)


def is_cut_off(connection: socket.socket) -> bool:
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


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
