"""EndpointSlices → the nodes on which each service is served."""

from collections.abc import Iterable, Mapping

from extip.api.core_v1 import AnyService
from extip.api.discovery_v1 import EndpointSlice

_LOCAL = "Local"

Placed = tuple[str, frozenset[str]]
"""A service as ``namespace/name``, and nodes with ready endpoints of it."""


def keeps_local(service: AnyService) -> bool:
    """Whether nodes without an endpoint drop the traffic for its external IPs."""
    return service.spec.external_traffic_policy == _LOCAL


def placed(piece: EndpointSlice) -> Placed | None:
    """Return where the endpoints of a slice are; None for one that no service owns."""
    service = piece.metadata.labels.service if piece.metadata.labels else ""
    if not service:
        return None
    nodes = (e.node for e in piece.endpoints or () if e.conditions.ready is not False)
    return f"{piece.metadata.namespace}/{service}", frozenset(node for node in nodes if node)


def together(pieces: Iterable[Placed]) -> Mapping[str, frozenset[str]]:
    """Return all nodes of each service."""
    found: dict[str, frozenset[str]] = {}
    for service, nodes in pieces:
        found[service] = found.get(service, frozenset()) | nodes
    return found
