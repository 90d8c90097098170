"""The lab as a whole: build it, use it, end it. `with Lab(nodes=3) as lab:`."""

import contextlib
import json
import sys
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Self

from tests.lab import objects, observe, probe
from tests.lab.anchor import Anchor
from tests.lab.api import GROUP, PORT, ApiClient, ApiStatusError
from tests.lab.baseline import Baseline
from tests.lab.binaries import find_binaries
from tests.lab.control_plane import ControlPlane
from tests.lab.daemon import Daemon
from tests.lab.diagnosis import why_no_answer
from tests.lab.errors import LabError
from tests.lab.host import SERVICE_ACCOUNT_FILES, Host
from tests.lab.network import API_SERVER_IP, Switch
from tests.lab.node import Node, NodeSettings
from tests.lab.observe import Observer
from tests.lab.outsiders import Outsiders
from tests.lab.pki import make_credentials
from tests.lab.probe import Probe
from tests.lab.process import pss_kib
from tests.lab.wait import PATIENCE_S, wait_until

_KINDS = ("ipclaims", "ipnodes", "ipclaimpools")
_NAMESPACES = {"default", "kube-system", "kube-public", "kube-node-lease"}


class Lab:
    """A Kubernetes cluster in namespaces of its own.

    Starts on entering the `with` block (or `start`), and is gone on leaving it (or `close`), or
    when this process dies. `node_grace_s` is the controller manager's node monitor grace period.
    `ip_forward=False` makes nodes that forward nothing, on which only pods on the host network of
    the node that a client talks to can be reached.
    """

    def __init__(
        self, nodes: int = 3, *, ip_forward: bool = True, node_grace_s: float = 40.0
    ) -> None:
        self.binaries = find_binaries()
        self.server_version = self.binaries.version
        self.startup_s = 0.0
        """How long `start` took."""
        self._count = nodes
        self._ip_forward = ip_forward
        self._node_grace_s = node_grace_s

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # Start and end.

    def start(self) -> None:
        """Bring everything up; returns when kube-proxy is healthy on every node."""
        started = time.monotonic()
        self.anchor = Anchor()
        try:
            self._start()
        except BaseException:
            self.close()
            raise
        self.startup_s = time.monotonic() - started

    def _start(self) -> None:
        self.switch = Switch(self.anchor)
        credentials = make_credentials(self.anchor.directory / "pki", API_SERVER_IP)
        self.control_plane = ControlPlane(
            self.switch, self.binaries, credentials, node_grace_s=self._node_grace_s
        )
        self.control_plane.etcd.start()
        self.api_server.launch()
        self.outsiders = Outsiders(self.anchor, self.switch)
        settings = NodeSettings(
            count=self._count,
            ip_forward=self._ip_forward,
            node_grace_s=self._node_grace_s,
            token=credentials.admin_token,
            certificate=credentials.certificate,
            kubeconfig=self.kubeconfig,
        )
        self.nodes = {
            f"n{number}": Node(self.anchor, self.switch, number, self.binaries, settings)
            for number in range(1, self._count + 1)
        }
        for node in self.nodes.values():
            node.plug_in()
            node.configure()
            node.backend.launch()
            node.host_backend.launch()
        self.api_server.wait_ready()
        wait_until(self._has_namespaces, "the API server's own namespaces")
        self._start_kubernetes()

    def _start_kubernetes(self) -> None:
        self.control_plane.controller_manager.launch()
        for node in self.nodes.values():
            node.launch()
        wait_until(self._nodes_registered, "every node to be registered")
        for node in self.nodes.values():
            node.kube_proxy.launch()
        self.add_backends("default")
        for node in self.nodes.values():
            node.wait_ready()
        self._await_endpoints()
        self.baseline = Baseline(self)

    def _await_endpoints(self) -> None:
        """Wait until the endpoint controllers work, on a service that goes again."""
        name = "lab-start"
        self.add_service(name)
        wait_until(
            lambda: self._published_backends(name) == self._count,
            "the endpoints of every node's backend",
        )
        self.delete_service(name)

    def _published_backends(self, service: str) -> int:
        endpoints = self.api.get(f"/api/v1/namespaces/default/endpoints/{service}")
        return sum(len(subset.get("addresses", [])) for subset in endpoints.get("subsets", []))

    def _has_namespaces(self) -> bool:
        """Whether the API server has made what every cluster has, a moment after it is ready."""
        items = self.api.get("/api/v1/namespaces")["items"]
        return {item["metadata"]["name"] for item in items} >= _NAMESPACES

    def _nodes_registered(self) -> bool:
        items = self.api.get("/api/v1/nodes")["items"]
        return len([node for node in items if node["status"].get("addresses")]) == self._count

    def close(self) -> None:
        """End everything; returns when all of it is gone."""
        self.anchor.close()

    def reset(self) -> None:
        """Bring a used lab back to what it was at the start (see `Baseline.restore`)."""
        self.baseline.restore()

    def leftovers(self) -> list[str]:
        """Describe what a fresh lab would not have; empty right after `reset`."""
        return self.baseline.leftovers()

    @property
    def client(self) -> Host:
        """The client on the LAN."""
        return self.outsiders.client

    @property
    def far_client(self) -> Host:
        """The client behind the router."""
        return self.outsiders.far_client

    @property
    def router(self) -> Host:
        return self.outsiders.router

    # Kubernetes.

    @property
    def api(self) -> ApiClient:
        """A client of the API server for use from this process, as the cluster's admin."""
        return self.control_plane.api

    @property
    def api_server(self) -> Daemon:
        return self.control_plane.api_server

    @property
    def kubeconfig(self) -> Path:
        """The admin's kubeconfig: readable everywhere; its server answers within the lab."""
        return self.control_plane.kubeconfig

    def kubectl(self, *args: str, stdin: str = "", timeout: float = PATIENCE_S) -> str:
        """Run kubectl as admin in the lab; returns its stdout, raises LabError when it fails."""
        command: list[str | Path] = [
            self.binaries.kubectl,
            f"--kubeconfig={self.kubeconfig}",
            *args,
        ]
        return self.switch.run(command, stdin=stdin, timeout=timeout).stdout

    def kubectl_json(self, *args: str, stdin: str = "") -> Any:
        """Run kubectl with `-o json` and return what it prints, decoded."""
        return json.loads(self.kubectl(*args, "-o", "json", stdin=stdin))

    def apply(self, manifest: str | Mapping[str, Any]) -> None:
        """Apply a manifest: YAML or JSON text, or one object."""
        text = manifest if isinstance(manifest, str) else json.dumps(manifest)
        self.kubectl("apply", "-f", "-", stdin=text)

    def outside_kubeconfig(self) -> Path:
        """Write a kubeconfig for programs outside of the lab; opens a port on loopback."""
        return self.control_plane.outside_kubeconfig()

    def install_definitions(self) -> None:
        """Make extip's kinds known to the API server; returns when it serves them."""
        with contextlib.suppress(ApiStatusError):
            for kind in _KINDS:
                self.api.get(f"{GROUP}/{kind}")
            return  # an earlier test did
        command = [sys.executable, "-m", "extip", "crds", "--apply"]
        self.switch.run([*command, f"--kubeconfig={self.kubeconfig}"])
        for kind in _KINDS:
            wait_until(partial(self.api.raw, "GET", f"{GROUP}/{kind}"), f"{kind} to be served")

    def discard_claims(self) -> None:
        """Delete all that extip's programs wrote, pools included, and their Leases.

        Whatever tests started ends first: a controller would write its Lease anew.
        """
        self.baseline.end_strays()
        for kind in _KINDS:
            self.api.discard_all(f"{GROUP}/{kind}")
        leases = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases"
        for lease in self.api.get(leases)["items"]:
            if lease["metadata"]["name"].startswith("extip-"):  # newer servers have some, too
                self.api.discard(f"{leases}/{lease['metadata']['name']}")

    def mount_service_account(
        self, host: Host, namespace: str, name: str, *, expiration_s: int = 3600
    ) -> dict[str, str]:
        """Put a ServiceAccount's files where a pod on the host finds them.

        Returns the environment that makes a client in it find the API server.
        """
        token = self.control_plane.service_account_token(namespace, name, expiration_s=expiration_s)
        certificate = self.control_plane.credentials.certificate.read_text()
        files = {"token": token, "ca.crt": certificate, "namespace": namespace}
        for file, text in files.items():
            host.write_file(f"{SERVICE_ACCOUNT_FILES}/{file}", text)
        return {"KUBERNETES_SERVICE_HOST": API_SERVER_IP, "KUBERNETES_SERVICE_PORT": str(PORT)}

    def service_account_kubeconfig(
        self, namespace: str, name: str, *, expiration_s: int = 3600
    ) -> Path:
        """Write a kubeconfig with a real token of a ServiceAccount that exists."""
        return self.control_plane.service_account_kubeconfig(
            namespace, name, expiration_s=expiration_s
        )

    def etcd_compact(self) -> int:
        """Compact etcd up to now; returns that revision."""
        return self.control_plane.compact_etcd()

    def create_namespace(self, name: str) -> None:
        self.api.ensure("/api/v1/namespaces", {"metadata": {"name": name}})

    def add_backends(
        self, namespace: str, nodes: Sequence[str] | None = None, *, on_host: bool | None = None
    ) -> None:
        """Create a pod `backend-NODE` with label `app=backend` for each node (default: all).

        `on_host`: on the host network; default: where the nodes do not forward.
        """
        host_network = not self._ip_forward if on_host is None else on_host
        for node in nodes if nodes is not None else self.nodes:
            pod = objects.backend_pod(node, on_host=host_network)
            self.api.ensure(f"/api/v1/namespaces/{namespace}/pods", pod)

    def add_service(
        self,
        name: str,
        external_ips: Sequence[str] = (),
        *,
        namespace: str = "default",
        port: int = 80,
        spec: Mapping[str, Any] | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> Any:
        """Create a dual-stack service for the pods `app=backend`; returns what the API answers.

        `spec` and `metadata` are merged over what is made here.
        """
        service = objects.service(
            name, external_ips, port=port, spec=spec or {}, metadata=metadata or {}
        )
        return self.api.request("POST", f"/api/v1/namespaces/{namespace}/services", service)

    def delete_service(self, name: str, *, namespace: str = "default") -> None:
        self.api.request("DELETE", f"/api/v1/namespaces/{namespace}/services/{name}")

    # Measuring.

    def probe(
        self,
        ips: str | Sequence[str],
        *,
        port: int = 80,
        interval_s: float = probe.INTERVAL_S,
        timeout_s: float = probe.TIMEOUT_S,
        host: Host | None = None,
    ) -> Probe:
        """Probe addresses from the client (or another host) until the `with` block ends."""
        return Probe(
            host or self.client,
            [ips] if isinstance(ips, str) else ips,
            port=port,
            interval_s=interval_s,
            timeout_s=timeout_s,
        )

    def observe(
        self, ips: str | Sequence[str], *, interval_s: float = observe.INTERVAL_S
    ) -> Observer:
        """Observe ARP and NDP for addresses on the LAN; interval 0: only listen, never ask."""
        return Observer(
            self.outsiders.observer,
            [ips] if isinstance(ips, str) else ips,
            self.node_of_mac,
            interval_s=interval_s,
        )

    def memory_mib(self) -> float:
        """Return the proportional memory of all processes of the lab, in MiB."""
        hosts = [self.switch, *self.nodes.values(), *self.outsiders.hosts]
        hosts += [node.pods for node in self.nodes.values()]
        pids = {pid for host in hosts for pid in (*host.all_pids(), host.holder_pid)}
        return sum(pss_kib(pid) for pid in pids) / 1024

    def node_of_mac(self, mac: str) -> str | None:
        """Return the node whose LAN interface has this MAC, None when it is no node's."""
        return next((node.name for node in self.nodes.values() if node.mac == mac), None)

    def wait_for_http(
        self, ip: str, port: int = 80, *, host: Host | None = None, timeout: float = PATIENCE_S
    ) -> str:
        """Wait until an address answers the client (or another host); returns the body.

        Each attempt is given up soon: kube-proxy up to 1.22 listens on an external IP that is on
        the node until its rules are in place, and a connection made in between hangs for ever.
        LabError tells what services, endpoints and rules there are.
        """
        where = host or self.client
        try:
            return wait_until(
                lambda: where.http_get(ip, port, timeout=0.25),
                f"an answer of {ip}:{port}",
                timeout=timeout,
            )
        except LabError as error:
            raise LabError(f"{error}\n{why_no_answer(self, ip)}") from error
