"""A `ListerWatcher` for a resource that older servers have in another version only."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Generic, TypeVar

from extip.api.meta_v1 import KubernetesObject
from extip.cache.listwatch import ListerWatcher, Page, Unreadable, WatchEvent
from extip.errors import NotFoundError

T = TypeVar("T", bound=KubernetesObject)


class FallbackListerWatcher(Generic[T]):
    """Asks for the first version; where a list finds none such, for the second from then on.

    A server that is upgraded meanwhile answers 404 for the second one: then it is the first again.
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
        """Open a stream of the version that was listed; see `ListerWatcher.watch`."""
        return self._used.watch(resource_version=resource_version, timeout_s=timeout_s)
