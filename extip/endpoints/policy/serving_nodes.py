"""EndpointSlices → the nodes that serve each service. Pure."""

from collections.abc import Iterable, Mapping

from extip.api.core_v1 import AnyService
from extip.api.discovery_v1 import EndpointSlice

_LOCAL = "Local"

ServingNodes = tuple[str, frozenset[str]]
"""A service as ``namespace/name``, and nodes with ready endpoints."""


def keeps_local(service: AnyService) -> bool:
    """Whether kube-proxy drops the traffic of its external IPs on nodes without an endpoint."""
    return service.spec.external_traffic_policy == _LOCAL


def serving_nodes(piece: EndpointSlice) -> ServingNodes | None:
    """Return the service and nodes of a slice; None for a slice without a service."""
    service = piece.metadata.labels.service if piece.metadata.labels else ""
    if not service:
        return None
    nodes = (e.node for e in piece.endpoints or () if e.conditions.ready is not False)
    return f"{piece.metadata.namespace}/{service}", frozenset(node for node in nodes if node)


def ready_service(piece: EndpointSlice) -> str:
    """Return the service of a slice with a ready endpoint, on whichever node; empty for none."""
    ready = any(endpoint.conditions.ready is not False for endpoint in piece.endpoints or ())
    service = piece.metadata.labels.service if piece.metadata.labels else ""
    return f"{piece.metadata.namespace}/{service}" if service and ready else ""


def nodes_by_service(pieces: Iterable[ServingNodes]) -> Mapping[str, frozenset[str]]:
    """Return all nodes of each service."""
    found: dict[str, frozenset[str]] = {}
    for service, nodes in pieces:
        found[service] = found.get(service, frozenset()) | nodes
    return found
