"""The reasons for which an IP stays down, for machines and for people. Pure."""

from dataclasses import dataclass
from enum import StrEnum

NOT_ALLOCATED = "AddressNotAllocated"
"""Reason of the Event on a service that waits for an address from a pool."""

MISUNDERSTOOD = "AnnotationNotUnderstood"
"""Reason of the Event on a service with an annotation that extip cannot interpret."""


class Reason(StrEnum):
    """Why an IP is not brought up; the value is the reason of Events and metrics."""

    MALFORMED = "MalformedAddress"
    UNSPECIFIED = "UnspecifiedAddress"
    LOOPBACK = "LoopbackAddress"
    MULTICAST = "MulticastAddress"
    LINK_LOCAL = "LinkLocalAddress"
    RESERVED = "ReservedAddress"
    NETWORK = "NetworkAddress"
    BROADCAST = "BroadcastAddress"
    GATEWAY = "GatewayAddress"
    LOCAL = "AddressInUseLocally"
    OTHER_LINK = "AddressOnOtherLink"
    """A host route of this node says that a station behind another interface has it: a pod."""
    NO_LINK = "LinkMismatch"
    """No interface that the controller was told is one that the IP may be on."""
    NODE = "NodeAddress"
    LISTED = "NodeListsAddress"
    """A Node object or a pod has an external IP that is up. This reason alone keeps no IP down."""
    POD = "PodAddress"
    API_SERVER = "ApiServerAddress"
    CLUSTER_IP = "ClusterIPAddress"
    POD_NETWORK = "PodNetworkAddress"
    SERVICE_NETWORK = "ServiceNetworkAddress"
    NOT_ALLOWED = "AddressNotAllowed"
    OTHER_NAMESPACE = "AddressOfOtherNamespace"
    NOT_PROXIED = "ServiceNotProxied"
    """kube-proxy does not serve the service, so the node itself would answer."""
    IN_USE = "AddressInUse"
    """Another station of the segment answered the probe for it."""


TAKEN = frozenset({Reason.IN_USE, Reason.OTHER_LINK})
"""A station that is no node of this cluster has the IP."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why an IP stays down, for a machine (`reason`) and for a person (`message`)."""

    reason: Reason
    message: str
