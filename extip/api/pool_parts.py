"""Parts of an IpClaimPool."""

from typing import Annotated

from extip.api.meta_v1 import LabelSelector, Wire
from extip.api.ranges import MAX_RANGES, PlainRange
from extip.api.schema import ATOMIC, ATOMIC_MAP, CIDR, INT32, TIME, says

MAX_NETWORKS = 64
"""Networks of a pool."""
MAX_PREFERENCES = 64
"""Weighted selectors of a pool."""


class IpClaimPoolNetwork(Wire, frozen=True):
    """One network of a pool."""

    cidr: Annotated[str, says("The network, as spec.cidr.", required=True, **CIDR)] = ""
    ranges: Annotated[
        tuple[PlainRange, ...] | None,
        says("Ranges to give addresses from, as spec.ranges.", maxItems=MAX_RANGES, **ATOMIC),
    ] = None


class PreferredNodes(Wire, frozen=True):
    """Kubernetes nodes that are better than others; shaped as a preferred scheduling term."""

    weight: Annotated[
        int, says("How much better.", required=True, minimum=1, maximum=100, **INT32)
    ] = 1
    selector: Annotated[
        LabelSelector, says("Nodes with these labels.", required=True, **ATOMIC_MAP)
    ] = LabelSelector()


class SetAsideAddress(Wire, frozen=True):
    """An address that another station has."""

    message: Annotated[str, says("Who has it.", maxLength=32768)] = ""
    time: Annotated[str, says("When that was found out last.", **TIME)] = ""


THE_CLUSTER = "the cluster itself"
"""In a pool's `status.allocated`, for the address of a node, a gateway or an API server, and for a
cluster IP."""

OPEN, DRAINING = "Open", "Draining"
"""A pool's `spec.allocation`: it gives addresses, or gets its addresses back."""

Giving = Annotated[
    str,
    says(
        "Whether the pool gives addresses (Open). Closed, it gives no new ones, and services keep "
        "theirs. Draining, services with an address of it also get one of another pool, and lose "
        "the old one drainSeconds after the new one is up.",
        enum=[OPEN, "Closed", DRAINING],
        defaulted=True,
    ),
]

DrainSeconds = Annotated[
    int,
    says(
        "How long the old and the new address answer both, while the pool is draining.",
        defaulted=True,
        minimum=0,
        **INT32,
    ),
]

Rebalancing = Annotated[
    str,
    says(
        "Whether addresses move in quiet times, to preferred nodes and to even the load out "
        "(WhenQuiet), or only when they must (Never).",
        enum=["WhenQuiet", "Never"],
        defaulted=True,
    ),
]
