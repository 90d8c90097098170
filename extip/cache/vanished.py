"""Objects that the server does not have any more, kept until it is known why.

When a definition (CRD) is deleted, all objects of its kind go first, one event each, as if a person
had deleted every one of them. Nobody did. So what vanishes stays in the store until a read of the
definition, begun after that, says that the kind stands: then it was a deletion. Otherwise all that
is known stays as it is, as while the server is away.

Once the kind is back, what the server has again is as any other object. The rest, the *orphans*,
goes then; or, with `keep`, when their owner says so (`drop`).

The owner task is `Vanished.run`; the other methods may be called from any task of the same loop.
"""

import asyncio
from collections.abc import Callable, Collection, Iterable
from typing import Generic, Protocol, TypeVar

from extip.api.meta_v1 import KubernetesObject
from extip.cache.store import Store

T = TypeVar("T", bound=KubernetesObject)


class Kind(Protocol):
    """The definition of a kind; both methods go on until the server has answered."""

    async def uid(self) -> str:
        """Return which definition stands now; empty while there is none, or it is being deleted."""

    async def wait_back(self) -> str:
        """Wait until a definition stands; return which."""


class Vanished(Generic[T]):
    """Stands between a reflector and the deletions in its store."""

    def __init__(self, kind: Kind, *, keep: bool = False) -> None:
        """Begin with an empty store."""
        self.store: Store[T] = Store()
        self.dropped: Callable[[Iterable[str]], None] = lambda _: None
        """Is told which keys are not in the store any more."""
        self._kind = kind
        self._keep = keep
        self._uid = ""
        self._gone: set[str] = set()
        self._left: set[str] = set()
        self._wake = asyncio.Event()
        self.ends = 0
        """How often the kind was found to have ended, and came back."""

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
            self.dropped([key])

    def suspect(self) -> None:
        """Ask whether the kind stands: the server does not know it, or so it says."""
        self._wake.set()

    @property
    def orphans(self) -> Collection[str]:
        """Keys of what is left of a kind that has ended, and was not seen again."""
        return self._left

    async def stands(self) -> bool:
        """Return whether the kind is, by a read that begins now, the one that is known."""
        return await self._kind.uid() == self._uid != ""

    def drop(self, keys: Iterable[str]) -> None:
        """Remove objects for good; those that were seen again stay."""
        going = [key for key in keys if key in self._gone or key in self._left]
        self._gone.difference_update(going)
        self._left.difference_update(going)
        self.dropped([key for key in going if self.store.discard(key)])

    async def run(self) -> None:
        """Find out why objects vanish; until cancelled."""
        gone: set[str] = set()
        uid = self._uid = await self._kind.uid()
        while True:
            if uid and uid == self._uid:
                self.drop(self._gone & gone - self._left)
            else:
                await self._outlive(uid)
            await self._wake.wait()
            self._wake.clear()
            gone = self._gone - self._left
            uid = await self._kind.uid()

    async def _outlive(self, uid: str) -> None:
        """Leave all as it is until the kind is back, and go on with that; `uid` if it is."""
        self._left.update(self.store)
        self._uid = uid or await self._kind.wait_back()
        self.ends += 1
        if not self._keep:
            self._left.clear()
            self._wake.set()
