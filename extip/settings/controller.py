"""The settings of `extip controller`."""

from dataclasses import dataclass
from socket import gethostname
from typing import Literal

from extip.api.names import is_node_name
from extip.errors import ConfigurationError
from extip.settings.address import AddressSettings
from extip.settings.flags import (
    DURATION,
    TEXT,
    choice,
    flag,
)
from extip.settings.process import (
    instance_flag,
    namespace_flag,
)

OnApiLoss = Literal["hold", "release"]


LIFETIME_END_S = 1.0
"""The kernel removes an address within a second of the end of its lifetime."""


MIN_HEARTBEAT_S = 0.05
"""More often than this, heartbeats burn the processors of the API server and nothing is gained."""


def _own_node() -> str:
    """Return the name of this host as Kubernetes names nodes."""
    return gethostname().lower()


@dataclass(frozen=True, slots=True, kw_only=True)
class ControllerSettings(AddressSettings):
    """`extip controller`."""

    heartbeat_s: float = flag(
        "--hb", DURATION, "2s", "How often heartbeats are sent.", at_least=MIN_HEARTBEAT_S
    )
    node: str = flag(
        "--hostname",
        TEXT,
        _own_node,
        "Name of this node; dots are allowed. Two live controllers cannot have the same.",
        shown="the operating system's",
    )
    drain_timeout_s: float = flag(
        "--drain-timeout",
        DURATION,
        "5s",
        "When an IP moves or the controller stops, keep it so long for its next holder.",
    )
    on_api_loss: OnApiLoss = flag(
        "--on-api-loss",
        choice("hold", "release"),
        "hold",
        "While the API server does not answer: keep the IPs and make way for a node that announces"
        " them, or leave them to their TTL.",
    )
    instance: str = instance_flag()
    namespace: str = namespace_flag("Where its heartbeat Lease is.")

    def __post_init__(self) -> None:
        """Raise ConfigurationError for values that cannot work, alone or together."""
        AddressSettings.__post_init__(self)
        if not is_node_name(self.node):
            raise ConfigurationError(
                f"--hostname: {self.node!r} cannot name a node; lower-case letters, digits, dots "
                "and hyphens can"
            )
        if self.lifetime_s < 2 * self.heartbeat_s:
            # `cache_valid_s` is then longer than a heartbeat, its jitter and a slow answer.
            raise ConfigurationError(
                "--address-ttl must be at least two heartbeats (--hb): between them addresses "
                "would end, and what is known of the claims count as out of date"
            )

    @property
    def default_lifetime_s(self) -> float:
        """`lifetime_s` where nothing is said of it."""
        return 3 * self.heartbeat_s

    @property
    def lease_s(self) -> float:
        """For how long after a heartbeat nobody else can have been given this node's IPs.

        Two heartbeats, since no scheduler gives up on a node earlier, whatever its `--monitor` is.
        Whoever releases wants to be the only one without looking at the wire: then schedulers wait
        until its addresses have surely ended.
        """
        end_s = self.lifetime_s + LIFETIME_END_S
        return max(2 * self.heartbeat_s, end_s if self.on_api_loss == "release" else 0.0)

    @property
    def cache_valid_s(self) -> float:
        """How long the cached claims stay valid without an answer from the API server, in seconds.

        No other node takes over before two heartbeats are missed.
        """
        return min(self.cache_valid_at_most_s, max(2 * self.heartbeat_s, 1.0))

    @property
    def cache_valid_at_most_s(self) -> float:
        """How long they stay so when the API server is slow, in seconds.

        Within two thirds of its lifetime no address can have run out unseen, since it is refreshed
        three times in it. So none is added from old knowledge, however long this process was
        frozen.
        """
        return self.lifetime_s * 2 / 3
