"""A service → the nodes where it prefers its IPs to be. Pure."""

from extip.api.core_v1 import DetailedService
from extip.api.names import PREFERRED_NODES_ANNOTATION

NodeList = tuple[str, tuple[str, ...]]
"""A service, ``namespace/name``, and names of nodes, the best first."""


def preferred_nodes(service: DetailedService) -> NodeList | None:
    """Return the list of a service; None for a service without one."""
    text = (service.metadata.annotations or {}).get(PREFERRED_NODES_ANNOTATION, "")
    names = dict.fromkeys((word for part in text.split(",") if (word := part.strip())), 0)
    key = f"{service.metadata.namespace}/{service.metadata.name}"
    return (key, tuple(names)) if names else None
