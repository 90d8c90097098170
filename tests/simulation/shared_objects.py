"""Clients of one process that decode each object once, whoever of them is told of it.

Every controller keeps all IpNodes, so a large cluster in one process has their number squared. They
are frozen, and the same for all.
"""

from typing import TypeVar, cast

from extip.api.meta_v1 import KubernetesObject
from extip.api.resources import Resource
from extip.cache.listwatch import Page, Unreadable, WatchEvent
from extip.kube.client import ApiClient, Transport
from extip.kube.codec import ResourceCodec

T = TypeVar("T", bound=KubernetesObject)

_LINES = 4096
"""Lines of watches that are remembered: others are still on their way to slow readers."""


class SharedObjects:
    """The objects that clients have in common."""

    def __init__(self) -> None:
        self._codecs: dict[object, object] = {}

    def codec(self, resource: Resource[T]) -> ResourceCodec[T]:
        """Return the decoder of a kind, for all clients."""
        codec = self._codecs.get(resource)
        if codec is None:
            codec = self._codecs[resource] = _SharingCodec(resource)
        return cast("ResourceCodec[T]", codec)  # the key determines T


class SharingClient(ApiClient):
    """A client whose objects others have, too."""

    def __init__(self, transport: Transport, shared: SharedObjects) -> None:
        super().__init__(transport)
        self._shared = shared

    def _codec(self, resource: Resource[T]) -> ResourceCodec[T]:
        return self._shared.codec(resource)


class _SharingCodec(ResourceCodec[T]):
    def __init__(self, resource: Resource[T]) -> None:
        super().__init__(resource)
        self._known: dict[str, T] = {}
        """The version of each object that was decoded last."""
        self._events: dict[bytes, WatchEvent[T] | Unreadable] = {}

    def decode_list(self, body: bytes | bytearray, *, request: str = "") -> Page[T]:
        page = super().decode_list(body, request=request)
        return Page(
            items=tuple(map(self._one, page.items)),
            resource_version=page.resource_version,
            unreadable=page.unreadable,
            continue_token=page.continue_token,
        )

    def decode_event(self, line: bytes, *, request: str = "") -> WatchEvent[T] | Unreadable:
        found = self._events.get(line)
        if found is None:
            found = super().decode_event(line, request=request)
            if isinstance(found, WatchEvent):
                found = WatchEvent(found.type, self._one(found.object))
            if len(self._events) >= _LINES:
                del self._events[next(iter(self._events))]
            self._events[line] = found
        return found

    def _one(self, decoded: T) -> T:
        key, version = decoded.metadata.key, decoded.metadata.resource_version
        known = self._known.get(key)
        if known is None or known.metadata.resource_version != version:
            known = self._known[key] = decoded
        return known
