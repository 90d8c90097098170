"""What each mode can be told, checked when it is made; units are in the names.

The command line builds these; modes take them apart and hand plain values to components.
"""

from dataclasses import dataclass
from math import ceil
from pathlib import Path
from socket import gethostname
from typing import Literal

from extip.api.names import is_node_name
from extip.errors import ConfigurationError
from extip.plan.eligibility import Obstacle
from extip.plan.networks import IPNetwork
from extip.plan.permissions import Permissions

OnExit = Literal["release", "keep"]
OnApiLoss = Literal["hold", "release"]

MIN_ADDRESS_TTL_S = 3
"""Below this the kernel's one-second resolution and a busy node would make addresses blink."""

LIFETIME_END_S = 1.0
"""The kernel removes an address within a second of the end of its lifetime."""

MIN_RESYNC_S = 0.1
"""A resync reads every address of the node; more often than this it only burns the processor."""

MIN_MONITOR_S = 0.05
"""Shorter than this, a busy API server would make live nodes look dead."""

MIN_HEARTBEAT_S = 0.05
"""More often than this, heartbeats burn the processors of the API server and nothing is gained."""

MIN_PROBE_S, MAX_PROBE_S = 0.02, 60.0
"""A busy station needs some milliseconds to answer; RFC 5227 itself waits for less than 10 s."""

_NAMESPACE_FILE = "/var/run/secrets/kubernetes.io/serviceaccount/namespace"

_IFNAMSIZ = 15
"""Longest name of an interface, without the terminating NUL (linux/if.h)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AddressSettings:
    """The address half, the same in every mode that puts addresses on an interface."""

    iface: str
    """Interface that the addresses are put on."""
    mask: int
    """Prefix length of IPv4 addresses."""
    mask_v6: int
    """Prefix length of IPv6 addresses."""
    resync_s: float
    """How often everything is compared anew, whether or not anything was seen to change."""
    address_ttl_s: int
    """Valid lifetime of each address in the kernel: if this process dies or hangs, the kernel
    itself removes the addresses at its end. Whole seconds, as the kernel counts them."""
    on_exit: OnExit
    """On an orderly stop: remove the addresses, or leave them to their TTL for a successor."""
    allow_cidrs: tuple[IPNetwork, ...]
    """External IPs outside of these are refused; empty allows all."""
    probe_s: float
    """How long other stations are given to say that they have a new IP; 0: nobody is asked."""

    @property
    def refresh_s(self) -> float:
        """How often lifetimes are started anew: two refreshes may fail before one runs out."""
        return self.address_ttl_s / 3

    def __post_init__(self) -> None:
        """Raise ConfigurationError for values that cannot work, alone or together."""
        name = self.iface
        if not 0 < len(name) <= _IFNAMSIZ or "/" in name or any(c.isspace() for c in name):
            raise ConfigurationError(f"--iface: {name!r} cannot be the name of an interface")
        if self.resync_s < MIN_RESYNC_S:
            raise ConfigurationError(f"--resync must be at least {MIN_RESYNC_S} s")
        if self.address_ttl_s < MIN_ADDRESS_TTL_S:
            raise ConfigurationError(f"--address-ttl must be at least {MIN_ADDRESS_TTL_S} s")
        if self.probe_s and not MIN_PROBE_S <= self.probe_s <= MAX_PROBE_S:
            raise ConfigurationError(
                f"--probe must be 0s, or {MIN_PROBE_S * 1000:.0f} ms to {MAX_PROBE_S:.0f} s"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class SimpleSettings:
    """`extip simple`."""

    address: AddressSettings
    kubeconfig: str
    """Path; empty means the pod's own ServiceAccount."""
    namespace_selector: str
    service_selector: str
    permissions: Permissions
    """Which external IPs the services of each namespace may ask for."""
    http: tuple[str, int] | None
    """Where /metrics, /livez and /readyz are served; None for nowhere."""


