"""discovery.k8s.io/v1: EndpointSlices, with only the fields that extip uses.

v1beta1, which servers up to 1.24 have, differs in where an endpoint names its node.
"""

from msgspec import field

from extip.api.meta_v1 import KubernetesObject, ObjectMeta, Wire


class EndpointConditions(Wire, frozen=True):
    """Whether an endpoint may be sent traffic."""

    ready: bool | None = None
    """None counts as ready."""


class EndpointTopology(Wire, frozen=True):
    """Where an endpoint is, as v1beta1 says it."""

    hostname: str = field(default="", name="kubernetes.io/hostname")


class EndpointTarget(Wire, frozen=True):
    """The object behind an endpoint."""

    kind: str = ""


class Endpoint(Wire, frozen=True):
    """Where a service is served."""

    addresses: tuple[str, ...] | None = None
    conditions: EndpointConditions = EndpointConditions()
    node_name: str | None = None
    topology: EndpointTopology | None = None
    target: EndpointTarget | None = field(default=None, name="targetRef")
    """None where a person wrote the address."""

    @property
    def node(self) -> str:
        """Return the node that it is on; empty when nothing says so."""
        return self.node_name or (self.topology.hostname if self.topology else "")


class EndpointSliceLabels(Wire, frozen=True):
    """The label that ties a slice to its service; all others stay out of memory."""

    service: str = field(default="", name="kubernetes.io/service-name")


class EndpointSliceMeta(ObjectMeta, frozen=True):
    """Metadata that tells whose endpoints these are."""

    labels: EndpointSliceLabels | None = None


class EndpointSlice(KubernetesObject, frozen=True):
    """Some of the places where a service is served."""

    metadata: EndpointSliceMeta = EndpointSliceMeta()
    endpoints: tuple[Endpoint, ...] | None = None
