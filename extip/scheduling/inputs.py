"""The facts over which the scheduler decides."""

from dataclasses import dataclass

from extip.guard.policy.reserved import Reserved
from extip.scheduling.policy.snapshot import Snapshot
from extip.services.policy.requests import Requests


@dataclass(frozen=True, slots=True, kw_only=True)
class SchedulerInputs:
    """The facts of a pass, without the claims themselves."""

    rejected: Requests
    """Malformed requests for external IPs, and denied ones."""
    reserved: Reserved
    cluster: Snapshot
    steady: frozenset[str]
    """Nodes that have been alive for long enough to take part in rebalancing."""
