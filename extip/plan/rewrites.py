"""The same written to the same object again and again → when it may be written next.

Whoever undoes a write of ours wants something else there: a person's slip, which is put right at
once, or a program that does it each time. Two programs that both insist would write as fast as the
API server lets them.
"""

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass

from extip.plan.backoff import Backoff

_AT_ONCE = 2
"""Writes of the same that do not wait: the first, and the one that puts a slip right."""

_LONGEST_S = 300.0

_FORGET_S = 2 * _LONGEST_S
"""After so long without another, a write counts as the first."""


@dataclass(frozen=True, slots=True)
class _Row:
    content: object
    count: int
    at_s: float
    due_s: float


class Rewrites:
    """How often in a row each object was written the same, and when."""

    def __init__(self, longest_s: float = _LONGEST_S) -> None:
        """`longest_s` is the most that a write may have to wait."""
        self._pace = Backoff(initial_s=1.0, cap_s=min(longest_s, _LONGEST_S))
        self._rows: OrderedDict[Hashable, _Row] = OrderedDict()  # the oldest write first

    def due_s(self, key: Hashable, content: object) -> float:
        """Return the monotonic time from which an object may be written this; 0 for at once."""
        row = self._rows.get(key)
        return row.due_s if row is not None and row.content == content else 0.0

    def waiting(self, now: float) -> dict[Hashable, float]:
        """Return the objects that may not be written the same now, with the seconds until then."""
        return {key: row.due_s - now for key, row in self._rows.items() if row.due_s > now}

    def is_fight(self, key: Hashable, content: object) -> bool:
        """Whether another write of this is one too many for a slip."""
        row = self._rows.get(key)
        return row is not None and row.content == content and row.count >= _AT_ONCE

    def wrote(self, key: Hashable, content: object, *, now: float, chance: float) -> None:
        """Note that it was written; `chance` as for `Backoff.delay_s`."""
        self.forget(now)
        row = self._rows.pop(key, None)
        count = 1 if row is None or row.content != content else row.count + 1
        due_s = 0.0 if count < _AT_ONCE else now + self._pace.delay_s(count - _AT_ONCE + 1, chance)
        self._rows[key] = _Row(content, count, now, due_s)

    def forget(self, now: float) -> None:
        """Forget what is long past."""
        while self._rows and now - next(iter(self._rows.values())).at_s > _FORGET_S:
            self._rows.popitem(last=False)
