"""How each kind of fault is done to a cluster, and undone."""

import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from ipaddress import ip_address

from extip.api.names import heartbeat_lease
from extip.net import frames
from tests.lab.api import GROUP, ApiStatusError
from tests.lab.api_proxy import PROXY_PORT
from tests.lab.errors import LabError
from tests.lab.extip import MARK
from tests.lab.network import ROUTER, Cut, Segment, lan_mac
from tests.lab.node import Node
from tests.lab.silence import silenced
from tests.lab.wait import wait_until
from tests.soak.cluster import SoakCluster
from tests.soak.policy.plan import Planned

_LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases"
_DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
_FARTHEST_CLOCK_S = 7200.0
_ETH_P_ARP = 0x0806

Act = Callable[[SoakCluster, str], object]


@dataclass(slots=True, kw_only=True)
class Fault:
    """A fault that has begun: whom it concerns, and what is needed to undo it."""

    planned: Planned
    begin_s: float = field(default_factory=time.monotonic)
    end_s: float = float("inf")
    led: bool = False
    """Whether it hits the scheduler that led."""
    _undo: AbstractContextManager[None] | None = None

    def begin(self, cluster: SoakCluster) -> None:
        """Do it."""
        planned = self.planned
        if planned.kind.cuts_scheduler:
            self.led = any(cluster.leads(name) for name in planned.concerned)
        self.begin_s = time.monotonic()
        self._undo = _while(cluster, planned)
        if self._undo is not None:
            self._undo.__enter__()
        else:
            _ACTS[planned.kind.name][0](cluster, planned.target)

    def end(self, cluster: SoakCluster) -> None:
        """Undo it; returns when that is done."""
        if self._undo is not None:
            self._undo.__exit__(None, None, None)
        else:
            _ACTS[self.planned.kind.name][1](cluster, self.planned.target)
        self.end_s = time.monotonic()


def _nothing(_cluster: SoakCluster, _target: str) -> None:
    """Undo what undid itself."""


def _kill(cluster: SoakCluster, name: str) -> None:
    cluster.end_one(name, orderly=False)


def _stop(cluster: SoakCluster, name: str) -> None:
    cluster.end_one(name, orderly=True)


def _start(cluster: SoakCluster, name: str) -> None:
    cluster.start_one(name)


def _freeze(cluster: SoakCluster, name: str) -> None:
    cluster.running[name].process.freeze()


def _thaw(cluster: SoakCluster, name: str) -> None:
    cluster.running[name].process.thaw()


def _die(cluster: SoakCluster, name: str) -> None:
    for program in cluster.on_node(name):
        cluster.ended_by_us.add(cluster.running[program].process.pid)
    cluster.lab.nodes[name].die()


def _revive(cluster: SoakCluster, name: str) -> None:
    cluster.lab.nodes[name].revive()
    for program in cluster.on_node(name):
        cluster.start_one(program)


def _cut(segment: Segment, how: Cut, cluster: SoakCluster, name: str) -> None:
    cluster.lab.nodes[name].cut(segment, how=how)


def _heal(cluster: SoakCluster, name: str) -> None:
    cluster.lab.nodes[name].heal()


def _drain(cluster: SoakCluster, name: str) -> None:
    _extip(cluster, "drain", name, "--wait=1s")


def _undrain(cluster: SoakCluster, name: str) -> None:
    _extip(cluster, "drain", name, "--undo")


def _extip(cluster: SoakCluster, *args: str) -> None:
    """Run a command for people; it tells by its status what is not our question here."""
    kubeconfig = f"--kubeconfig={cluster.lab.kubeconfig}"
    cluster.lab.switch.run([sys.executable, "-m", "extip", *args, kubeconfig], check=False)


def _delete_addresses(cluster: SoakCluster, name: str) -> None:
    node = cluster.lab.nodes[name]
    for address in node.addresses("eth0"):
        if address.proto == MARK:
            command = ["ip", "addr", "del", str(address.interface), "dev", "eth0"]
            node.run(command, check=False)  # it may just have gone by itself


def _delete_lease(cluster: SoakCluster, name: str) -> None:
    _delete(cluster, f"{_LEASES}/{heartbeat_lease(name)}")


def _delete_claim(cluster: SoakCluster, ip: str) -> None:
    _delete(cluster, f"{GROUP}/ipclaims/{ip.replace('.', '-')}-32")


def _delete(cluster: SoakCluster, path: str) -> None:
    with suppress(OSError, ApiStatusError):  # the API server is away, or just back: so be it
        cluster.lab.api.request("DELETE", path)


def _delete_definition(plural: str, cluster: SoakCluster, _target: str) -> None:
    _delete(cluster, f"{_DEFINITIONS}/{plural}.ipcontroller.ext")


def _apply_definitions(cluster: SoakCluster, _target: str) -> None:
    """Apply them until that works, as a person does: the old one has to be gone."""
    command = [sys.executable, "-m", "extip", "crds", "--apply"]
    command.append(f"--kubeconfig={cluster.lab.kubeconfig}")
    wait_until(lambda: cluster.lab.switch.run(command), "definitions", poll_s=1.0)
    cluster.lab.install_definitions()


