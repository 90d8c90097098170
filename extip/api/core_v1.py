"""core/v1: Services, Nodes, Namespaces and Events, with only the fields that extip uses."""

from msgspec import field
from msgspec.structs import force_setattr

from extip.api.meta_v1 import KubernetesObject, ObjectMeta, OwnedMeta, Wire
from extip.api.names import AUTO_ANNOTATION, HEADLESS_LABEL, LINK_ANNOTATION, PREFIX


class ServiceSpec(Wire, frozen=True):
    """The request of a service."""

    type: str = ""
    external_ips: tuple[str, ...] | None = field(default=None, name="externalIPs")
    """The user's text: older API servers also accept malformed addresses."""
    load_balancer_class: str | None = None
    cluster_ips: tuple[str, ...] | None = field(default=None, name="clusterIPs")
    """One per IP family, or ``None`` alone; servers before 1.20 do not say."""
    external_traffic_policy: str = ""
    """``Cluster``, or ``Local``: nodes without an endpoint drop external traffic."""


class PortStatus(Wire, frozen=True):
    """A statement about one port of a way in."""

    port: int = 0
    protocol: str = ""
    error: str | None = None


VIP = "VIP"
"""A `LoadBalancerIngress.ip_mode`: packets arrive with the IP as their destination."""


class LoadBalancerIngress(Wire, frozen=True):
    """One way in that a load balancer gave to a service."""

    ip: str = ""
    hostname: str = ""
    ip_mode: str = ""
    """``VIP``, ``Proxy``, or empty (which means VIP). Servers before 1.29 drop it."""
    ports: tuple[PortStatus, ...] | None = None
    """Not extip's: it keeps what others write there."""


class LoadBalancerStatus(Wire, frozen=True):
    """The ways in."""

    ingress: tuple[LoadBalancerIngress, ...] | None = None


class ServiceStatus(Wire, frozen=True):
    """The addresses that the service got."""

    load_balancer: LoadBalancerStatus = LoadBalancerStatus()


class AnyService(KubernetesObject, frozen=True):
    """A core/v1 Service, whatever is read of its metadata."""

    spec: ServiceSpec = ServiceSpec()
    status: ServiceStatus = ServiceStatus()


class ServiceLabels(Wire, frozen=True):
    """The labels that mean something to every service; all others stay out of memory."""

    headless: str | None = field(default=None, name=HEADLESS_LABEL)


class ServiceAnnotations(Wire, frozen=True):
    """The annotations that mean something to every service; all others stay out of memory."""

    link: str | None = field(default=None, name=LINK_ANNOTATION)


class ServiceMeta(ObjectMeta, frozen=True):
    """Metadata of a service that decides whether, and where, it is served."""

    labels: ServiceLabels | None = None
    annotations: ServiceAnnotations | None = None


class Service(AnyService, frozen=True):
    """A core/v1 Service that nobody allocates addresses for."""

    metadata: ServiceMeta = ServiceMeta()

    @property
    def marked_headless(self) -> bool:
        """Whether it has the label that keeps kube-proxy from looking at it."""
        return self.metadata.labels is not None and self.metadata.labels.headless is not None

    @property
    def link(self) -> str:
        """The text of the annotation that names an interface; empty for none."""
        annotations = self.metadata.annotations
        return "" if annotations is None else annotations.link or ""


class ServicePort(Wire, frozen=True):
    """A port that a service listens on."""

    port: int = 0
    protocol: str = "TCP"


class DetailedServiceMeta(ObjectMeta, frozen=True):
    """Metadata of a service that decides which addresses it gets."""

    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None
    """The annotations below extip's prefix; all others stay out of memory."""

    def __post_init__(self) -> None:
        """Drop what is not ours: kubectl leaves whole manifests in annotations."""
        if self.annotations is not None:
            ours = {
                k: v
                for k, v in self.annotations.items()
                if k == AUTO_ANNOTATION or k.startswith(PREFIX)
            }
            force_setattr(self, "annotations", ours or None)


