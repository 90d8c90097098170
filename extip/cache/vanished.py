"""Objects that the server no longer has, kept until the reason is known.

When a definition (CRD) is deleted, all objects of its kind are deleted first, with one event each.
No person has deleted them. So a vanished object stays in the store until a later read of the
definition. When the definition still exists, it was a deletion. Otherwise all known objects stay,
as while the server is away.

When the definition is back, objects that the server has again are like all others. The rest are
*orphans*. They are dropped then, or with `keep` when their owner calls `drop`.

The owner task is `Vanished.run`. Any task of the same loop may call the other methods.
"""

import asyncio
from collections.abc import Callable, Collection, Iterable
from typing import Generic, Protocol, TypeVar

from extip.api.meta_v1 import KubernetesObject
from extip.cache.store import Store
from extip.trigger import Trigger

T = TypeVar("T", bound=KubernetesObject)


class Definition(Protocol):
    """The definition of a kind; both methods go on until the server has answered."""

    async def uid(self) -> str:
        """Return which definition stands now; empty while there is none, or it is being deleted."""

    async def wait_back(self) -> str:
        """Wait until a definition stands; return which."""


class Vanished(Generic[T]):
    """Stands between a reflector and the deletions in its store."""

    def __init__(
        self, definition: Definition, *, keep: bool = False, patience_s: float = 0.0
    ) -> None:
        """Begin with an empty store.

        The definition is read `patience_s` after an object vanishes, once for all that do so
        meanwhile.
        """
        self.store: Store[T] = Store()
        self.on_drop: Callable[[Iterable[str]], None] = lambda _: None
        """Is told which keys are not in the store any more."""
        self._definition = definition
        self._keep = keep
        self._uid = ""
        self._gone: set[str] = set()
        self._left: set[str] = set()
        self._patience_s = patience_s
        self._wake = Trigger()
        self._orphaned = asyncio.Event()

    def gone(self, key: str) -> None:
        """Note that the server does not have that object any more."""
        if key in self.store:
            self._gone.add(key)
            self._wake.set()

    def seen(self, key: str) -> None:
        """Note that the server has that object."""
        self._gone.discard(key)
        self._left.discard(key)

    def left(self, key: str) -> None:
        """Remove an object that the server still has, but not among those that are watched here."""
        self.seen(key)
        if self.store.discard(key):
            self.on_drop([key])

    def suspect(self) -> None:
        """Ask whether the kind stands: the server does not know it, or so it says."""
        self._wake.set()

    @property
    def orphans(self) -> Collection[str]:
        """Keys of what is left of a kind that has ended, and was not seen again."""
        return self._left

    async def wait_orphans(self) -> None:
        """Wait until there are orphans."""
        while not self._left:
            self._orphaned.clear()
            await self._orphaned.wait()

    async def stands(self) -> bool:
        """Return whether the kind is, by a read that begins now, the one that is known."""
        return await self._definition.uid() == self._uid != ""

    def drop(self, keys: Iterable[str]) -> None:
        """Remove objects for good; those that were seen again stay."""
        going = [key for key in keys if key in self._gone or key in self._left]
        self._gone.difference_update(going)
        self._left.difference_update(going)
        self.on_drop([key for key in going if self.store.discard(key)])

    async def run(self) -> None:
        """Find out why objects vanish; until cancelled."""
        gone: set[str] = set()
        uid = self._uid = await self._definition.uid()
        while True:
            if uid and uid == self._uid:
                self.drop(self._gone & gone - self._left)
            else:
                await self._outlive(uid)
            await self._wake.wait_until_quiet(self._patience_s, at_most_s=self._patience_s)
            gone = self._gone - self._left
            uid = await self._definition.uid()

    async def _outlive(self, uid: str) -> None:
        """Leave all as it is until the kind is back, and go on with that; `uid` if it is."""
        self._left.update(self.store)
        self._orphaned.set()
        self._uid = uid or await self._definition.wait_back()
        if not self._keep:
            self._left.clear()
            self._wake.set()
