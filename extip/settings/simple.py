"""The settings of `extip simple`."""

from dataclasses import dataclass

from extip.errors import ConfigurationError
from extip.net.networks import IPNetwork
from extip.services.policy.permissions import Permissions
from extip.settings.address import AddressSettings
from extip.settings.flags import (
    SELECTOR,
    SWITCH,
    TEXT,
    flag,
)
from extip.settings.process import (
    allow_flag,
    instance_flag,
    namespace_flag,
    without_endpoints_flag,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SimpleSettings(AddressSettings):
    """`extip simple`."""

    allow: tuple[tuple[str, IPNetwork], ...] = allow_flag()
    namespace_selector: str = flag(
        "--namespace-selector",
        SELECTOR,
        "",
        "Only services in namespaces with these labels, for example 'edge=yes,tier!=test'.",
        metavar="LABELS",
    )
    service_selector: str = flag(
        "--service-selector", SELECTOR, "", "Only services with these labels.", metavar="LABELS"
    )
    load_balancers: bool = flag(
        "--load-balancers",
        SWITCH,
        "",
        "Also bring up the addresses in status.loadBalancer of Services of type LoadBalancer, and"
        " give them addresses of IpClaimPools where there are any.",
    )
    lb_class: str = flag(
        "--lb-class",
        TEXT,
        "",
        "With --load-balancers: only Services of exactly this class.",
        shown="those without a class",
    )
    without_endpoints: str = without_endpoints_flag()
    namespace: str = namespace_flag("Where the Lease is that --load-balancers elects one with.")
    instance: str = instance_flag()
    dry_run: bool = flag(
        "--dry-run", SWITCH, "", "Print what would be added and removed; change nothing."
    )

    def __post_init__(self) -> None:
        """Raise ConfigurationError for values that cannot work, alone or together."""
        AddressSettings.__post_init__(self)
        if self.lb_class and not self.load_balancers:
            raise ConfigurationError("--lb-class means nothing without --load-balancers: add it")

    @property
    def balanced_class(self) -> str | None:
        """The class of the load balancers whose addresses come up; None: those of none."""
        return self.lb_class if self.load_balancers else None

    @property
    def permissions(self) -> Permissions:
        """The external IPs that the services of each namespace may ask for."""
        return Permissions.of(self.allow_cidr, self.allow)
