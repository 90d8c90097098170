"""Owners of IPs as claims name them, and as Events do; and back. Pure."""

from extip.api.core_v1 import ObjectReference
from extip.api.ipcontroller_v1 import ServiceReference
from extip.api.resources import IP_CLAIMS
from extip.services.policy.requests import Owner

_SERVICE = "Service"
_API_VERSIONS = {IP_CLAIMS.kind: IP_CLAIMS.api_version}


def owner_of(service: ServiceReference) -> Owner:
    """Return the service that a claim names, as an owner."""
    return Owner(kind=_SERVICE, namespace=service.namespace, name=service.name, uid=service.uid)


def service_of(owner: Owner) -> ServiceReference:
    """Return a service as a claim names it."""
    return ServiceReference(namespace=owner.namespace, name=owner.name, uid=owner.uid)


def reference_to(owner: Owner) -> ObjectReference:
    """Return the object of an Event about an owner."""
    return ObjectReference(
        api_version=_API_VERSIONS.get(owner.kind, "v1"),
        kind=owner.kind,
        namespace=owner.namespace,
        name=owner.name,
        uid=owner.uid,
    )
