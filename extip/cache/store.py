"""The objects of one kind by key. Owned by one event loop, so there are no locks."""

from collections.abc import Collection, Iterable, Iterator, Mapping, ValuesView
from typing import Generic, TypeVar

from extip.api.meta_v1 import KubernetesObject

T = TypeVar("T", bound=KubernetesObject)


class Store(Mapping[str, T], Generic[T]):
    """A read-only mapping for everybody but the reflector that feeds it.

    Keys are ``namespace/name`` (``name`` for cluster-scoped kinds). Objects are immutable: a new
    version is a new object.
    """

    def __init__(self) -> None:
        self._objects: dict[str, T] = {}

    def __getitem__(self, key: str) -> T:
        return self._objects[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._objects)

    def __len__(self) -> int:
        return len(self._objects)

    def values(self) -> ValuesView[T]:
        """Return a view of the objects, at the speed of a dict's."""
        return self._objects.values()

    def put(self, new: T) -> str | None:
        """Add or replace an object; return its key, or None when it is the version already here."""
        key = new.metadata.key
        old = self._objects.get(key)
        version = new.metadata.resource_version
        if version and old is not None and old.metadata.resource_version == version:
            return None
        self._objects[key] = new
        return key

    def remove(self, gone: T) -> str | None:
        """Remove an object; return its key, or None when it was not here."""
        key = gone.metadata.key
        return None if self._objects.pop(key, None) is None else key

    def discard(self, key: str) -> bool:
        """Remove the object of that key; return whether it was here."""
        return self._objects.pop(key, None) is not None

    def replace(self, items: Iterable[T], *, keep: Collection[str] = ()) -> list[str]:
        """Become exactly `items`, plus what is here under the keys in `keep`.

        Returns the keys of all objects added, changed and removed by that.
        """
        old = self._objects
        new = {item.metadata.key: item for item in items}
        for key in keep:
            if key in old and key not in new:
                new[key] = old[key]
        self._objects = new
        changed = [
            key
            for key, item in new.items()
            if (known := old.get(key)) is None
            or known.metadata.resource_version != item.metadata.resource_version
        ]
        changed += [key for key in old if key not in new]
        return changed
