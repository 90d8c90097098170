"""A `ListerWatcher` that tells when its watch opens and closes.

Its user can tell a silence in which nothing happened from one in which nothing was heard.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Generic, TypeVar

from extip.api.meta_v1 import KubernetesObject
from extip.cache.listwatch import ListerWatcher, Page, Unreadable, WatchEvent

T = TypeVar("T", bound=KubernetesObject)


class TrackedListerWatcher(Generic[T]):
    """Passes everything on; calls back on the loop, in the reflector's task."""

    def __init__(
        self,
        inner: ListerWatcher[T],
        *,
        on_open: Callable[[], None],
        on_close: Callable[[], None],
    ) -> None:
        self._inner = inner
        self._on_open = on_open
        self._on_close = on_close

    async def list(self, *, resource_version: str) -> Page[T]:
        """Return all objects; see `ListerWatcher.list`."""
        return await self._inner.list(resource_version=resource_version)

    @asynccontextmanager
    async def watch(
        self, *, resource_version: str, timeout_s: int
    ) -> AsyncIterator[AsyncIterator[WatchEvent[T] | Unreadable]]:
        """Open a stream; see `ListerWatcher.watch`."""
        stream = self._inner.watch(resource_version=resource_version, timeout_s=timeout_s)
        async with stream as events:
            self._on_open()
            try:
                yield events
            finally:
                self._on_close()