def simple_settings(  # noqa: PLR0913 - one argument per flag
    *,
    iface: str,
    mask: int,
    mask_v6: int,
    resync: float,
    address_ttl: float | None,
    on_exit: OnExit,
    allow_cidr: tuple[IPNetwork, ...],
    allow: tuple[tuple[str, IPNetwork], ...],
    probe: float,
    kubeconfig: str,
    namespace_selector: str,
    service_selector: str,
    http: tuple[str, int] | None,
) -> SimpleSettings:
    """Build the settings of `extip simple` from its flags; durations are in seconds.

    Without `address_ttl`, addresses live for two resyncs. Raises ConfigurationError.
    """
    permissions = Permissions.of(allow_cidr, allow)
    return SimpleSettings(
        address=AddressSettings(
            iface=iface,
            mask=mask,
            mask_v6=mask_v6,
            resync_s=resync,
            address_ttl_s=ceil(max(2 * resync, MIN_ADDRESS_TTL_S))
            if address_ttl is None
            else ceil(address_ttl),
            on_exit=on_exit,
            allow_cidrs=permissions.networks(),
            probe_s=probe,
        ),
        kubeconfig=kubeconfig,
        namespace_selector=namespace_selector,
        service_selector=service_selector,
        permissions=permissions,
        http=http,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ControllerSettings:
    """`extip controller`."""

    address: AddressSettings
    kubeconfig: str
    node: str
    """Name of the node: that of its IpNode and, with a prefix, of its Lease."""
    heartbeat_s: float
    """How often the Lease is renewed."""
    drain_timeout_s: float
    """How long an address is kept for the next holder to be up; 0: not at all."""
    on_api_loss: OnApiLoss
    """Without a word from the API server: keep the addresses and make way for whoever announces
    them, or leave them to their lifetime."""
    namespace: str
    """Where its Lease is."""
    http: tuple[str, int] | None

    def __post_init__(self) -> None:
        """Raise ConfigurationError for values that do not work together."""
        if self.address.address_ttl_s < 2 * self.heartbeat_s:
            # `trust_s` is then longer than a heartbeat, with its jitter and a slow answer to it.
            raise ConfigurationError(
                "--address-ttl must be at least two heartbeats (--hb): between them addresses "
                "would end, and what is known of the claims count as out of date"
            )

    @property
    def lease_s(self) -> float:
        """For how long after a heartbeat nobody else can have been given this node's IPs.

        Two heartbeats, since no scheduler gives up on a node earlier, whatever its `--monitor` is.
        Whoever releases wants to be the only one without looking at the wire: then schedulers wait
        until its addresses have surely ended.
        """
        lifetime_s = self.address.address_ttl_s + LIFETIME_END_S
        return max(2 * self.heartbeat_s, lifetime_s if self.on_api_loss == "release" else 0.0)

    @property
    def trust_s(self) -> float:
        """How long what is known of the claims may be acted on without a word from the API server.

        Before two heartbeats are missed nobody else takes over. And within two thirds of their
        lifetime no address can have run out unseen, since they are refreshed three times in it: so
        none is added from old knowledge, however long this process was frozen.
        """
        return min(self.address.address_ttl_s * 2 / 3, max(2 * self.heartbeat_s, 1.0))


def controller_settings(  # noqa: PLR0913 - one argument per flag
    *,
    iface: str,
    mask: int,
    mask_v6: int,
    resync: float,
    address_ttl: float | None,
    on_exit: OnExit,
    allow_cidr: tuple[IPNetwork, ...],
    probe: float,
    kubeconfig: str,
    hb: float,
    hostname: str,
    drain_timeout: float,
    on_api_loss: OnApiLoss,
    namespace: str,
    http: tuple[str, int] | None,
) -> ControllerSettings:
    """Build the settings of `extip controller` from its flags; durations are in seconds.

    Without `address_ttl`, addresses live for three heartbeats, at least 3 s. Without `hostname`,
    the operating system's is taken, in lower case as Kubernetes names nodes. Raises
    ConfigurationError.
    """
    if hb < MIN_HEARTBEAT_S:
        raise ConfigurationError(f"--hb must be at least {MIN_HEARTBEAT_S:g} s")
    node = hostname or gethostname().lower()
    if not is_node_name(node):
        raise ConfigurationError(
            f"--hostname: {node!r} cannot name a node; lower-case letters, digits, dots and "
            "hyphens can"
        )
    return ControllerSettings(
        address=AddressSettings(
            iface=iface,
            mask=mask,
            mask_v6=mask_v6,
            resync_s=resync,
            address_ttl_s=ceil(max(3 * hb, MIN_ADDRESS_TTL_S))
            if address_ttl is None
            else ceil(address_ttl),
            on_exit=on_exit,
            allow_cidrs=allow_cidr,
            probe_s=probe,
        ),
        kubeconfig=kubeconfig,
        node=node,
        heartbeat_s=hb,
        drain_timeout_s=drain_timeout,
        on_api_loss=on_api_loss,
        namespace=namespace or own_namespace(),
        http=http,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class SchedulerSettings:
    """`extip scheduler`."""

    kubeconfig: str
    mask: int
    mask_v6: int
    nodefilter: Literal["fair", "first-alive"]
    """How claims are spread over controllers."""
    monitor_s: float
    """A controller is dead when its last heartbeat is longer ago; never less than two of its
    heartbeats."""
    rebalance_after_s: float
    """A node must have been alive for so long before claims of others are moved to it; 0: never."""
    ignored_rules: frozenset[Obstacle]
    """What does not keep a node from holding claims."""
    permissions: Permissions
    """Which external IPs the services of each namespace may ask for, and pools give."""
    lb_class: str
    """Load balancers of exactly this class get addresses; empty: those without a class."""
    namespace: str
    """Where the heartbeat Leases of the controllers are."""
    leader_elect: bool
    lease_duration_s: float
    renew_deadline_s: float
    retry_period_s: float
    lease_name: str
    lease_namespace: str
    http: tuple[str, int] | None


def scheduler_settings(  # noqa: PLR0913 - one argument per flag
    *,
    kubeconfig: str,
    mask: int,
    mask_v6: int,
    nodefilter: Literal["fair", "first-alive"],
    monitor: float,
    rebalance_after: float,
    ignore_rule: tuple[str, ...],
    allow_cidr: tuple[IPNetwork, ...],
    allow: tuple[tuple[str, IPNetwork], ...],
    lb_class: str,
    namespace: str,
    leader_elect: bool,
    leader_elect_lease_duration: float,
    leader_elect_renew_deadline: float,
    leader_elect_retry_period: float,
    leader_elect_resource_name: str,
    leader_elect_resource_namespace: str,
    http: tuple[str, int] | None,
) -> SchedulerSettings:
    """Build the settings of `extip scheduler` from its flags; durations are in seconds.

    The namespaces default to the pod's own. Raises ConfigurationError.
    """
    if monitor < MIN_MONITOR_S:
        raise ConfigurationError(f"--monitor must be at least {MIN_MONITOR_S:g} s")
    namespace = namespace or own_namespace()
    return SchedulerSettings(
        kubeconfig=kubeconfig,
        mask=mask,
        mask_v6=mask_v6,
        nodefilter=nodefilter,
        monitor_s=monitor,
        rebalance_after_s=rebalance_after,
        ignored_rules=frozenset(Obstacle(name) for name in ignore_rule),
        permissions=Permissions.of(allow_cidr, allow),
        lb_class=lb_class,
        namespace=namespace,
        leader_elect=leader_elect,
        lease_duration_s=leader_elect_lease_duration,
        renew_deadline_s=leader_elect_renew_deadline,
        retry_period_s=leader_elect_retry_period,
        lease_name=leader_elect_resource_name,
        lease_namespace=leader_elect_resource_namespace or namespace,
        http=http,
    )


def own_namespace() -> str:
    """Return the namespace of the pod that this process runs in, or ``kube-system``."""
    try:
        return Path(_NAMESPACE_FILE).read_text().strip() or "kube-system"
    except OSError:
        return "kube-system"