def _take(cluster: SoakCluster, ip: str) -> None:
    """Let the router have an IP: it answers for it, and says so."""
    router = cluster.lab.router
    router.run(["ip", "addr", "add", f"{ip}/32", "dev", "eth0"])
    mac = bytes.fromhex(lan_mac(ROUTER).replace(":", ""))
    with router.open_socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETH_P_ARP)) as opened:
        opened.bind(("eth0", _ETH_P_ARP))
        opened.send(frames.announcement(ip_address(ip), mac))


def _give_back(cluster: SoakCluster, ip: str) -> None:
    cluster.lab.router.run(["ip", "addr", "del", f"{ip}/32", "dev", "eth0"])


_ACTS: dict[str, tuple[Act, Act]] = {
    "controller-killed": (_kill, _start),
    "controller-restarted": (_stop, _start),
    "controller-frozen": (_freeze, _thaw),
    "node-drained": (_drain, _undrain),
    "node-cut-from-lan": (partial(_cut, "lan", "cut"), _heal),
    "node-cut-from-api": (partial(_cut, "management", "cut"), _heal),
    "node-cut-off": (
        lambda cluster, name: cluster.lab.nodes[name].cut(),
        _heal,
    ),
    "node-mute-on-lan": (partial(_cut, "lan", "mute"), _heal),
    "node-deaf-on-lan": (partial(_cut, "lan", "deaf"), _heal),
    "node-mute-to-api": (partial(_cut, "management", "mute"), _heal),
    "node-deaf-to-api": (partial(_cut, "management", "deaf"), _heal),
    "node-loses-frames-to-api": (partial(_cut, "management", "lossy"), _heal),
    "carrier-lost": (
        lambda cluster, name: cluster.lab.nodes[name].carrier_down(),
        lambda cluster, name: cluster.lab.nodes[name].carrier_up(),
    ),
    "node-died": (_die, _revive),
    "address-deleted": (_delete_addresses, _nothing),
    "interface-flushed": (
        lambda cluster, name: cluster.lab.nodes[name].flush_lan(),
        lambda cluster, name: cluster.lab.nodes[name].address_lan(),
    ),
    "lease-deleted": (_delete_lease, _nothing),
    "claim-deleted": (_delete_claim, _nothing),
    "foreign-station": (_take, _give_back),
    "scheduler-killed": (_kill, _start),
    "scheduler-restarted": (_stop, _start),
    "scheduler-frozen": (_freeze, _thaw),
    "switch-restarted": (
        lambda cluster, _: cluster.each_node(Node.carrier_down),
        lambda cluster, _: cluster.each_node(Node.carrier_up),
    ),
    "history-compacted": (lambda cluster, _: cluster.lab.etcd_compact(), _nothing),
    "claims-definition-deleted": (partial(_delete_definition, "ipclaims"), _apply_definitions),
    "nodes-definition-deleted": (partial(_delete_definition, "ipnodes"), _apply_definitions),
    "api-server-stopped": (
        lambda cluster, _: cluster.lab.api_server.stop(),
        lambda cluster, _: cluster.lab.api_server.start(),
    ),
    "api-server-frozen": (
        lambda cluster, _: cluster.lab.api_server.freeze(),
        lambda cluster, _: cluster.lab.api_server.thaw(),
    ),
}

Lasting = Callable[[SoakCluster, Planned], AbstractContextManager[None]]


@contextmanager
def _jumping(cluster: SoakCluster, planned: Planned) -> Iterator[None]:
    clock = cluster.clocks[planned.target]
    clock.shift(planned.by * _FARTHEST_CLOCK_S)
    yield
    clock.shift(0.0)


@contextmanager
def _silent(cluster: SoakCluster, planned: Planned) -> Iterator[None]:
    """Let the connections that there are fall silent; there may be none just now."""
    one = cluster.running[planned.target]
    with ExitStack() as stack:
        with suppress(LabError):
            stack.enter_context(silenced(one.host, one.process, port=PROXY_PORT))
        yield


_WHILES: dict[str, Lasting] = {
    "api-slow": lambda c, p: c.proxy.misbehaving(about=p.about, delay_s=2.0),
    "api-hangs-up": lambda c, p: c.proxy.misbehaving(about=p.about, away=True),
    "api-loses-answers": lambda c, p: c.proxy.losing_answers(about=p.about),
    "api-refuses": lambda c, p: c.proxy.misbehaving(about=p.about, status=429, retry_after_s=1),
    "watches-end": lambda c, p: c.proxy.misbehaving(about=p.about, watch_s=1.0),
    "clock-jumped": _jumping,
    "scheduler-clock-jumped": _jumping,
    "connections-died": _silent,
    "scheduler-connections-died": _silent,
}


def _while(cluster: SoakCluster, planned: Planned) -> AbstractContextManager[None] | None:
    """Return a fault that lasts for as long as a block does; None: it is one of `_ACTS`."""
    make = _WHILES.get(planned.kind.name)
    return None if make is None else make(cluster, planned)


def implemented() -> set[str]:
    """Return the names of all kinds that can be done."""
    return {*_ACTS, *_WHILES}
