"""Why an IP stays down: every reason there is, for machines and for people. Pure."""

from dataclasses import dataclass
from enum import StrEnum


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
    NODE = "NodeAddress"
    LISTED = "NodeListsAddress"
    """The one that keeps no IP down: a Node object or a pod has an external IP that is up."""
    POD = "PodAddress"
    API_SERVER = "ApiServerAddress"
    CLUSTER_IP = "ClusterIPAddress"
    POD_NETWORK = "PodNetworkAddress"
    SERVICE_NETWORK = "ServiceNetworkAddress"
    NOT_ALLOWED = "AddressNotAllowed"
    OTHER_NAMESPACE = "AddressOfOtherNamespace"
    NOT_PROXIED = "ServiceNotProxied"
    """kube-proxy serves the service at no address, so the node itself would answer."""
    IN_USE = "AddressInUse"
    """Another station of the segment answered for it; found out by a probe, not by the guard."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why an IP stays down, for a machine (`reason`) and for a person (`message`)."""

    reason: Reason
    message: str
