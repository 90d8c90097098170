"""An overlay of our own writes over a store, until the watch delivers them.

Without it a loop would decide over the version before its own write, and write again. It follows
client-go's mutation cache. Versions are compared as numbers: Kubernetes guarantees that since 1.35
(KEP-5504), and etcd's revisions always were numbers.
"""

import sys
from collections.abc import Mapping
from itertools import chain
from typing import Generic, TypeVar

from extip.api.meta_v1 import KubernetesObject, parse_version
from extip.cache.changes import ChangedKeys
from extip.clock import Clock

T = TypeVar("T", bound=KubernetesObject)

LASTS_S = 10.0
"""Seconds; a healthy watch delivers a write much sooner."""


class Overlay(Generic[T]):
    """The objects of a store, with our own writes that the store does not have yet.

    A write is overlaid for at most `LASTS_S`: another program may have undone it before the watch
    could deliver it. `changes` costs what has changed, however many objects there are.
    """

    def __init__(self, store: Mapping[str, T], *, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._written: dict[str, tuple[T, float]] = {}
        self._deleted: dict[str, tuple[str, float]] = {}
        self._changed = ChangedKeys[str]()

    def on_object(self, key: str) -> None:
        """Note an object that is another one in the store; an informer's handler.

        A write that it has is dropped at once: a deletion may follow before the next look.
        """
        ours = self._written.get(key)
        if ours is not None and self._has(ours[0]):
            del self._written[key]
        self._changed.note(key)

    def wrote(self, new: T) -> None:
        """Note the object in the server's answer to a write.

        Answers may come in another order than their writes. The newest version counts.
        """
        key = new.metadata.key
        uid, _ = self._deleted.get(key, ("", 0.0))
        known, _ = self._written.get(key, (None, 0.0))
        if uid == new.metadata.uid or (known is not None and _version(known) > _version(new)):
            return
        self._written[key] = (new, self._clock.monotonic() + LASTS_S)
        self._deleted.pop(key, None)
        self.on_object(key)

    def deleted(self, old: T) -> None:
        """Note that an object was deleted."""
        self._written.pop(old.metadata.key, None)
        self._deleted[old.metadata.key] = (old.metadata.uid, self._clock.monotonic() + LASTS_S)
        self.on_object(old.metadata.key)

    def forget(self) -> None:
        """Drop everything; at the end of a leadership: another process may lead and write then."""
        self._written.clear()
        self._deleted.clear()
        self._changed.forget()

    def get(self, key: str) -> T | None:
        """Return an object; None when there is none."""
        if key in self._written:
            return self._written[key][0]
        return None if key in self._deleted else self._store.get(key)

    def next_s(self) -> float | None:
        """Return the seconds until a write is too old, and `changes` is due; None for none.

        The watch may never tell of an object that was deleted before it was delivered.
        """
        untils = [until for _, until in chain(self._written.values(), self._deleted.values())]
        return min(untils) - self._clock.monotonic() if untils else None

    @property
    def pending(self) -> bool:
        """Whether `changes` has more to return."""
        return self._changed.pending

    def changes(self, most: int = sys.maxsize) -> dict[str, T | None]:
        """Return objects that may differ since the last call; None for one that is gone.

        There are about `most` of them. At first, and after `forget`, all objects have their turn.
        Writes that the store has by now are dropped.
        """
        changed = self._changed.take(chain(self._store, self._written), most)
        changed |= dict.fromkeys(self._drop())
        return {key: self.get(key) for key in changed}

    def _drop(self) -> list[str]:
        """Drop the writes that the store has, and those that are too old; return their keys."""
        now, get = self._clock.monotonic(), self._store.get
        dropped = []
        for key, (uid, until) in list(self._deleted.items()):
            found = get(key)
            if found is None or found.metadata.uid != uid or now > until:
                del self._deleted[key]
                dropped.append(key)
        for key, (ours, until) in list(self._written.items()):
            if now > until or self._has(ours):
                del self._written[key]
                dropped.append(key)
        return dropped

    def _has(self, ours: T) -> bool:
        """Whether the store has our write, or a newer version."""
        found = self._store.get(ours.metadata.key)
        return found is not None and _version(found) >= _version(ours)


def _version(found: KubernetesObject) -> int:
    return parse_version(found.metadata.resource_version)
