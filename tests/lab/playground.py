"""extip at work in a lab, for a person to play with: all its programs, a pool, and a service."""

import sys
from functools import partial
from pathlib import Path

from tests.lab.cluster import Lab
from tests.lab.extip import Extip
from tests.lab.network import external_v4, external_v6
from tests.lab.wait import wait_until

_POOL = {
    "apiVersion": "ipcontroller.ext/v1",
    "kind": "IpClaimPool",
    "metadata": {"name": "edge"},
    "spec": {
        "networks": [
            {"cidr": "10.88.1.0/24", "ranges": [[external_v4(99), external_v4(198)]]},
            {"cidr": "fd00:88::1:0/112", "ranges": [[external_v6(0x100), external_v6(0x1FF)]]},
        ]
    },
}


class Playground:
    """A controller on each node and a scheduler; service `web` answers at addresses of a pool."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self.ips: list[str] = []
        """The addresses of the service, IPv4 first."""

    def start(self) -> None:
        """Return once the service answers."""
        lab = self._lab
        lab.install_definitions()
        for node in lab.nodes.values():
            Extip(node, "controller", "--hb=1s", kubeconfig=lab.kubeconfig)
        flags = ("--leader-elect", "--monitor=2s")
        Extip(lab.switch, "scheduler", *flags, kubeconfig=lab.kubeconfig)
        lab.apply(_POOL)
        lab.add_service("web", spec={"type": "LoadBalancer", "ipFamilyPolicy": "RequireDualStack"})
        self.ips = wait_until(partial(self._given, "web"), "addresses of the service", timeout=60)
        for ip in self.ips:
            lab.wait_for_http(ip)

    def text(self) -> str:
        """Return what a person may try; each line that is indented by four is a command."""
        lab, (v4, v6) = self._lab, self.ips
        extip = Path(sys.executable).parent / "extip"
        client = f"{enter(lab.client.holder_pid)} curl --silent --globoff"
        return f"""
Service web has {v4} and {v6} from pool edge.

1. Ask for it from the client on the LAN. The answer is the node of the pod:
    {client} http://{v4}/
    {client} 'http://[{v6}]/'
2. See where the IPs are, and why there:
    {extip} status
    kubectl get ipclaims
3. Take a node out of service, and back:
    {extip} drain n1
    {extip} drain --undo n1
4. Make a service of your own, which gets an address of the pool:
    kubectl create service loadbalancer backend --tcp=81:8080
    kubectl get service backend
5. Cut a node's cable, see its IPs move, and mend it:
    {enter(lab.switch.holder_pid)} ip link set n2-lan down
    {extip} status
    {enter(lab.switch.holder_pid)} ip link set n2-lan up
"""

    def _given(self, name: str) -> list[str]:
        status = self._lab.api.get(f"/api/v1/namespaces/default/services/{name}")["status"]
        ips = [way["ip"] for way in status["loadBalancer"].get("ingress", [])]
        return ips if len(ips) == 2 else []


def enter(pid: int) -> str:
    """Return the command that enters a host of the lab."""
    return f"nsenter --all --preserve-credentials --target {pid}"
