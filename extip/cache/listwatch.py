"""The port between a reflector and an API server.

`extip.kube.client` implements it over HTTP, ``tests/fakes/api_server.py`` in memory. The same tests
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
"""The resourceVersion of a list that an API server may answer from its watch cache: it is cheap."""

MOST_RECENT = ""
"""The resourceVersion of a list that must be up to date (a quorum read)."""


class EventType(StrEnum):
    """The type of a watch event; errors are exceptions instead."""

    ADDED = "ADDED"
    MODIFIED = "MODIFIED"
    DELETED = "DELETED"
    BOOKMARK = "BOOKMARK"
    """No other event happened up to the object's resourceVersion."""


class WatchEvent(Struct, Generic[T], frozen=True, gc=False):
    """One line of a watch stream; decoded straight from the wire."""

    type: EventType
    object: T


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreadable:
    """An object that cannot be decoded; its last readable version stays in the store."""

    key: str
    """``namespace/name``; empty when the metadata are not readable either."""
    resource_version: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Page(Generic[T]):
    """A list of objects, and the version from which to watch."""

    items: tuple[T, ...]
    resource_version: str
    unreadable: tuple[Unreadable, ...] = ()
    continue_token: str = ""
    """The token for the next page of a list in pages; empty on the last page."""


class ListerWatcher(Protocol[T]):
    """Lists and watches the objects of one kind, or of a selector."""

    async def list(self, *, resource_version: str) -> Page[T]:
        """Return all objects, at `FROM_CACHE`, at `MOST_RECENT`, or not older than a version.

        The last of these comes from the server's watch cache, too. A server that does not have that
        version answers with an error.

        Raises `ApiError`. The call is bounded in time.
        """

    def watch(
        self, *, resource_version: str, timeout_s: int
    ) -> AbstractAsyncContextManager[AsyncIterator[WatchEvent[T] | Unreadable]]:
        """Open a stream of the events after that version; to enter it waits for the server.

        The iterator ends when the server ends the stream, after about `timeout_s` seconds. Both the
        context and the iterator raise `ExpiredError` when the version is too old, and
        `ApiUnavailableError` when the stream breaks. The caller has to notice a silent stream.
        """
