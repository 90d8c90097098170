"""A value computed from all objects of a store, kept up to date object by object.

A cluster has far more objects, and far more changes to them, than facts that matter to one node.
Each change costs one look at one object; the whole is computed anew only when a part differs.
"""

from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

Object = TypeVar("Object")
Part = TypeVar("Part")
Whole = TypeVar("Whole")


Linger = Callable[[Callable[[], None]], None]
"""Calls its argument after a while."""


class Parts(Generic[Object, Part]):
    """What matters of each object, by its key.

    With `linger`, that of an object which is deleted stays for so long: who makes it anew at once
    finds nothing changed.
    """

    def __init__(
        self,
        *,
        get: Callable[[str], Object | None],
        extract: Callable[[Object], Part | None],
        changed: Callable[[], None],
        linger: Linger | None = None,
    ) -> None:
        self._get = get
        self._extract = extract
        self._changed = changed
        self._linger = linger
        self._leaving: dict[str, object] = {}
        self._parts: dict[str, Part] = {}

    def update(self, key: str) -> None:
        """Look at one object again (an informer's handler); tell `changed` when its part differs.

        `extract` returns None for an object that contributes nothing.
        """
        found = self._get(key)
        if found is None and self._linger is not None and key in self._parts:
            if key not in self._leaving:
                mark = self._leaving[key] = object()
                self._linger(lambda: self._end(key, mark))
            return
        self._leaving.pop(key, None)
        self._set(key, None if found is None else self._extract(found))

    def _end(self, key: str, mark: object) -> None:
        if self._leaving.get(key) is mark:  # it has not come back meanwhile
            del self._leaving[key]
            self._set(key, None)

    def _set(self, key: str, part: Part | None) -> None:
        if part == self._parts.get(key):
            return
        if part is None:
            del self._parts[key]
        else:
            self._parts[key] = part
        self._changed()


class Derived(Parts[Object, Part], Generic[Object, Part, Whole]):
    """Parts by key, and the whole they make."""

    def __init__(
        self,
        *,
        get: Callable[[str], Object | None],
        extract: Callable[[Object], Part | None],
        combine: Callable[[Iterable[Part]], Whole],
        changed: Callable[[], None],
        linger: Linger | None = None,
    ) -> None:
        super().__init__(get=get, extract=extract, changed=self._part_changed, linger=linger)
        self._combine = combine
        self._tell = changed
        self._whole: Whole | None = None

    def value(self) -> Whole:
        """Return the whole; the very same object until a part changes."""
        if self._whole is None:
            self._whole = self._combine(self._parts.values())
        return self._whole

    def _part_changed(self) -> None:
        self._whole = None
        self._tell()
