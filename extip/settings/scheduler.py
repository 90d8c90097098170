"""The settings of `extip scheduler`."""

from dataclasses import dataclass

from extip.kube.instance import Instance
from extip.net.networks import IPNetwork
from extip.scheduling.policy.filters import OPTIONAL, Unfit
from extip.scheduling.policy.placement import Strategy
from extip.services.policy.permissions import Permissions
from extip.services.policy.requests import Masks
from extip.settings.flags import (
    BOOLEAN,
    DURATION,
    LISTEN,
    NAME,
    NAMESPACE,
    TEXT,
    choice,
    flag,
    repeatable_flag,
)
from extip.settings.process import (
    ProcessSettings,
    allow_cidr_flag,
    allow_flag,
    http_flag,
    instance_flag,
    mask_flag,
    mask_v6_flag,
    namespace_flag,
    without_endpoints_flag,
)

MIN_MONITOR_S = 0.05
"""Shorter than this, a busy API server would make live nodes look dead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SchedulerSettings(ProcessSettings):
    """`extip scheduler`, which may run on the network of the same node as a controller."""

    http: tuple[str, int] | None = http_flag("127.0.0.1:9190")
    mask: int | None = mask_flag("claims")
    mask_v6: int | None = mask_v6_flag("claims")
    nodefilter: Strategy = flag(
        "--nodefilter",
        choice(*Strategy),
        Strategy.FAIR,
        "How claims are spread: evenly, or all on the first controller that is alive.",
    )
    monitor_s: float = flag(
        "--monitor",
        DURATION,
        "4s",
        "A controller whose last heartbeat is longer ago is dead; at least two heartbeats.",
        at_least=MIN_MONITOR_S,
    )
    rebalance_after_s: float = flag(
        "--rebalance-after",
        DURATION,
        "60s",
        "Move claims to where --nodefilter wants them, to a node that has been alive for so long;"
        " 0s: never.",
    )
    ignored_rules: tuple[Unfit, ...] = repeatable_flag(
        "--ignore-rule",
        choice(*sorted(OPTIONAL)),
        "Give claims to a node in spite of this. Repeatable.",
    )
    without_endpoints: str = without_endpoints_flag()
    allow_cidr: tuple[IPNetwork, ...] = allow_cidr_flag("Make claims only for")
    allow: tuple[tuple[str, IPNetwork], ...] = allow_flag()
    lb_class: str = flag(
        "--lb-class",
        TEXT,
        "",
        "Give addresses to Services of type LoadBalancer with exactly this class.",
        shown="those without a class",
    )
    instance: str = instance_flag()
    namespace: str = namespace_flag("Where the controllers' heartbeat Leases are.")
    leader_elect: bool = flag(
        "--leader-elect",
        BOOLEAN,
        "",
        "Elect a leader among several schedulers; also --leader-elect=true or =false. Without it,"
        " this one decides nothing while there is another.",
    )
    lease_duration_s: float = flag(
        "--leader-elect-lease-duration",
        DURATION,
        "15s",
        "Others may lead when the leader has been silent for so long.",
    )
    renew_deadline_s: float = flag(
        "--leader-elect-renew-deadline",
        DURATION,
        "10s",
        "A leader that cannot renew for so long stops leading.",
    )
    retry_period_s: float = flag(
        "--leader-elect-retry-period",
        DURATION,
        "2s",
        "Time between two tries to take or renew the lease.",
    )
    chosen_lease_name: str = flag(
        "--leader-elect-resource-name",
        NAME,
        str,
        "Name of the Lease.",
        shown="extip-scheduler, with --instance extip-scheduler-NAME",
    )
    chosen_lease_namespace: str = flag(
        "--leader-elect-resource-namespace",
        NAMESPACE,
        "",
        "Namespace of the Lease.",
        shown="that of --namespace",
    )

    ui: tuple[str, int] | None = flag(
        "--ui",
        LISTEN,
        "",
        "Where a page is served that shows each IP as it moves, for example 127.0.0.1:9189; empty:"
        " nowhere. Read-only, without a password.",
    )

    @property
    def masks(self) -> Masks:
        """The prefix lengths of both families."""
        return Masks.from_flags(v4=self.mask, v6=self.mask_v6)

    @property
    def permissions(self) -> Permissions:
        """The external IPs that the services of each namespace may ask for, and pools may give."""
        return Permissions.of(self.allow_cidr, self.allow)

    @property
    def lease_name(self) -> str:
        """The name of the Lease that schedulers elect a leader with."""
        return self.chosen_lease_name or Instance(self.instance).lease("extip-scheduler")

    @property
    def lease_namespace(self) -> str:
        """Where the Lease is that schedulers elect a leader with."""
        return self.chosen_lease_namespace or self.namespace
