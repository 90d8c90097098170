"""The resources that extip uses, with the URL of each kind."""

from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from extip.api.apiextensions_v1 import CustomResourceDefinition
from extip.api.apps_v1 import Workload
from extip.api.authentication_v1 import TokenReview
from extip.api.authorization_v1 import SelfSubjectAccessReview, SubjectAccessReview
from extip.api.coordination_v1 import Lease
from extip.api.core_v1 import (
    ConfigMap,
    DetailedService,
    Endpoints,
    Event,
    LabelledNamespace,
    Namespace,
    Node,
    OwnedService,
    Service,
)
from extip.api.discovery_v1 import EndpointSlice
from extip.api.ipcontroller_v1 import IpClaim, IpClaimPool, IpNode
from extip.api.meta_v1 import KubernetesObject
from extip.api.names import GROUP
from extip.api.networking_v1 import ServiceCIDR
from extip.api.whole_service import WholeService

T = TypeVar("T", bound=KubernetesObject)
Other = TypeVar("Other", bound=KubernetesObject)


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource(Generic[T]):
    """One kind as the API server serves it."""

    group: str
    """Empty for the core group."""
    version: str
    plural: str
    kind: str
    namespaced: bool
    type: type[T]
    """The struct that its objects are decoded into."""

    @property
    def api_version(self) -> str:
        """``v1`` or ``group/version``, as manifests write it."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, *, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """Build the URL path; without a namespace, that of all namespaces."""
        parts = ["/apis" if self.group else "/api", self.api_version]
        if namespace and self.namespaced:
            parts += ["namespaces", namespace]
        parts.append(self.plural)
        parts += [part for part in (name, subresource) if part]
        return "/".join(parts)


def _decoded_as(type_: type[Other], resource: Resource[T]) -> Resource[Other]:
    """Return the same resource with its objects decoded into another struct."""
    return Resource(
        group=resource.group,
        version=resource.version,
        plural=resource.plural,
        kind=resource.kind,
        namespaced=resource.namespaced,
        type=type_,
    )


SERVICES = Resource(
    group="", version="v1", plural="services", kind="Service", namespaced=True, type=Service
)
DETAILED_SERVICES = _decoded_as(DetailedService, SERVICES)
OWNED_SERVICES = _decoded_as(OwnedService, SERVICES)
WHOLE_SERVICES = _decoded_as(WholeService, SERVICES)
NODES = Resource(group="", version="v1", plural="nodes", kind="Node", namespaced=False, type=Node)
NAMESPACES = Resource(
    group="", version="v1", plural="namespaces", kind="Namespace", namespaced=False, type=Namespace
)
LABELLED_NAMESPACES = _decoded_as(LabelledNamespace, NAMESPACES)
ENDPOINTS = Resource(
    group="", version="v1", plural="endpoints", kind="Endpoints", namespaced=True, type=Endpoints
)
ENDPOINT_SLICES = Resource(
    group="discovery.k8s.io",
    version="v1",
    plural="endpointslices",
    kind="EndpointSlice",
    namespaced=True,
    type=EndpointSlice,
)
ENDPOINT_SLICES_V1BETA1 = replace(ENDPOINT_SLICES, version="v1beta1")
SERVICE_CIDRS = Resource(
    group="networking.k8s.io",
    version="v1",
    plural="servicecidrs",
    kind="ServiceCIDR",
    namespaced=False,
    type=ServiceCIDR,
)
EVENTS = Resource(
    group="", version="v1", plural="events", kind="Event", namespaced=True, type=Event
)
CONFIG_MAPS = Resource(
    group="", version="v1", plural="configmaps", kind="ConfigMap", namespaced=True, type=ConfigMap
)
DAEMON_SETS = Resource(
    group="apps",
    version="v1",
    plural="daemonsets",
    kind="DaemonSet",
    namespaced=True,
    type=Workload,
)
DEPLOYMENTS = replace(DAEMON_SETS, plural="deployments", kind="Deployment")
ACCESS_REVIEWS = Resource(
    group="authorization.k8s.io",
    version="v1",
    plural="selfsubjectaccessreviews",
    kind="SelfSubjectAccessReview",
    namespaced=False,
    type=SelfSubjectAccessReview,
)
SUBJECT_ACCESS_REVIEWS = Resource(
    group="authorization.k8s.io",
    version="v1",
    plural="subjectaccessreviews",
    kind="SubjectAccessReview",
    namespaced=False,
    type=SubjectAccessReview,
)
TOKEN_REVIEWS = Resource(
    group="authentication.k8s.io",
    version="v1",
    plural="tokenreviews",
    kind="TokenReview",
    namespaced=False,
    type=TokenReview,
)
LEASES = Resource(
    group="coordination.k8s.io",
    version="v1",
    plural="leases",
    kind="Lease",
    namespaced=True,
    type=Lease,
)
IP_CLAIMS = Resource(
    group=GROUP, version="v1", plural="ipclaims", kind="IpClaim", namespaced=False, type=IpClaim
)
IP_NODES = Resource(
    group=GROUP, version="v1", plural="ipnodes", kind="IpNode", namespaced=False, type=IpNode
)
IP_CLAIM_POOLS = Resource(
    group=GROUP,
    version="v1",
    plural="ipclaimpools",
    kind="IpClaimPool",
    namespaced=False,
    type=IpClaimPool,
)
CUSTOM_RESOURCE_DEFINITIONS = Resource(
    group="apiextensions.k8s.io",
    version="v1",
    plural="customresourcedefinitions",
    kind="CustomResourceDefinition",
    namespaced=False,
    type=CustomResourceDefinition,
)
