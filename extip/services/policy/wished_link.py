"""A service → the interface that it wants its IPs on. Pure."""

from extip.api.core_v1 import DetailedService
from extip.api.names import LINK_ANNOTATION
from extip.net.link_selection import is_link_name

LinkWish = tuple[str, str]
"""A service, ``namespace/name``, and the name of an interface."""


def wished_link(service: DetailedService) -> LinkWish | None:
    """Return the wish of a service; None for a service without one, or with no possible name."""
    name = (service.metadata.annotations or {}).get(LINK_ANNOTATION, "").strip()
    key = f"{service.metadata.namespace}/{service.metadata.name}"
    return (key, name) if is_link_name(name) else None
