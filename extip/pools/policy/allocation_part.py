"""A part of the services and addresses, and dicts that stand for ordered sets. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TypeVar

from extip.net.interfaces import IPAddress

K = TypeVar("K")


@dataclass(slots=True)
class Part:
    """The services and addresses that a change concerns."""

    services: dict[str, None] = field(default_factory=dict)
    ips: dict[IPAddress, None] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.services or self.ips)


def note(noted: dict[K, None], keys: Iterable[K]) -> None:
    """Add keys to a set."""
    for key in keys:
        noted[key] = None


def keys_of(found: Iterable[K]) -> dict[K, None]:
    """Return all keys as a set; it takes the hashes of a dict as they are."""
    keys: dict[K, None] = dict.fromkeys(found, None)
    return keys
