"""The settings of every mode that puts addresses on an interface."""

from dataclasses import dataclass
from math import ceil
from typing import Literal

from extip.errors import ConfigurationError
from extip.net.link_selection import LinkSelection
from extip.net.networks import IPNetwork
from extip.services.policy.permissions import Permissions
from extip.services.policy.requests import Masks
from extip.settings.flags import (
    BOOLEAN,
    DURATION,
    TEXT,
    WHOLE_SECONDS,
    choice,
    flag,
    optional_flag,
)
from extip.settings.process import (
    ProcessSettings,
    allow_cidr_flag,
    mask_flag,
    mask_v6_flag,
)

OnExit = Literal["release", "keep"]


MIN_ADDRESS_TTL_S = 3
"""Below this the kernel's one-second resolution and a busy node would make addresses blink."""


MIN_RESYNC_S = 0.1
"""A resync reads every address of the node; more often than this it only burns the processor."""


MIN_PROBE_S, MAX_PROBE_S = 0.02, 60.0
"""A busy station needs some milliseconds to answer; RFC 5227 itself waits for less than 10 s."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AddressSettings(ProcessSettings):
    """The settings of every mode that puts addresses on an interface."""

    iface: str = flag(
        "--iface",
        TEXT,
        "eth0",
        "Interface that IPs are put on: a name, a pattern (eth*), or auto (the one whose subnet "
        "contains the IP). May be repeated, and separated by commas; the first ones are preferred.",
        joined=True,
    )
    mask: int | None = mask_flag("IPs")
    mask_v6: int | None = mask_v6_flag("IPs")
    resync_s: float = flag(
        "--resync",
        DURATION,
        "20s",
        "How often the state of all IPs is compared anew.",
        at_least=MIN_RESYNC_S,
    )
    address_ttl_s: int | None = optional_flag(
        "--address-ttl",
        WHOLE_SECONDS,
        "The kernel removes the addresses this long after extip died or hung.",
        shown="two resyncs; of a controller: three heartbeats",
        at_least=MIN_ADDRESS_TTL_S,
    )
    probe_s: float = flag(
        "--probe",
        DURATION,
        "200ms",
        "A new IP comes up when no other station said for so long that it has it; 0s: ask nobody.",
    )
    on_exit: OnExit = flag(
        "--on-exit",
        choice("release", "keep"),
        "release",
        "On an orderly stop: remove the addresses, or leave them to their TTL.",
    )
    close_other_ports: bool = flag(
        "--close-other-ports",
        BOOLEAN,
        "",
        "Have external IPs answer at ports of their services alone, and not at the node's own.",
    )
    allow_cidr: tuple[IPNetwork, ...] = allow_cidr_flag("Bring up only")

    @property
    def links(self) -> LinkSelection:
        """The interfaces that `iface` selects."""
        return LinkSelection.parse(self.iface)

    @property
    def masks(self) -> Masks:
        """The prefix lengths of both families."""
        return Masks.from_flags(v4=self.mask, v6=self.mask_v6)

    @property
    def permissions(self) -> Permissions:
        """The external IPs that the services of each namespace may ask for."""
        return Permissions.of(self.allow_cidr)

    @property
    def default_lifetime_s(self) -> float:
        """`lifetime_s` where nothing is said of it."""
        return 2 * self.resync_s

    @property
    def lifetime_s(self) -> int:
        """Valid lifetime of each address in the kernel, which counts whole seconds."""
        if self.address_ttl_s is not None:
            return self.address_ttl_s
        return ceil(max(self.default_lifetime_s, MIN_ADDRESS_TTL_S))

    @property
    def refresh_s(self) -> float:
        """How often lifetimes are started anew: two refreshes may fail before one runs out."""
        return self.lifetime_s / 3

    def __post_init__(self) -> None:
        """Raise ConfigurationError for values that cannot work, alone or together."""
        ProcessSettings.__post_init__(self)
        try:
            LinkSelection.parse(self.iface)
        except ValueError as error:
            raise ConfigurationError(f"--iface: {error}") from None
        if self.probe_s and not MIN_PROBE_S <= self.probe_s <= MAX_PROBE_S:
            raise ConfigurationError(
                f"--probe must be 0s, or {MIN_PROBE_S * 1000:.0f} ms to {MAX_PROBE_S:.0f} s"
            )
