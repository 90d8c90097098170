"""A service → the nodes where it prefers its IPs to be. Pure."""

from extip.api.core_v1 import DetailedService
from extip.api.names import PREFERRED_NODES_ANNOTATION

NodeList = tuple[str, tuple[str, ...]]
"""A service, ``namespace/name``, and names of nodes, the best first."""

MAX_NODES = 64
"""Names of a list that count. An annotation may have 256 KiB, and each node is looked up in it."""


def preferred_nodes(service: DetailedService) -> NodeList | None:
    """Return the first names of a service's list; None for a service without one."""
    text = (service.metadata.annotations or {}).get(PREFERRED_NODES_ANNOTATION, "")
    names = dict.fromkeys((word for part in text.split(",") if (word := part.strip())), 0)
    key = f"{service.metadata.namespace}/{service.metadata.name}"
    return (key, tuple(names)[:MAX_NODES]) if names else None
