"""etcd, the API server and the controllers, on the switch's management bridge."""

import json
import secrets
import socket
from pathlib import Path

from tests.lab.anchor import python
from tests.lab.api import PORT, ApiClient
from tests.lab.binaries import Binaries
from tests.lab.daemon import Daemon
from tests.lab.errors import LabError
from tests.lab.host import Host
from tests.lab.kubernetes_build import program_version
from tests.lab.network import (
    API_SERVER_IP,
    POD_NETWORK_V4,
    POD_NETWORK_V6,
    SERVICE_NETWORK_V4,
    SERVICE_NETWORK_V6,
    Switch,
)
from tests.lab.pki import Credentials
from tests.lab.wait import wait_until

_ETCD = "http://127.0.0.1:2379"
_CONTROLLERS = (
    "endpoint",
    "endpointslice",
    "endpointslicemirroring",
    "garbagecollector",
    "namespace",
    "nodelifecycle",
    "root-ca-cert-publisher",
    "serviceaccount",
)
_COMPACT = """
import json, urllib.request
def post(path, body):
    data = json.dumps(body).encode()
    return json.load(urllib.request.urlopen("%s/v3/kv/" + path, data, timeout=10))
revision = post("range", {"key": "AA=="})["header"]["revision"]
post("compaction", {"revision": revision, "physical": True})
print(revision)
"""


def feature_gates(program: Path) -> list[str]:
    """Return what old servers do not do by themselves: dual stack, ports in a service's status."""
    _, minor = (int(part) for part in program_version(program).lstrip("v").split(".")[:2])
    opened = {"IPv6DualStack": (0, 21), "MixedProtocolLBService": (20, 24)}
    since = [gate for gate, (first, open_) in opened.items() if first <= minor < open_]
    return [f"--feature-gates={','.join(f'{gate}=true' for gate in since)}"] if since else []


def write_kubeconfig(path: Path, *, server: str, certificate: Path, token: str) -> Path:
    """Write a kubeconfig (as JSON, which is YAML) for a bearer token."""
    path.parent.mkdir(exist_ok=True)
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {
                "name": "lab",
                "cluster": {"server": server, "certificate-authority": str(certificate)},
            }
        ],
        "users": [{"name": "lab", "user": {"token": token}}],
        "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": "lab"}}],
        "current-context": "lab",
    }
    path.write_text(json.dumps(config, indent=1))
    path.chmod(0o600)
    return path


class ControlPlane:
    """The daemons of the control plane; `launch` starts them in order."""

    server = f"https://{API_SERVER_IP}:{PORT}"

    def __init__(
        self,
        switch: Switch,
        binaries: Binaries,
        credentials: Credentials,
        *,
        node_grace_s: float,
    ) -> None:
        self._switch = switch
        self.credentials = credentials
        self._outside: Path | None = None
        self.relay: Daemon | None = None
        self._binaries = binaries
        directory = switch.anchor.directory
        self.api = ApiClient(switch, credentials.certificate, credentials.admin_token)
        self.kubeconfig = write_kubeconfig(
            directory / "kubeconfigs" / "admin",
            server=self.server,
            certificate=credentials.certificate,
            token=credentials.admin_token,
        )
        self.etcd = Daemon(
            switch,
            "etcd",
            _etcd(binaries),
            ready=lambda: _accepts(switch, "127.0.0.1", 2379),
        )
        self.api_server = Daemon(
            switch,
            "kube-apiserver",
            _api_server(binaries, credentials),
            ready=lambda: self.api.raw("GET", "/readyz", timeout=2.0),
        )
        self.controller_manager = Daemon(
            switch,
            "kube-controller-manager",
            _controller_manager(binaries, self.kubeconfig, credentials, node_grace_s),
        )

    def daemons(self) -> list[Daemon]:
        """Return all programs of the control plane, in the order in which they start."""
        relay = [] if self.relay is None else [self.relay]
        return [self.etcd, self.api_server, self.controller_manager, *relay]

    def another_cluster(self) -> tuple[ApiClient, Path]:
        """Start an API server that knows nothing of this one; return a client and a kubeconfig.

        It keeps its objects in the same etcd, under a prefix of its own, and ends with what tests
        start. It has no controllers: no endpoints, no garbage collection.
        """
        port = PORT + 1
        argv = _api_server(
            self._binaries,
            self.credentials,
            port=port,
            etcd_prefix=f"/another-{secrets.token_hex(4)}",
        )
        certificate, token = self.credentials.certificate, self.credentials.admin_token
        api = ApiClient(self._switch, certificate, token, port=port)
        Daemon(
            self._switch,
            "another-kube-apiserver",
            argv,
            ready=lambda: api.raw("GET", "/readyz", timeout=2.0),
        ).start()
        kubeconfig = write_kubeconfig(
            self.kubeconfig.parent / "another",
            server=f"https://{API_SERVER_IP}:{port}",
            certificate=certificate,
            token=token,
        )
        return api, kubeconfig

    def outside_kubeconfig(self) -> Path:
        """Write a kubeconfig of the admin for programs outside, on this machine's loopback."""
        if self._outside is None:
            with socket.create_server(("127.0.0.1", 0)) as listener:
                port = listener.getsockname()[1]
                argv = python("relay.py", API_SERVER_IP, str(PORT))
                self.relay = Daemon(self._switch, "relay", argv, pass_fds=[listener.fileno()])
                self.relay.start()
            self._outside = write_kubeconfig(
                self.kubeconfig.parent / "outside",
                server=f"https://127.0.0.1:{port}",
                certificate=self.credentials.certificate,
                token=self.credentials.admin_token,
            )
        return self._outside

    def compact_etcd(self) -> int:
        """Drop etcd's history, so that resuming from before it answers 410; returns the revision.

        The API server's own watch cache still knows recent versions until it is restarted.
        """
        script = _COMPACT % _ETCD
        return int(self._switch.run(["/usr/bin/env", "python3", "-c", script]).stdout)

    def service_account_token(self, namespace: str, name: str, *, expiration_s: int) -> str:
        """Return a token of a ServiceAccount by the TokenRequest API (at least 600 s).

        Waits for the account: that named `default` comes a moment after its namespace.
        """
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token"
        body = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"expirationSeconds": expiration_s},
        }
        account = f"ServiceAccount {namespace}/{name}"
        reply = wait_until(lambda: self.api.request("POST", path, body), account)
        token: str = reply["status"]["token"]
        return token

    def service_account_kubeconfig(self, namespace: str, name: str, *, expiration_s: int) -> Path:
        """Write a kubeconfig with such a token."""
        token = self.service_account_token(namespace, name, expiration_s=expiration_s)
        file = f"{namespace}-{name}-{secrets.token_hex(4)}"
        return write_kubeconfig(
            self.kubeconfig.parent / file,
            server=self.server,
            certificate=self.credentials.certificate,
            token=token,
        )


