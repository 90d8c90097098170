"""A service → the number of addresses of each IP family that it asks for. Pure."""

from extip.api.core_v1 import DetailedService
from extip.api.names import ADDRESS_COUNT_ANNOTATION

MAX_ADDRESSES = 16
"""Addresses of one IP family of a service."""


def address_count(service: DetailedService) -> int | None:
    """Return the number: 1 for a service that does not say, None for one that says nonsense."""
    text = (service.metadata.annotations or {}).get(ADDRESS_COUNT_ANNOTATION, "1").strip()
    if len(text) > len(str(MAX_ADDRESSES)) or not (text.isascii() and text.isdecimal()):
        return None
    return int(text) if 1 <= int(text) <= MAX_ADDRESSES else None


def spreads(service: DetailedService) -> tuple[str, int] | None:
    """Return a service that asks for several addresses, ``namespace/name``, with their number."""
    count = address_count(service)
    name = f"{service.metadata.namespace}/{service.metadata.name}"
    return (name, count) if count is not None and count > 1 else None
