"""A store as it will be once the watch has delivered our own writes.

Without it a loop that has just written would decide over what it read before the write, and write
again. After client-go's mutation cache. Versions are compared as numbers: Kubernetes guarantees
that since 1.35 (KEP-5504), and etcd's revisions always were.
"""

from collections.abc import Mapping
from typing import Generic, TypeVar

from extip.api.meta_v1 import KubernetesObject, parse_version
from extip.clock import Clock

T = TypeVar("T", bound=KubernetesObject)

LASTS_S = 10.0
"""Far longer than a healthy watch takes to show a write."""


class Overlay(Generic[T]):
    """What a store holds, under our own writes that it has not caught up with.

    A write is overlaid for `LASTS_S` at most: what others undid before the watch could show it
    must not stay for ever.
    """

    def __init__(self, store: Mapping[str, T], *, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._written: dict[str, tuple[T, float]] = {}
        self._deleted: dict[str, tuple[str, float]] = {}

    def wrote(self, new: T) -> None:
        """Note the object that the server answered a write with.

        Answers may come in another order than the writes were made in: the newest counts.
        """
        key = new.metadata.key
        uid, _ = self._deleted.get(key, ("", 0.0))
        known, _ = self._written.get(key, (None, 0.0))
        if uid == new.metadata.uid or (known is not None and _version(known) > _version(new)):
            return
        self._written[key] = (new, self._clock.monotonic() + LASTS_S)
        self._deleted.pop(key, None)

    def deleted(self, old: T) -> None:
        """Note that an object was deleted."""
        self._written.pop(old.metadata.key, None)
        self._deleted[old.metadata.key] = (old.metadata.uid, self._clock.monotonic() + LASTS_S)

    def forget(self) -> None:
        """Drop everything: after a time without leadership others may have written."""
        self._written.clear()
        self._deleted.clear()

    def current(self) -> dict[str, T]:
        """Return all objects by key, and drop what the store has caught up with."""
        now = self._clock.monotonic()
        for key, (uid, until) in list(self._deleted.items()):
            found = self._store.get(key)
            if found is None or found.metadata.uid != uid or now > until:
                del self._deleted[key]
        for key, (ours, until) in list(self._written.items()):
            found = self._store.get(key)
            if now > until or (found is not None and _version(found) >= _version(ours)):
                del self._written[key]
        objects = {**self._store, **{key: ours for key, (ours, _) in self._written.items()}}
        for key in self._deleted:
            objects.pop(key, None)
        return objects


def _version(found: KubernetesObject) -> int:
    return parse_version(found.metadata.resource_version)
