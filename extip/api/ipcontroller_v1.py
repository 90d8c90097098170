"""ipcontroller.ext/v1: IpClaim, IpNode and IpClaimPool.

The only source of their schemas, too: what each field means and may be is said beside it.
"""

from typing import Annotated

from extip.api.meta_v1 import Condition, FullObject, LabelSelector, Wire
from extip.api.names import MANAGED_BY, MANAGED_BY_LABEL
from extip.api.node_link import NodeLink
from extip.api.pool_parts import (
    MAX_NETWORKS,
    MAX_PREFERENCES,
    OPEN,
    DrainSeconds,
    Giving,
    IpClaimPoolNetwork,
    PreferredNodes,
    Rebalancing,
    SetAsideAddress,
)
from extip.api.ranges import MAX_RANGES, OF_ONE_FAMILY, Range
from extip.api.schema import (
    ATOMIC,
    ATOMIC_MAP,
    CIDR,
    INT32,
    INT64,
    LINK,
    LONGEST_CIDR,
    LONGEST_LINK,
    LONGEST_NAME,
    NODE,
    TIME,
    keyed,
    rule,
    says,
)

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


NEVER = "Never"
"""A pool's `spec.rebalance`: its addresses move only when they must."""

ONE_NODE, EVERY_NODE = "OneNode", "Everywhere"
"""A pool's `spec.placement`: how many nodes have one of its addresses up."""

ACROSS_NAMESPACES = "Cluster"
"""A pool's `spec.sharing`: services of several namespaces may share its addresses."""

MAX_SERVICES = 1024
"""Services that may share one IP."""
MAX_GATEWAYS = 256
"""Gateways that a node tells of."""
MAX_HELD = 4096
"""IPs without a claim that a node tells of."""
MAX_SILENT = 16
"""Silent nodes that a node tells of."""
MAX_REFUSED = 4096
"""IPs that a node tells that it would refuse."""
_MAX_LINKS = 4096

_FIXED = rule("self == oldSelf", "a claim is for one IP: delete it and create another")

Conditions = tuple[Condition, ...]


class ServiceReference(Wire, frozen=True, order=True):
    """A service."""

    namespace: Annotated[str, says("Its namespace.", required=True, maxLength=63)] = ""
    name: Annotated[str, says("Its name.", required=True, maxLength=63)] = ""
    uid: Annotated[str, says("Tells it from a later service of the same name.", maxLength=128)] = ""

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


class IpClaimSpec(Wire, frozen=True):
    """The IP that must be up, and its node."""

    cidr: Annotated[
        str,
        says(
            "The IP with the prefix length that it gets on the interface, such as 10.10.0.2/24.",
            required=True,
            **CIDR,
            **_FIXED,
        ),
    ] = ""
    node_name: Annotated[
        str,
        says(
            "The node whose controller brings the IP up. The scheduler sets it; on a claim made by "
            "hand it may be set by hand, and is then left alone.",
            **NODE,
        ),
    ] = ""
    """Empty while no node is chosen."""
    standby: Annotated[
        str,
        says(
            "The node that takes the IP when that of nodeName may not hold it any more. The "
            "scheduler sets it in quiet times.",
            **NODE,
        ),
    ] = ""
    """Empty while no node is chosen; see `standby_of`."""
    link: Annotated[
        str, says("The interface to use, in place of the controller's --iface.", **LINK)
    ] = ""
    services: Annotated[
        tuple[ServiceReference, ...] | None,
        says(
            "The services that want this IP. A claim that the scheduler made goes when there is "
            "none.",
            maxItems=MAX_SERVICES,
            **ATOMIC,
        ),
    ] = None
    """In order of namespace, name and uid."""
    withdrawn: Annotated[
        bool,
        says(
            "Whether its node keeps the IP down, since none of the services has a ready endpoint. "
            "The scheduler sets it, with --without-endpoints withdraw."
        ),
    ] = False


class IpClaimStatus(Wire, frozen=True):
    """Where the IP is, and what stands in its way."""

    conditions: Annotated[
        Conditions | None,
        says(
            "Accepted: nothing forbids the IP. Assigned: a node was chosen. Up: the holder has it "
            "on its interface.",
            **keyed("type"),
        ),
    ] = None
    holder: Annotated[str, says("The node that has the IP up.", **LONGEST_NAME)] = ""
    """Not cleared by a move until the new node has it up."""
    link: Annotated[str, says("The interface that it is on.", **LONGEST_LINK)] = ""
    since: Annotated[str, says("When the holder brought it up.", **TIME)] = ""


