"""A node: its interfaces, its pods' network, what Kubernetes runs on it, its faults."""

import http.client
import json
import os
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.lab.anchor import Anchor, python
from tests.lab.api import PORT
from tests.lab.binaries import Binaries
from tests.lab.control_plane import feature_gates
from tests.lab.daemon import Daemon
from tests.lab.errors import LabError
from tests.lab.host import Host
from tests.lab.network import (
    API_SERVER_IP,
    FIRST_NODE,
    POD_NETWORK_V4,
    POD_NETWORK_V6,
    QUIET,
    ROUTER,
    Cut,
    Port,
    Segment,
    Switch,
    forwarding,
    lan_mac,
    lan_v4,
    lan_v6,
    management_mac,
    management_v4,
    pod_v4,
    pod_v6,
)
from tests.lab.objects import BACKEND_PORT
from tests.lab.wait import wait_until

# What a kubelet sets up for kube-proxy; without it, `externalTrafficPolicy: Local` resets
# connections instead of dropping them.
_KUBELET_RULES = """
*nat
:KUBE-MARK-DROP - [0:0]
-A KUBE-MARK-DROP -j MARK --set-xmark 0x8000/0x8000
COMMIT
*filter
:INPUT ACCEPT
:OUTPUT ACCEPT
:KUBE-FIREWALL - [0:0]
-A KUBE-FIREWALL -m mark --mark 0x8000/0x8000 -j DROP
-A INPUT -j KUBE-FIREWALL
-A OUTPUT -j KUBE-FIREWALL
COMMIT
*mangle
COMMIT
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSettings:
    """What all nodes of a lab share."""

    count: int
    ip_forward: bool
    node_grace_s: float
    token: str
    certificate: Path
    kubeconfig: Path


class Node(Host):
    """A node of the cluster, `eth0` on the LAN, `mgmt0` to the API server, `pods0` to its pods."""

    interface = "eth0"

    def __init__(
        self,
        anchor: Anchor,
        switch: Switch,
        number: int,
        binaries: Binaries,
        settings: NodeSettings,
    ) -> None:
        super().__init__(anchor, f"n{number}", QUIET | forwarding(on=settings.ip_forward))
        address = FIRST_NODE - 1 + number
        self.number = number
        self.ip, self.ip6 = lan_v4(address), lan_v6(address)
        self.mac = lan_mac(address)
        self.pod_ip, self.pod_ip6 = pod_v4(number), pod_v6(number)
        self.ports: dict[Segment, Port] = {
            "lan": Port(host=self.name, segment="lan", interface="eth0", mac=self.mac),
            "management": Port(
                host=self.name, segment="management", interface="mgmt0", mac=management_mac(address)
            ),
        }
        self.pods = Host(anchor, f"{self.name}-pods", QUIET)
        self._switch = switch
        self._settings = settings
        self._address = address
        self.kubelet = Daemon(self, "kubelet", self._kubelet())
        self.kube_proxy = Daemon(
            self, "kube-proxy", self._kube_proxy(binaries), ready=self._proxy_is_healthy
        )
        backend = python("backend.py", self.name, str(BACKEND_PORT))
        self.backend = Daemon(
            self.pods, "backend", backend, ready=lambda: self._answers(self.pods, self.pod_ip)
        )
        """Answers at the node's pod addresses."""
        self.host_backend = Daemon(
            self, "backend", backend, ready=lambda: self._answers(self, self.ip)
        )
        """Answers at the node's own addresses, for pods on the host network."""

    def _kubelet(self) -> list[str]:
        settings = {
            "server": f"{API_SERVER_IP}:{PORT}",
            "token": self._settings.token,
            "certificate": str(self._settings.certificate),
            "node": self.name,
            "node_ips": [self.ip, self.ip6],
            "pod_ips": [self.pod_ip, self.pod_ip6],
            "heartbeat_s": min(10.0, self._settings.node_grace_s / 4),
        }
        return python("kubelet.py", json.dumps(settings))

    def _kube_proxy(self, binaries: Binaries) -> list[str | Path]:
        if binaries.kube_proxy is None:
            raise LabError("the lab needs kube-proxy, which is not among the binaries given")
        return [
            binaries.kube_proxy,
            f"--kubeconfig={self._settings.kubeconfig}",
            f"--hostname-override={self.name}",
            "--proxy-mode=iptables",
            f"--cluster-cidr={POD_NETWORK_V4},{POD_NETWORK_V6}",
            "--conntrack-max-per-core=0",  # nf_conntrack_max belongs to the initial namespace
            *feature_gates(binaries.kube_proxy),
        ]

    def _proxy_is_healthy(self) -> bool:
        with self.connect("127.0.0.1", 10256, 2.0) as connection:
            connection.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
            response = http.client.HTTPResponse(connection)
            try:
                response.begin()
            except http.client.HTTPException:
                return False
            return response.status == http.HTTPStatus.OK

    @staticmethod
    def _answers(host: Host, ip: str) -> bool:
        return bool(host.http_get(ip, BACKEND_PORT))

    # The network.

    def plug_in(self) -> None:
        """Make the interfaces, once; `configure` gives them their addresses."""
        self._switch.plug(list(self.ports.values()))
        self._switch.batch(
            [f"link add pods0 netns {self.name} type veth peer name eth0 netns {self.pods.name}"]
        )
        self._switch.batch(
            [
                "link set lo up",
                "link set eth0 up",
                f"addr add {self.pod_ip}/24 dev eth0",
                f"addr add {self.pod_ip6}/64 dev eth0",
                f"route replace default via {self._gateway_v4}",
                f"route replace default via {self._gateway_v6}",
            ],
            host=self.pods.name,
        )

    @property
    def _gateway_v4(self) -> str:
        return f"10.244.{self.number}.1"

    @property
    def _gateway_v6(self) -> str:
        return f"fd00:244:{self.number}::1"

    def configure(self) -> None:
        """Give the interfaces their addresses and routes, as at boot, and the kubelet's rules."""
        self._switch.batch(
            [
                "link set lo up",
                "link set eth0 up",
                "link set mgmt0 up",
                "link set pods0 up",
                f"addr add {management_v4(self._address)}/24 dev mgmt0",
                f"addr add {self._gateway_v4}/24 dev pods0",
                f"addr add {self._gateway_v6}/64 dev pods0",
            ],
            host=self.name,
        )
        self.address_lan()
        for command in ("iptables-restore", "ip6tables-restore"):
            self.run([command], stdin=_KUBELET_RULES)

    def address_lan(self) -> None:
        """Give the interface on the LAN, which has none, its addresses and routes."""
        self._switch.batch(
            [
                f"addr add {self.ip}/16 dev eth0",
                f"addr add {self.ip6}/64 dev eth0",
                f"route replace default via {lan_v4(ROUTER)}",
                f"route replace default via {lan_v6(ROUTER)}",
                *self._routes_to_other_pods(),
            ],
            host=self.name,
        )

    def _routes_to_other_pods(self) -> list[str]:
        commands = []
        for number in range(1, self._settings.count + 1):
            if number != self.number:
                via = FIRST_NODE - 1 + number
                commands.append(f"route replace 10.244.{number}.0/24 via {lan_v4(via)}")
                commands.append(f"route replace fd00:244:{number}::/64 via {lan_v6(via)}")
        return commands

    # Faults.

    def cut(self, *segments: Segment, how: Cut = "cut") -> None:
        """Drop the frames of its ports (default: all of them); carrier stays."""
        self._switch.cut(*self._ports(segments), how=how)

    def heal(self, *segments: Segment) -> None:
        """Undo `cut` (default: on all ports)."""
        self._switch.heal(*self._ports(segments))

    def _ports(self, segments: Sequence[Segment]) -> list[Port]:
        return [port for segment, port in self.ports.items() if not segments or segment in segments]

    def carrier_down(self, segment: Segment = "lan") -> None:
        """Take the switch side of the port down; the node's interface loses its carrier."""
        self._switch.set_carrier(self.ports[segment], up=False)

    def carrier_up(self, segment: Segment = "lan") -> None:
        self._switch.set_carrier(self.ports[segment], up=True)

    def flush_lan(self) -> None:
        """Take all addresses off the interface on the LAN, as a person or a DHCP client may."""
        self._switch.batch(["addr flush dev eth0 scope global"], host=self.name)

    def die(self) -> None:
        """Lose power: the ports go silent first, then every process of the node and its pods."""
        self.cut()
        wait_until(self._kill_all, f"all processes of {self.name} to end", poll_s=0.005)

    def _kill_all(self) -> bool:
        pids = self.all_pids() | self.pods.all_pids()
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        return not pids

    def revive(self) -> None:
        """Boot after `die`: addresses and rules as at the start, then the node's own programs.

        Returns when kube-proxy is healthy. What tests had started stays dead.
        """
        flush = [f"addr flush dev {name} scope global" for name in ("eth0", "mgmt0", "pods0", "lo")]
        self._switch.batch(flush, host=self.name)
        for command in ("iptables", "ip6tables"):
            for table in ("nat", "filter", "mangle"):
                self.run([command, "-t", table, "-F"])
                self.run([command, "-t", table, "-X"])
        self.configure()
        self.run(["conntrack", "-F"], check=False)
        self.heal()
        self.launch()
        self.kube_proxy.launch()
        self.wait_ready()

    # The node's programs.

    def launch(self) -> None:
        """Start the backends and the kubelet; kube-proxy comes when the Node object is there."""
        self.backend.launch()
        self.host_backend.launch()
        self.kubelet.launch()

    def wait_ready(self) -> None:
        for daemon in (self.backend, self.host_backend, self.kube_proxy, self.kubelet):
            daemon.wait_ready()
