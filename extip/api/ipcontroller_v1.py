"""ipcontroller.ext/v1: IpClaim, IpNode and IpClaimPool.

What each field means to a person is written once, in the schemas of `extip.api.crds`; here is what
the code must know beyond that.
"""

from extip.api.meta_v1 import Condition, FullObject, LabelSelector, Wire
from extip.api.names import MANAGED_BY, MANAGED_BY_LABEL

ACCEPTED = "Accepted"
"""Condition of an IpClaim: it can be read, and nothing forbids its IP."""
ASSIGNED = "Assigned"
"""Condition of an IpClaim: a node was chosen for it."""
UP = "Up"
"""Condition of an IpClaim: `status.holder` has the IP on its interface."""
CONFLICT = "Conflict"
"""Condition of an IpClaim: another station announces its IP, too."""
READY = "Ready"
"""Condition of an IpNode: it may hold claims, as the scheduler that leads concludes."""
LINK_READY = "LinkReady"
"""Condition of an IpNode: its interface can have claims, as its controller says."""
EXHAUSTED = "Exhausted"
"""Condition of an IpClaimPool: no address is free."""
OVERLAPPING = "Overlapping"
"""Condition of an IpClaimPool: it shares addresses with another pool."""


class ServiceReference(Wire, frozen=True, order=True):
    """A service that wants the IP."""

    namespace: str = ""
    name: str = ""
    uid: str = ""

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


class IpClaimSpec(Wire, frozen=True):
    """Which IP must be up, and where."""

    cidr: str = ""
    node_name: str = ""
    """Empty while no node is chosen."""
    link: str = ""
    """Empty: the interface that the controller was given."""
    services: tuple[ServiceReference, ...] | None = None
    """In order of namespace, name and uid."""


class IpClaimStatus(Wire, frozen=True):
    """Where the IP is."""

    conditions: tuple[Condition, ...] | None = None
    holder: str = ""
    """Node that has the IP up; not cleared by a move until the new node has it up."""
    link: str = ""
    since: str = ""
    """RFC 3339 in UTC: when `holder` brought it up."""


class IpClaim(FullObject, frozen=True):
    """One external IP that must be up somewhere."""

    spec: IpClaimSpec = IpClaimSpec()
    status: IpClaimStatus = IpClaimStatus()

    @property
    def managed(self) -> bool:
        """Whether the scheduler made it, and so may delete it."""
        return (self.metadata.labels or {}).get(MANAGED_BY_LABEL) == MANAGED_BY


class IpNodeSpec(Wire, frozen=True):
    """What a person wants of a node."""

    draining: bool = False
    """Move every claim away, and bring none here."""


class NodeLink(Wire, frozen=True):
    """An interface of a node."""

    name: str = ""
    mac: str = ""
    """Lower-case hexadecimal with colons; empty where there is none."""
    addresses: tuple[str, ...] | None = None
    """In CIDR form; those of the node itself, not the external ones."""
    up: bool = False
    """Up and with carrier."""


class IpNodeStatus(Wire, frozen=True):
    """What a controller says of itself when it starts and when it changes, and what follows.

    Not a heartbeat: that is its Lease. The condition `READY` is the scheduler's, and so is the
    number of claims of a node that is dead.
    """

    links: tuple[NodeLink, ...] | None = None
    version: str = ""
    claims: int = 0
    gateways: tuple[str, ...] | None = None
    """Next hops of its routing tables, but for link-local ones."""
    held: tuple[str, ...] | None = None
    """In CIDR form: external IPs that it has up though their claims went with their kind."""
    conditions: tuple[Condition, ...] | None = None


class IpNode(FullObject, frozen=True):
    """A node whose controller brings IPs up."""

    spec: IpNodeSpec = IpNodeSpec()
    status: IpNodeStatus = IpNodeStatus()


class IpClaimPoolSpec(Wire, frozen=True):
    """Addresses to give to services, and to which services."""

    cidr: str = ""
    """Its prefix length is the one that the addresses get on the interface."""
    ranges: tuple[tuple[str, ...], ...] | None = None
    """``[first, last]`` each, both included; without any, the whole of `cidr`."""
    priority: int = 0
    """Pools with the greatest one are used first."""
    auto_assign: bool = True
    """Whether services that name no pool get addresses from here."""
    namespace_selector: LabelSelector | None = None
    service_selector: LabelSelector | None = None
    node_selector: LabelSelector | None = None
    avoid_network_addresses: bool = False
    """Leave out IPv4 addresses that end in .0 or .255."""


class SetAsideAddress(Wire, frozen=True):
    """An address that another station has."""

    message: str = ""
    time: str = ""
    """RFC 3339 in UTC: when that was found out last."""


class IpClaimPoolStatus(Wire, frozen=True):
    """Derived from claims and services; never the truth itself."""

    allocated: dict[str, str] | None = None
    """IP to ``namespace/name`` of the service that has it."""
    size: int = 0
    set_aside: dict[str, SetAsideAddress] | None = None
    """IPs that are not given for a while."""
    free: int = 0
    """Like `size`, no more than 2^63-1, which a pool of IPv6 addresses easily has."""
    conditions: tuple[Condition, ...] | None = None


class IpClaimPool(FullObject, frozen=True):
    """External IPs to give to services that ask for any."""

    spec: IpClaimPoolSpec = IpClaimPoolSpec()
    status: IpClaimPoolStatus = IpClaimPoolStatus()