class DetailedServiceSpec(ServiceSpec, frozen=True):
    """The fields that decide about the addresses of a service."""

    ip_families: tuple[str, ...] | None = None
    """``IPv4`` or ``IPv6``, the primary one first."""
    ip_family_policy: str = ""
    """``SingleStack``, ``PreferDualStack`` or ``RequireDualStack``."""
    ports: tuple[ServicePort, ...] | None = None
    load_balancer_ip: str = field(default="", name="loadBalancerIP")
    """An address that is asked for by name; deprecated since Kubernetes 1.24."""


class DetailedService(AnyService, frozen=True):
    """A core/v1 Service for the allocation of addresses; simple mode does with less."""

    metadata: DetailedServiceMeta = DetailedServiceMeta()
    spec: DetailedServiceSpec = DetailedServiceSpec()

    @property
    def marked_headless(self) -> bool:
        """Whether it has the label that keeps kube-proxy from looking at it."""
        return HEADLESS_LABEL in (self.metadata.labels or ())

    @property
    def link(self) -> str:
        """The text of the annotation that names an interface; empty for none."""
        return (self.metadata.annotations or {}).get(LINK_ANNOTATION, "")


class OwnedService(AnyService, frozen=True):
    """A core/v1 Service with who owns which of its fields."""

    metadata: OwnedMeta = OwnedMeta()


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
    """The report of the kubelet."""

    addresses: tuple[NodeAddress, ...] | None = None
    conditions: tuple[NodeCondition, ...] | None = None


class Taint(Wire, frozen=True):
    """Why pods keep away from a node."""

    key: str = ""


class NodeSpec(Wire, frozen=True):
    """The desired state of a node."""

    taints: tuple[Taint, ...] | None = None
    pod_cidrs: tuple[str, ...] | None = field(default=None, name="podCIDRs")
    """Networks that its pods get their addresses from, where the controller manager gives them."""


class NodeMeta(ObjectMeta, frozen=True):
    """Metadata of a node that decides where IPs may be."""

    labels: dict[str, str] | None = None
    deletion_timestamp: str | None = None


class Node(KubernetesObject, frozen=True):
    """A core/v1 Node."""

    metadata: NodeMeta = NodeMeta()
    spec: NodeSpec = NodeSpec()
    status: NodeStatus = NodeStatus()


class ConfigMap(KubernetesObject, frozen=True):
    """A core/v1 ConfigMap."""

    data: dict[str, str] | None = None


class Namespace(KubernetesObject, frozen=True):
    """A core/v1 Namespace; its name is all that is needed."""


class LabelledMeta(ObjectMeta, frozen=True):
    """Metadata that selectors look at."""

    labels: dict[str, str] | None = None


class LabelledNamespace(KubernetesObject, frozen=True):
    """A core/v1 Namespace whose labels decide which pools serve it."""

    metadata: LabelledMeta = LabelledMeta()


class EndpointAddress(Wire, frozen=True):
    """Where a service is served."""

    ip: str = ""


class EndpointSubset(Wire, frozen=True):
    """Addresses that serve the same ports."""

    addresses: tuple[EndpointAddress, ...] | None = None
    not_ready_addresses: tuple[EndpointAddress, ...] | None = None


class Endpoints(KubernetesObject, frozen=True):
    """A core/v1 Endpoints: where a service is served. Deprecated since 1.33, and still served."""

    subsets: tuple[EndpointSubset, ...] | None = None


class ObjectReference(Wire, frozen=True):
    """The object of an Event."""

    api_version: str = "v1"
    kind: str = ""
    namespace: str = ""
    """Empty for cluster-scoped objects."""
    name: str = ""
    uid: str = ""
    resource_version: str = ""


class EventSource(Wire, frozen=True):
    """The reporter of an Event."""

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
