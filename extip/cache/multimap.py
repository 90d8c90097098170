"""Several values for each key, where most keys have one."""

from collections.abc import Collection, Iterator
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Multimap(Generic[K, V]):
    """The values of each key, in the order in which they came.

    A key with one value has no collection of its own, which would take 200 bytes and more.
    """

    def __init__(self) -> None:
        self._one: dict[K, V] = {}
        self._more: dict[K, dict[V, None]] = {}

    def __iter__(self) -> Iterator[K]:
        """Return the keys."""
        yield from self._one
        yield from self._more

    def of(self, key: K) -> Collection[V]:
        """Return the values of a key; nothing for an unknown one."""
        if key in self._one:
            return (self._one[key],)
        return self._more[key].keys() if self._more and key in self._more else ()

    def add(self, key: K, value: V) -> None:
        """Add a value to a key, unless it is there already."""
        if self._more and key in self._more:
            self._more[key][value] = None
        elif self._one.setdefault(key, value) != value:
            self._more[key] = {self._one.pop(key): None, value: None}

    def discard(self, key: K, value: V) -> None:
        """Remove a value from a key, if it is there, and a key without values."""
        if key in self._more:
            values = self._more[key]
            values.pop(value, None)
            if not values:
                del self._more[key]
        elif key in self._one and self._one[key] == value:
            del self._one[key]
