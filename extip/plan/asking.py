"""A service → the external IPs that it writes itself, unless nobody would serve it there.

kube-proxy makes no rule for some services. An address of theirs would lead clients to the node
itself: to whatever listens there, or to a refusal.
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple

from extip.api.core_v1 import DetailedService, Service
from extip.api.names import HEADLESS_LABEL
from extip.plan.link import IPAddress, IPInterface
from extip.plan.refusal import Reason, Refusal
from extip.plan.requests import Owner, Requests, collect, service_owner

_NO_CLUSTER_IP = "None"
_EXTERNAL_NAME = "ExternalName"


class Asked(NamedTuple):
    """What one service asks for."""

    owner: Owner
    texts: tuple[str, ...]
    refusal: Refusal | None
    """Why it gets none of it."""


def asked(service: Service | DetailedService) -> Asked | None:
    """Return what `spec.externalIPs` asks for; None when it is empty."""
    ips = service.spec.external_ips
    return Asked(service_owner(service), ips, unproxied(service)) if ips else None


def gather(
    all_asked: Iterable[Asked],
    parse: Callable[[str], IPInterface | None],
    permit: Callable[[str, IPAddress], Refusal | None],
) -> Requests:
    """Bring together what services ask for, as `collect` does."""
    known = list(all_asked)
    refused = {one.owner: one.refusal for one in known if one.refusal is not None}
    return collect(((one.owner, one.texts) for one in known), parse, permit, refused=refused)


def unproxied(service: Service | DetailedService) -> Refusal | None:
    """Return why kube-proxy does not serve a service at any address; None when it does.

    As ``ShouldSkipService`` of Kubernetes' ``pkg/proxy/util`` and the label selector of its
    ``cmd/kube-proxy`` have it. A service that names another proxy (``service-proxy-name``) is
    served by that one. Servers before 1.20 do not say which services are headless.
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
