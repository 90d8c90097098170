"""A `ListerWatcher` that never lists from the cache of an API server, which may be old."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Generic, TypeVar

from extip.api.meta_v1 import KubernetesObject
from extip.cache.listwatch import MOST_RECENT, ListerWatcher, Page, Unreadable, WatchEvent

T = TypeVar("T", bound=KubernetesObject)


class FreshListerWatcher(Generic[T]):
    """For decisions that must know every write that was made before they began."""

    def __init__(self, inner: ListerWatcher[T]) -> None:
        self._inner = inner

    async def list(self, *, resource_version: str) -> Page[T]:  # noqa: ARG002 - always the newest
        """Return all objects as a quorum of the server's store has them now."""
        return await self._inner.list(resource_version=MOST_RECENT)

    def watch(
        self, *, resource_version: str, timeout_s: int
    ) -> AbstractAsyncContextManager[AsyncIterator[WatchEvent[T] | Unreadable]]:
        """Open a watch; see `ListerWatcher.watch`."""
        return self._inner.watch(resource_version=resource_version, timeout_s=timeout_s)
