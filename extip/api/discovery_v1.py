"""discovery.k8s.io/v1: EndpointSlices, with only the fields that extip uses."""

from extip.api.meta_v1 import KubernetesObject, Wire


class Endpoint(Wire, frozen=True):
    """Where a service is served."""

    addresses: tuple[str, ...] | None = None


class EndpointSlice(KubernetesObject, frozen=True):
    """Some of the places where a service is served."""

    endpoints: tuple[Endpoint, ...] | None = None
