"""A watch cache with handlers: a reflector and a store, after client-go's informer.

Handlers get keys, never objects, and read the store later. They run in the reflector's task, so
they must only enqueue. There is no resync: a repeated delivery of the store would change nothing.
"""

import asyncio
from collections.abc import Callable, Iterable
from random import Random
from typing import Generic, TypeVar

from extip.api.meta_v1 import KubernetesObject
from extip.cache.listwatch import ListerWatcher
from extip.cache.reflector import Reflector
from extip.cache.store import Store
from extip.cache.vanished import Vanished
from extip.clock import Clock
from extip.errors import ApiError
from extip.log import Logger, get_logger
from extip.metrics import Metrics
from extip.supervisor import Component, run_beside

T = TypeVar("T", bound=KubernetesObject)


class Informer(Generic[T]):
    """Caches one resource; a component whose task is `run()`."""

    def __init__(  # noqa: PLR0913 - a composition of parts
        self,
        resource_name: str,
        lister_watcher: ListerWatcher[T],
        *,
        clock: Clock,
        rng: Random,
        metrics: Metrics,
        logger: Logger | None = None,
        vanished: Vanished[T] | None = None,
    ) -> None:
        """Compose; with `vanished`, objects stay when their definition is deleted."""
        self.name = f"informer-{resource_name}"
        self.store: Store[T] = Store() if vanished is None else vanished.store
        """The objects of the server at the last contact; empty until `has_synced`."""
        self._handlers: list[Callable[[str], None]] = []
        self._synced = asyncio.Event()
        self._clock = clock
        self._logger = (logger or get_logger("informer")).bind(resource=resource_name)
        self._vanished = vanished
        if vanished is not None:
            vanished.on_drop = self._tell
        self._reflector = Reflector(
            resource_name,
            lister_watcher,
            self.store,
            on_change=self._notify,
            vanished=vanished,
            clock=clock,
            rng=rng,
            metrics=metrics,
            logger=self._logger,
        )

    def add_handler(self, handler: Callable[[str], None]) -> None:
        """Call `handler(key)` for each object that is added, changed or deleted from now on.

        It is not called for objects that are in the store already.
        """
        self._handlers.append(handler)

    @property
    def has_synced(self) -> bool:
        """Whether the first list is in the store. It stays True."""
        return self._synced.is_set()

    async def wait_synced(self) -> None:
        """Wait until `has_synced`, also for a kind without objects, which calls no handler."""
        await self._synced.wait()

    @property
    def healthy(self) -> bool:
        """Whether the cache has synced, and no failure is known."""
        return self.has_synced and self._reflector.healthy

    @property
    def trouble(self) -> tuple[ApiError, float] | None:
        """The failure that keeps the cache from being up to date, and its begin; None for none."""
        return self._reflector.trouble

    @property
    def last_contact_s(self) -> float | None:
        """The time of the last contact with the server, on the clock's monotonic timeline.

        None before the first contact. A server without changes sends a bookmark about once a
        minute.
        """
        return self._reflector.last_contact_s

    def doubt(self, since_s: float) -> None:
        """Open the watch anew if there was no contact since that monotonic time.

        The number of new watches is bounded (see `Reflector.doubt`).
        """
        self._reflector.doubt(since_s)

    async def run(self) -> None:
        """Keep the store up to date; ends only by cancellation."""
        if self._vanished is None:
            await self._reflector.run()
        else:
            vanished = Component(f"{self.name}-vanished", self._vanished.run)
            await run_beside([vanished], self._reflector.run)

    def _notify(self, keys: Iterable[str]) -> None:
        if not self._synced.is_set():
            self._synced.set()
            self._logger.info("cache_synced", objects=len(self.store))
        self._tell(keys)

    def _tell(self, keys: Iterable[str]) -> None:
        for key in keys:
            for handler in self._handlers:
                handler(key)
