"""A service → the external IPs that stand in it, unless kube-proxy does not serve it. Pure.

kube-proxy makes no rules for some services. The address of such a service would lead clients to the
node itself.
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple

from extip.api.core_v1 import DetailedService, Service
from extip.api.names import HEADLESS_LABEL
from extip.net.interfaces import IPAddress, IPInterface
from extip.services.policy.refusal import Reason, Refusal
from extip.services.policy.requests import Owner, Requests, collect, service_owner

_NO_CLUSTER_IP = "None"
_EXTERNAL_NAME = "ExternalName"
_LOAD_BALANCER = "LoadBalancer"
PROXY = "Proxy"
"""An ``ipMode`` (KEP-1860): the load balancer is a host of its own, which has the address."""


class WrittenIPs(NamedTuple):
    """The external IPs of one service."""

    owner: Owner
    texts: tuple[str, ...]
    refusal: Refusal | None
    """The reason for which it gets none of them."""


def written_ips(
    service: Service | DetailedService, *, balanced_class: str | None = None
) -> WrittenIPs | None:
    """Return the IPs of a service; None when it has none.

    They are those in `spec.externalIPs`. With `balanced_class` they are also those that an
    allocator wrote into the status of a load balancer of this class; empty: one without a class.
    """
    ips = (*(service.spec.external_ips or ()), *_balanced_ips(service, balanced_class))
    if not ips:
        return None
    return WrittenIPs(service_owner(service), tuple(dict.fromkeys(ips, 0)), unproxied(service))


def shown_ips(service: Service | DetailedService) -> WrittenIPs | None:
    """Return the IPs that a service has from anybody: its external IPs, and those in its status."""
    ways_in = service.status.load_balancer.ingress or ()
    ips = (*(service.spec.external_ips or ()), *(way.ip for way in ways_in if way.ip))
    return WrittenIPs(service_owner(service), tuple(dict.fromkeys(ips, 0)), None) if ips else None


def _balanced_ips(service: Service | DetailedService, chosen: str | None) -> Iterable[str]:
    spec = service.spec
    if chosen is None or spec.type != _LOAD_BALANCER or (spec.load_balancer_class or "") != chosen:
        return ()
    ways_in = service.status.load_balancer.ingress or ()
    return (way.ip for way in ways_in if way.ip and way.ip_mode != PROXY)


def collect_written(
    all_written: Iterable[WrittenIPs],
    parse: Callable[[str], IPInterface | None],
    permit: Callable[[str, IPAddress], Refusal | None],
) -> Requests:
    """Combine the IPs of all services into requests, as `collect` does."""
    known = list(all_written)
    refused = {one.owner: one.refusal for one in known if one.refusal is not None}
    return collect(((one.owner, one.texts) for one in known), parse, permit, refused=refused)


def unproxied(service: Service | DetailedService) -> Refusal | None:
    """Return why kube-proxy does not serve a service at any address; None when it does.

    The rules are those of ``ShouldSkipService`` in Kubernetes' ``pkg/proxy/util`` and of the label
    selector in ``cmd/kube-proxy``. Another proxy serves a service that names it
    (``service-proxy-name``). Servers before 1.20 do not mark headless services.
    """
    if service.spec.type == _EXTERNAL_NAME:
        why = "it is an alias (type ExternalName)"
    elif service.spec.cluster_ips and service.spec.cluster_ips[0] == _NO_CLUSTER_IP:
        why = "it is headless (clusterIP None)"
    elif service.marked_headless:
        why = f"it is labelled {HEADLESS_LABEL}"
    else:
        return None
    return Refusal(
        Reason.NOT_PROXIED,
        f"no external IP for this service: {why}, and kube-proxy does not serve such a service",
    )
