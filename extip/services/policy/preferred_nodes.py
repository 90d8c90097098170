"""A service → the nodes where it prefers its IPs to be. Pure."""

from collections.abc import Collection

from extip.api.core_v1 import DetailedService
from extip.api.names import PREFERRED_NODES_ANNOTATION
from extip.services.policy.requests import cut

_SHOWN = 3
"""The number of names that a message has."""

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


def unknown_nodes(service: DetailedService, known: Collection[str]) -> str:
    """Return a sentence about names on its list that no controller has; empty for none.

    Without a known node nothing is said: they may be unreadable.
    """
    found = preferred_nodes(service)
    unknown = [name for name in found[1] if name not in known] if found and known else []
    if not unknown:
        return ""
    more = f" and {len(unknown) - _SHOWN} more" if len(unknown) > _SHOWN else ""
    names = ", ".join(map(cut, unknown[:_SHOWN])) + more
    return f"annotation {PREFERRED_NODES_ANNOTATION} names {names}, and no controller has that name"
