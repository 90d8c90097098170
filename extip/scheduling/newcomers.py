"""Claims that this process has just created, and that get no chores yet.

A new claim's service is written meanwhile, and its node reports. A chore beside that makes one of
the two writes fail, and begin anew. The node's first report also has the condition `Assigned`, so
that most claims need no write for it. While many claims are created, their services wait for these
writes, and not for chores.
"""

from collections.abc import Set as AbstractSet
from itertools import islice

from extip.clock import Clock
from extip.writes.policy.burst import Burst

_NEW_S = 0.5
"""Seconds after its creation for which a claim is new at least."""

_REPORT_S, _MANY_REPORT_S = 1.0, 3.0
"""Seconds without a creation and a report after which no more reports are waited for. Those of many
claims come later."""

_FEW, _QUIET_S, _MAX_HOLD_S = 16, 1.0, 60.0
"""More creations in a row are many, and chores wait for a pause, for up to a minute."""

_LONGEST_S = 90.0
"""The longest time for which a claim is new, in seconds. Nodes hold their reports back, too."""


class Newcomers:
    """The claims that are new, by name; one event loop owns it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._burst = Burst(few=_FEW, quiet_s=_QUIET_S, longest_s=_MAX_HOLD_S)
        self._awaited: dict[str, float] = {}
        """When the claims were created whose nodes are going to report, the oldest first."""
        self._told: dict[str, float] = {}
        """The same of all others."""
        self._news_at = 0.0
        """When the last claim was created, or reported of."""

    def clear(self) -> None:
        """Forget all."""
        self._awaited.clear()
        self._told.clear()

    def created(self, name: str, *, node: str) -> None:
        """Take in a claim; an empty `node` reports nothing."""
        now = self._news_at = self._clock.monotonic()
        self._burst.note(1, now)
        self.drop(name)
        (self._awaited if node else self._told)[name] = now

    def reported(self, name: str) -> None:
        """Note that the node of a claim has reported."""
        created_at = self._awaited.pop(name, None)
        if created_at is not None:
            self._told[name] = created_at
            self._news_at = self._clock.monotonic()

    def drop(self, name: str) -> None:
        """Take it that a claim is new no more: it was deleted, or moved."""
        self._awaited.pop(name, None)
        self._told.pop(name, None)

    def is_new(self, name: str) -> bool:
        """Whether a claim gets no chores yet."""
        return name in self._awaited or name in self._told

    def names(self) -> AbstractSet[str]:
        """Return the names of all."""
        return self._awaited.keys() | self._told.keys()

    def over(self) -> list[str]:
        """Return the names of those whose time is over, and forget them; it looks at no others."""
        now = self._clock.monotonic()
        report_s, held_until = self._report_s(), now + self._burst.hold_s(now)
        found: list[str] = []
        for known, news_s in ((self._awaited, report_s), (self._told, None)):
            for name, created_at in known.items():
                if self._end(created_at, news_s, held_until) > now:
                    break
                found.append(name)
        for name in found:
            self.drop(name)
        return found

    def next_s(self) -> float | None:
        """Return the seconds until the time of the first is over; None for none."""
        now = self._clock.monotonic()
        report_s, held_until = self._report_s(), now + self._burst.hold_s(now)
        ends = [
            self._end(created_at, news_s, held_until)
            for known, news_s in ((self._awaited, report_s), (self._told, None))
            for created_at in islice(known.values(), 1)
        ]
        return max(0.0, min(ends) - now) if ends else None

    def _report_s(self) -> float:
        few = len(self._awaited) + len(self._told) <= _FEW
        return _REPORT_S if few else _MANY_REPORT_S

    def _end(self, created_at: float, report_s: float | None, held_until: float) -> float:
        """Return when a claim is new no more; None for a report that is not waited for."""
        least = max(created_at + _NEW_S, held_until)
        if report_s is not None:
            least = max(least, self._news_at + report_s)
        return min(created_at + _LONGEST_S, least)
