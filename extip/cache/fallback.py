"""A `ListerWatcher` for a resource that older servers have only in another version."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Generic, TypeVar

from extip.api.meta_v1 import KubernetesObject
from extip.cache.listwatch import ListerWatcher, Page, Unreadable, WatchEvent
from extip.errors import NotFoundError

T = TypeVar("T", bound=KubernetesObject)


class FallbackListerWatcher(Generic[T]):
    """Uses the first version, and the second one after a list of the first has answered 404.

    After an upgrade of the server the second version answers 404: then the first is used again.
    """

    def __init__(self, first: ListerWatcher[T], second: ListerWatcher[T]) -> None:
        self._used, self._other = first, second

    async def list(self, *, resource_version: str) -> Page[T]:
        """Return all objects; see `ListerWatcher.list`."""
        try:
            return await self._used.list(resource_version=resource_version)
        except NotFoundError:
            page = await self._other.list(resource_version=resource_version)
        self._used, self._other = self._other, self._used
        return page

    def watch(
        self, *, resource_version: str, timeout_s: int
    ) -> AbstractAsyncContextManager[AsyncIterator[WatchEvent[T] | Unreadable]]:
        """Open a watch of the version that was listed; see `ListerWatcher.watch`."""
        return self._used.watch(resource_version=resource_version, timeout_s=timeout_s)