def _accepts(host: Host, ip: str, port: int) -> bool:
    host.connect(ip, port).close()
    return True


def _etcd(binaries: Binaries) -> list[str]:
    return [
        str(binaries.etcd),
        "--data-dir=/run/etcd",  # the anchor's /run is a tmpfs
        "--unsafe-no-fsync",
        f"--listen-client-urls={_ETCD}",
        f"--advertise-client-urls={_ETCD}",
        "--listen-peer-urls=http://127.0.0.1:2380",
        "--log-level=warn",
    ]


def _api_server(
    binaries: Binaries,
    credentials: Credentials,
    *,
    port: int = PORT,
    etcd_prefix: str = "/registry",
) -> list[str]:
    return [
        str(binaries.kube_apiserver),
        f"--etcd-servers={_ETCD}",
        f"--etcd-prefix={etcd_prefix}",
        f"--bind-address={API_SERVER_IP}",
        f"--advertise-address={API_SERVER_IP}",
        f"--secure-port={port}",
        f"--tls-cert-file={credentials.certificate}",
        f"--tls-private-key-file={credentials.key}",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-signing-key-file={credentials.service_account_key}",
        f"--service-account-key-file={credentials.service_account_public_key}",
        f"--token-auth-file={credentials.tokens}",
        "--authorization-mode=RBAC",
        f"--service-cluster-ip-range={SERVICE_NETWORK_V4},{SERVICE_NETWORK_V6}",
        # Pods are reported by a stub and mount nothing: no need to wait for their ServiceAccount.
        "--disable-admission-plugins=ServiceAccount",
        "--allow-privileged=true",
        *feature_gates(binaries.kube_apiserver),
    ]


def _controller_manager(
    binaries: Binaries, kubeconfig: Path, credentials: Credentials, node_grace_s: float
) -> list[str]:
    if binaries.kube_controller_manager is None:
        raise LabError("the lab needs kube-controller-manager, not among the binaries given")
    return [
        str(binaries.kube_controller_manager),
        f"--kubeconfig={kubeconfig}",
        f"--controllers={','.join(_CONTROLLERS)}",
        "--leader-elect=false",
        "--bind-address=127.0.0.1",
        f"--root-ca-file={credentials.certificate}",
        f"--cluster-cidr={POD_NETWORK_V4},{POD_NETWORK_V6}",
        f"--node-monitor-grace-period={node_grace_s:g}s",
        f"--node-monitor-period={max(0.2, node_grace_s / 10):g}s",
        *feature_gates(binaries.kube_controller_manager),
    ]
