"""networking.k8s.io/v1: ServiceCIDRs, which servers have since 1.33."""

from extip.api.meta_v1 import KubernetesObject, Wire


class ServiceCIDRSpec(Wire, frozen=True):
    """The networks of cluster IPs."""

    cidrs: tuple[str, ...] | None = None


class ServiceCIDR(KubernetesObject, frozen=True):
    """Networks that services get their cluster IPs from."""

    spec: ServiceCIDRSpec = ServiceCIDRSpec()
