"""The facts that checks look at: plain values. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from extip.api.coordination_v1 import Lease
from extip.api.core_v1 import DetailedService
from extip.api.ipcontroller_v1 import IpNode
from extip.net.interfaces import IPAddress, IPInterface, Link

OWN_KINDS = ("ipclaims", "ipnodes", "ipclaimpools")
"""The plural names of extip's kinds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Daemon:
    """A controller or scheduler as a DaemonSet or Deployment runs it."""

    command: str
    """``controller``, ``scheduler`` or ``simple``."""
    name: str
    """``namespace/name`` of the workload."""
    namespace: str = ""
    """Where heartbeat Leases are; empty for simple mode."""
    lb_class: str = ""
    monitor_s: float = 0.0
    """0 for controllers."""
    refused: str = ""
    """The reason for which it cannot start with its flags; empty when it can."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterFacts:
    """The API server's view; what may not be read is empty, and named in `unread`."""

    now: datetime
    """This machine's wall clock when it was read."""
    version: tuple[int, int] = (0, 0)
    """Major and minor version of the API server; zeros when it is not known."""
    role: str = "person"
    denied: tuple[str, ...] = ()
    """The permissions that this account lacks for its role, such as ``list ipclaims``."""
    kinds: frozenset[str] | None = None
    """Names of all definitions, extip's own among them; None when they may not be read."""
    outdated: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Fields that this extip has and the cluster's definition has not, by its name."""
    nodes: frozenset[str] = frozenset()
    """Names of the Kubernetes nodes."""
    ip_nodes: tuple[IpNode, ...] = ()
    beats: tuple[Lease, ...] = ()
    """The heartbeats of controllers."""
    elections: Mapping[str, tuple[Lease, ...]] = field(default_factory=dict)
    """The Leases by which schedulers elect one, by the name that they should have. Each instance
    that has controllers is there, unless they may not be read."""
    services: tuple[DetailedService, ...] = ()
    daemons: tuple[Daemon, ...] = ()
    """Controllers and schedulers that run as pods."""
    others: frozenset[str] = frozenset()
    """Names and images of all other DaemonSets and Deployments."""
    proxy: str = ""
    """The configuration of kube-proxy; empty when kubeadm did not install it."""
    unread: tuple[str, ...] = ()
    """A sentence for each kind that could not be read."""

    @classmethod
    def unknown(cls) -> "ClusterFacts":
        """Return the facts of a cluster that nobody asked."""
        return cls(now=datetime.fromtimestamp(0, UTC))


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeFacts:
    """The kernel's view of this machine, for one interface."""

    iface: str
    hostname: str
    """The name that its controller has."""
    links: tuple[str, ...] = ()
    """Names of all interfaces."""
    link: Link | None = None
    """The interface; None when there is none."""
    own: tuple[IPInterface, ...] = ()
    """The addresses on it that extip did not put there."""
    held: tuple[IPAddress, ...] = ()
    """The addresses that extip put there."""
    elsewhere: Mapping[str, tuple[IPInterface, ...]] = field(default_factory=dict)
    """The addresses of other interfaces by their names."""
    capabilities: int = 0
    """The effective ones as in ``/proc/self/status``."""
    kernel: tuple[int, int] = (0, 0)
    settings: Mapping[str, int] = field(default_factory=dict)
    """Values of ``net.ipv4.conf``: the greater one of ``all`` and the interface, by name."""
    ipvs: bool = False
    """kube-proxy runs in ipvs mode here."""
    way_out: frozenset[str] = frozenset()
    """Interfaces that a default route leads to."""
    sources: Mapping[IPAddress, IPAddress] = field(default_factory=dict)
    """The sources of what this machine sends: by gateway, other node, and a station far away."""
    neighbours: int = 0
    """Stations on the interface whose MAC the kernel knows."""
    owners: Mapping[IPAddress, tuple[str, ...]] = field(default_factory=dict)
    """MACs of other stations that answered for IPs which are up here."""
    unasked: str = ""
    """The reason for which nobody was asked; empty when they were."""
