"""core/v1: Services, Nodes, Namespaces and Events, with only the fields that extip uses."""

from msgspec import field

from extip.api.meta_v1 import KubernetesObject, ObjectMeta, Wire


class ServiceSpec(Wire, frozen=True):
    """What the service asks for."""

    type: str = ""
    external_ips: tuple[str, ...] | None = field(default=None, name="externalIPs")
    """As the user wrote them: not necessarily valid addresses on older API servers."""
    load_balancer_class: str | None = None


class LoadBalancerIngress(Wire, frozen=True):
    """One way in that a load balancer gave to a service."""

    ip: str = ""
    ip_mode: str = ""
    """``VIP``, ``Proxy``, or empty (which means VIP)."""


class LoadBalancerStatus(Wire, frozen=True):
    """The ways in."""

    ingress: tuple[LoadBalancerIngress, ...] | None = None


class ServiceStatus(Wire, frozen=True):
    """What the service was given."""

    load_balancer: LoadBalancerStatus = LoadBalancerStatus()


class Service(KubernetesObject, frozen=True):
    """A core/v1 Service."""

    spec: ServiceSpec = ServiceSpec()
    status: ServiceStatus = ServiceStatus()


class NodeAddress(Wire, frozen=True):
    """One address or name of a node."""

    type: str = ""
    """``InternalIP``, ``ExternalIP``, ``Hostname``, ``InternalDNS`` or ``ExternalDNS``."""
    address: str = ""


class NodeCondition(Wire, frozen=True):
    """One condition of a node."""

    type: str = ""
    status: str = ""


class NodeStatus(Wire, frozen=True):
    """What the kubelet reports."""

    addresses: tuple[NodeAddress, ...] | None = None
    conditions: tuple[NodeCondition, ...] | None = None


class Taint(Wire, frozen=True):
    """Why pods keep away from a node."""

    key: str = ""
    effect: str = ""


class NodeSpec(Wire, frozen=True):
    """What the cluster wants of a node."""

    unschedulable: bool = False
    """Cordoned."""
    taints: tuple[Taint, ...] | None = None


class NodeMeta(ObjectMeta, frozen=True):
    """Metadata of a node that decides where IPs may be."""

    labels: dict[str, str] | None = None
    deletion_timestamp: str | None = None


class Node(KubernetesObject, frozen=True):
    """A core/v1 Node."""

    metadata: NodeMeta = NodeMeta()
    spec: NodeSpec = NodeSpec()
    status: NodeStatus = NodeStatus()


class Namespace(KubernetesObject, frozen=True):
    """A core/v1 Namespace; its name is all that is needed."""


class ObjectReference(Wire, frozen=True):
    """Which object an Event is about."""

    api_version: str = "v1"
    kind: str = ""
    namespace: str = ""
    """Empty for cluster-scoped objects."""
    name: str = ""
    uid: str = ""
    resource_version: str = ""


class EventSource(Wire, frozen=True):
    """Who reports an Event."""

    component: str = ""
    host: str = ""


class Event(KubernetesObject, frozen=True):
    """A core/v1 Event. Times are RFC 3339 in UTC; the API server writes ``null`` for none."""

    involved_object: ObjectReference = ObjectReference()
    type: str = ""
    """``Normal`` or ``Warning``."""
    reason: str = ""
    message: str = ""
    source: EventSource = EventSource()
    first_timestamp: str | None = None
    last_timestamp: str | None = None
    count: int = 0
    reporting_component: str = ""
    reporting_instance: str = ""
