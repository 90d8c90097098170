"""The keys that have changed: since the last look of one reader, or between two mappings."""

import sys
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class ChangedKeys(Generic[K]):
    """Collects keys. Between `forget` and the next `take` it collects none: all are new then.

    A reader that stops for long calls `forget`, or the keys become ever more.
    """

    def __init__(self) -> None:
        self._keys: dict[K, None] = {}
        self._first: list[K] = []
        """The rest of what is new at first, the last one first: a dict of it would take long."""
        self._anew = True

    def note(self, key: K) -> None:
        """Note that something about a key has changed."""
        if not self._anew:
            self._keys[key] = None

    @property
    def pending(self) -> bool:
        """Whether `take` has more to return."""
        return self._anew or bool(self._keys or self._first)

    def take(self, known: Iterable[K], most: int = sys.maxsize) -> dict[K, None]:
        """Return up to `most` changed keys; at first, and after `forget`, all that are `known`."""
        if self._anew:
            self._anew = False
            self._first = list(known)
            self._first.reverse()
        if len(self._keys) <= most:
            keys, self._keys = self._keys, {}
        else:
            keys = dict.fromkeys(islice(self._keys, most))
            for key in keys:
                del self._keys[key]
        while self._first and len(keys) < most:
            keys[self._first.pop()] = None
        return keys

    def forget(self) -> None:
        """Have the next `take` return all keys."""
        self._keys.clear()
        self._first.clear()
        self._anew = True


def give_back(emptied: dict[K, V]) -> None:
    """Make an empty dict small again, after it was large.

    Deleted keys leave holes, and a loop over the dict looks at each of them.
    """
    if not emptied:
        emptied.clear()


def differing(old: Mapping[K, V], new: Mapping[K, V]) -> list[K]:
    """Return the keys whose values differ."""
    if old is new:
        return []
    found = [key for key, one in new.items() if (was := old.get(key)) is not one and was != one]
    return found + [key for key in old if key not in new]