class IpClaim(FullObject, frozen=True):
    """One external IP that must be up on some node."""

    spec: Annotated[IpClaimSpec, says(required=True)] = IpClaimSpec()
    status: IpClaimStatus = IpClaimStatus()

    @property
    def managed(self) -> bool:
        """Whether the scheduler made it, and so may delete it."""
        return (self.metadata.labels or {}).get(MANAGED_BY_LABEL) == MANAGED_BY


class IpNodeSpec(Wire, frozen=True):
    """The desired state of the node."""

    draining: Annotated[bool, says("Move every IP away from this node, and bring none there.")] = (
        False
    )


class IpNodeStatus(Wire, frozen=True):
    """The report of its controller, and the verdict of the leading scheduler.

    Not a heartbeat: that is its Lease. The condition `READY` is the scheduler's, and so are
    `failed_over` and the number of claims of a node that is dead.
    """

    links: Annotated[
        tuple[NodeLink, ...] | None,
        says("Its network interfaces.", maxItems=_MAX_LINKS, **keyed("name")),
    ] = None
    version: Annotated[str, says("Version of its controller.", maxLength=64)] = ""
    claims: Annotated[int, says("IPs that it holds.", **INT32, minimum=0)] = 0
    gateways: Annotated[
        tuple[Annotated[str, says("One address.", **LONGEST_CIDR)], ...] | None,
        says(
            "Gateways in its routing tables: refused as external IPs everywhere.",
            maxItems=MAX_GATEWAYS,
            **ATOMIC,
        ),
    ] = None
    """Without link-local ones; those of default routes first."""
    held: Annotated[
        tuple[Annotated[str, says("One IP, in CIDR form.", **LONGEST_CIDR)], ...] | None,
        says(
            "IPs that it has up though there is no claim: the definition of IpClaim was deleted.",
            maxItems=MAX_HELD,
            **ATOMIC,
        ),
    ] = None
    silent: Annotated[
        tuple[Annotated[str, says("One node.", **LONGEST_NAME)], ...] | None,
        says(
            "Nodes that it watches on the segment and that do not answer any more.",
            maxItems=MAX_SILENT,
            **ATOMIC,
        ),
    ] = None
    refused: Annotated[
        tuple[Annotated[str, says("One IP, in CIDR form.", **LONGEST_CIDR)], ...] | None,
        says(
            "IPs that it would refuse, of those whose standby it is or was.",
            maxItems=MAX_REFUSED,
            **ATOMIC,
        ),
    ] = None
    failed_over: Annotated[
        dict[str, Annotated[int, says(**INT64, minimum=0)]] | None,
        says(
            "IpClaims of this node whose standbys have taken them, since the scheduler found it "
            "dead: the generation of each. It goes when each claim names its new node itself.",
            **ATOMIC_MAP,
        ),
    ] = None
    """See `is_failed_over`."""
    conditions: Annotated[
        Conditions | None,
        says(
            "Ready: it may hold IPs, as the scheduler that leads concludes from heartbeats, "
            "interface and Kubernetes node. LinkReady: its interface can have IPs, as its "
            "controller says.",
            **keyed("type"),
        ),
    ] = None


class IpNode(FullObject, frozen=True):
    """A node whose controller brings external IPs up."""

    spec: IpNodeSpec = IpNodeSpec()
    status: IpNodeStatus = IpNodeStatus()


