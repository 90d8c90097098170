"""A value derived from all objects of a store, kept up to date object by object.

Most changes of objects do not matter to one process. Each change costs one look at one object. The
whole value is computed anew only after a change of a part.
"""

import sys
from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

from extip.cache.changes import ChangedKeys

Object = TypeVar("Object")
Part = TypeVar("Part")
Whole = TypeVar("Whole")


Linger = Callable[[Callable[[], None]], None]
"""Calls its argument after some time."""


class Parts(Generic[Object, Part]):
    """The part of each object that matters, by the object's key.

    With `linger`, the part of a deleted object stays for some time. When the object is created
    again within that time, nothing changes.
    """

    def __init__(
        self,
        *,
        get: Callable[[str], Object | None],
        extract: Callable[[Object], Part | None],
        on_change: Callable[[], None],
        linger: Linger | None = None,
    ) -> None:
        self._get = get
        self._extract = extract
        self._on_change = on_change
        self._linger = linger
        self._leaving: dict[str, object] = {}
        self._parts: dict[str, Part] = {}

    def update(self, key: str) -> None:
        """Read one object again, and call `on_change` when its part differs; an informer's handler.

        `extract` returns None for an object without a part.
        """
        found = self._get(key)
        if found is None and self._linger is not None and key in self._parts:
            if key not in self._leaving:
                mark = self._leaving[key] = object()
                self._linger(lambda: self._end(key, mark))
            return
        self._leaving.pop(key, None)
        self._set(key, None if found is None else self._extract(found))

    def get(self, key: str) -> Part | None:
        """Return the part of one object; None for an object without a part."""
        return self._parts.get(key)

    def _end(self, key: str, mark: object) -> None:
        if self._leaving.get(key) is mark:  # it was not created again meanwhile
            del self._leaving[key]
            self._set(key, None)

    def _set(self, key: str, part: Part | None) -> None:
        if part == self._parts.get(key):
            return
        if part is None:
            del self._parts[key]
        else:
            self._parts[key] = part
        self._part_changed(key)

    def _part_changed(self, _key: str) -> None:
        self._on_change()


class Followed(Parts[Object, Part]):
    """The parts by key, for one reader that takes what has changed."""

    def __init__(
        self,
        *,
        get: Callable[[str], Object | None],
        extract: Callable[[Object], Part | None],
        on_change: Callable[[], None],
        linger: Linger | None = None,
    ) -> None:
        super().__init__(get=get, extract=extract, on_change=on_change, linger=linger)
        self._changed = ChangedKeys[str]()

    @property
    def pending(self) -> bool:
        """Whether `changes` has more to return."""
        return self._changed.pending

    def changes(self, most: int = sys.maxsize) -> dict[str, Part | None]:
        """Return up to `most` parts that may differ since the last call; None for one that is gone.

        At first, and after `forget`, all parts have their turn.
        """
        return {key: self.get(key) for key in self._changed.take(self._parts, most)}

    def forget(self) -> None:
        """Have the next `changes` return all parts."""
        self._changed.forget()

    def _part_changed(self, key: str) -> None:
        self._changed.note(key)
        self._on_change()


class Derived(Parts[Object, Part], Generic[Object, Part, Whole]):
    """The parts by key, and the whole value that they make."""

    def __init__(
        self,
        *,
        get: Callable[[str], Object | None],
        extract: Callable[[Object], Part | None],
        combine: Callable[[Iterable[Part]], Whole],
        on_change: Callable[[], None],
        linger: Linger | None = None,
    ) -> None:
        super().__init__(get=get, extract=extract, on_change=on_change, linger=linger)
        self._combine = combine
        self._whole: Whole | None = None

    def value(self) -> Whole:
        """Return the whole value; the same object until a part changes."""
        if self._whole is None:
            self._whole = self._combine(self._parts.values())
        return self._whole

    def _part_changed(self, _key: str) -> None:
        self._whole = None
        self._on_change()
