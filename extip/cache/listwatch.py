"""Where a cache gets its objects from: the port between a reflector and an API server.

`extip.kube.client` implements it over HTTP, ``tests/fakes/api_server.py`` in memory; the same tests
run against both.
"""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, Protocol, TypeVar

from msgspec import Struct

from extip.api.meta_v1 import KubernetesObject

T = TypeVar("T", bound=KubernetesObject)

FROM_CACHE = "0"
"""The resourceVersion of a list that any API server may answer from its watch cache: cheap."""

MOST_RECENT = ""
"""The resourceVersion of a list that must be up to date (a quorum read)."""


class EventType(StrEnum):
    """What a watch event says of its object; errors are exceptions instead."""

    ADDED = "ADDED"
    MODIFIED = "MODIFIED"
    DELETED = "DELETED"
    BOOKMARK = "BOOKMARK"
    """Nothing happened up to the object's resourceVersion."""


class WatchEvent(Struct, Generic[T], frozen=True, gc=False):
    """One line of a watch stream; decoded straight from the wire."""

    type: EventType
    object: T


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreadable:
    """An object that does not decode: its last readable version, if any, stays in force."""

    key: str
    """``namespace/name``; empty when not even the metadata is readable."""
    resource_version: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Page(Generic[T]):
    """A list of objects, and the version to watch from."""

    items: tuple[T, ...]
    resource_version: str
    unreadable: tuple[Unreadable, ...] = ()
    continue_token: str = ""
    """Asks for the rest, when the list was asked for in pieces; empty when there is no more."""


class ListerWatcher(Protocol[T]):
    """Lists and watches the objects of one kind, perhaps narrowed by a selector."""

    async def list(self, *, resource_version: str) -> Page[T]:
        """Return all objects, at `FROM_CACHE` or `MOST_RECENT`.

        Raises `ApiError`. The call is bounded in time.
        """

    def watch(
        self, *, resource_version: str, timeout_s: int
    ) -> AbstractAsyncContextManager[AsyncIterator[WatchEvent[T] | Unreadable]]:
        """Open a stream of what happens after that version; entering it waits for the server.

        The iterator ends when the server ends the stream, after about `timeout_s` seconds. Entering
        and iterating raise `ExpiredError` when the version is too old, and `ApiUnavailableError`
        when the stream breaks. A stream that has fallen silent is for the caller to notice.
        """