class IpClaimPoolSpec(Wire, frozen=True):
    """The addresses of the pool, and the services that may have them."""

    cidr: Annotated[
        str,
        says(
            "The network of the addresses, for example 192.168.16.0/24. They get its prefix length "
            "on the interface. Its network and broadcast address are never given. With host bits "
            "(192.168.16.7/24) it needs ranges. Needed without networks.",
            **CIDR,
        ),
    ] = ""
    ranges: Annotated[
        tuple[Range, ...] | None,
        says(
            "Ranges to give addresses from: [first, last] each, both included. Without any, the "
            "whole of cidr. Where pools overlap, the addresses belong to the one with the higher "
            "priority, then to the first by name.",
            maxItems=MAX_RANGES,
            **ATOMIC,
        ),
    ] = None
    networks: Annotated[
        tuple[IpClaimPoolNetwork, ...] | None,
        says(
            "More networks, also of the other IP family. Their addresses are given after those of "
            "cidr, in the order of the networks.",
            maxItems=MAX_NETWORKS,
            **ATOMIC,
        ),
    ] = None
    priority: Annotated[
        int, says("Pools with a higher one are used first.", defaulted=True, **INT32)
    ] = 0
    auto_assign: Annotated[
        bool,
        says("Whether services that name no pool get addresses from this one.", defaulted=True),
    ] = True
    allocation: Giving = OPEN
    drain_seconds: DrainSeconds = 300
    sharing: Annotated[
        str,
        says(
            "Whether services of one namespace alone may share an address (Namespace), or those of "
            "several, too (Cluster). They ask for it by name, or have the same sharing key.",
            enum=["Namespace", "Cluster"],
            defaulted=True,
        ),
    ] = "Namespace"
    namespace_selector: Annotated[
        LabelSelector | None, says("Only services in namespaces with these labels.", **ATOMIC_MAP)
    ] = None
    service_selector: Annotated[
        LabelSelector | None, says("Only services with these labels.", **ATOMIC_MAP)
    ] = None
    node_selector: Annotated[
        LabelSelector | None,
        says("Only Kubernetes nodes with these labels hold the addresses.", **ATOMIC_MAP),
    ] = None
    link: Annotated[
        str,
        says("The interface for its addresses, one of the controllers' --iface.", **LINK),
    ] = ""
    preferred_nodes: Annotated[
        tuple[PreferredNodes, ...] | None,
        says(
            "Kubernetes nodes that hold the addresses while they may: those with the greatest sum "
            "of weights. While none of them may, other nodes do.",
            maxItems=MAX_PREFERENCES,
            **ATOMIC,
        ),
    ] = None
    rebalance: Rebalancing = "WhenQuiet"
    placement: Annotated[
        str,
        says(
            "Whether one node has an address up (OneNode), or each node that may (Everywhere). The "
            "latter is for lo, whose addresses a BGP daemon exports; they get their full length.",
            enum=[ONE_NODE, EVERY_NODE],
            defaulted=True,
        ),
    ] = ONE_NODE
    avoid_network_addresses: Annotated[
        bool,
        says(
            "Also leave out IPv4 addresses inside of cidr that end in .0 or .255, which some "
            "equipment takes for those of a network.",
            defaulted=True,
        ),
    ] = False

    @property
    def cidrs(self) -> tuple[str, ...]:
        """Its networks as they are written."""
        more = tuple(network.cidr for network in self.networks or ())
        return (self.cidr, *more) if self.cidr else more


class IpClaimPoolStatus(Wire, frozen=True):
    """How much of it is in use; derived from services and claims."""

    allocated: Annotated[
        dict[str, str] | None,
        says("Each address in use, with the service (namespace/name) that has it."),
    ] = None
    set_aside: Annotated[
        dict[str, SetAsideAddress] | None,
        says(
            "Addresses that another station was found to have before they came up. They are not "
            "given for 10 minutes, unless nothing else is free."
        ),
    ] = None
    size: Annotated[int, says("Addresses in all, no more than 2^63-1.", **INT64, minimum=0)] = 0
    free: Annotated[int, says("Addresses left, no more than 2^63-1.", **INT64, minimum=0)] = 0
    conditions: Annotated[
        Conditions | None,
        says(
            "Exhausted: no address is free. Overlapping: another pool has some of its addresses.",
            **keyed("type"),
        ),
    ] = None


class IpClaimPool(FullObject, frozen=True):
    """External IPs to give to services that ask for any."""

    spec: Annotated[
        IpClaimPoolSpec,
        says(
            required=True,
            anyOf=[{"required": ["cidr"]}, {"required": ["networks"]}],
            **OF_ONE_FAMILY,
        ),
    ] = IpClaimPoolSpec()
    status: IpClaimPoolStatus = IpClaimPoolStatus()
