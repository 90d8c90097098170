"""The same content written to the same object again and again → the time of the next write. Pure.

A write of ours that is undone has one of two causes. A person's slip is put right at once. Another
program undoes the write each time: without a backoff both programs would write as fast as the API
server lets them.
"""

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass

from extip.backoff import Backoff

_AT_ONCE = 2
"""Writes of the same content that do not wait: the first, and the one that puts a slip right."""

_LONGEST_S = 300.0

_FORGET_S = 2 * _LONGEST_S
"""Seconds without another write after which a write counts as the first."""


@dataclass(frozen=True, slots=True)
class _Row:
    content: object
    count: int
    at_s: float
    due_s: float


class Rewrites:
    """The number and time of writes of the same content in a row, for each object."""

    def __init__(self, longest_s: float = _LONGEST_S) -> None:
        """`longest_s` is the longest delay of a write, in seconds."""
        self._pace = Backoff(initial_s=1.0, cap_s=min(longest_s, _LONGEST_S))
        self._rows: OrderedDict[Hashable, _Row] = OrderedDict()  # the oldest write first
        self._repeated: dict[Hashable, None] = {}
        """The objects that were written more than once: few, while many are written once."""

    def due_s(self, key: Hashable, content: object) -> float:
        """Return the monotonic time from which the content may be written; 0 for at once."""
        row = self._rows.get(key)
        return row.due_s if row is not None and row.content == content else 0.0

    def waiting(self, now: float) -> dict[Hashable, float]:
        """Return the objects whose repeated write has to wait, with the seconds until then."""
        delays = ((key, self._rows[key].due_s - now) for key in self._repeated)
        return {key: delay_s for key, delay_s in delays if delay_s > 0}

    def is_fight(self, key: Hashable, content: object) -> bool:
        """Whether another write of this content means that a program undoes it."""
        row = self._rows.get(key)
        return row is not None and row.content == content and row.count >= _AT_ONCE

    def wrote(self, key: Hashable, content: object, *, now: float, chance: float) -> None:
        """Count a write; `chance` is that of `Backoff.delay_s`."""
        self.forget(now)
        row = self._rows.pop(key, None)
        count = 1 if row is None or row.content != content else row.count + 1
        due_s = 0.0 if count < _AT_ONCE else now + self._pace.delay_s(count - _AT_ONCE + 1, chance)
        self._rows[key] = _Row(content, count, now, due_s)
        if due_s:
            self._repeated[key] = None
        else:
            self._repeated.pop(key, None)

    def forget(self, now: float) -> None:
        """Forget writes that are older than `_FORGET_S`."""
        while self._rows and now - next(iter(self._rows.values())).at_s > _FORGET_S:
            key, _ = self._rows.popitem(last=False)
            self._repeated.pop(key, None)
