"""Claims that this process has just created, and that get no chores yet.

A new claim's service is written meanwhile, and its node reports. A chore beside that makes one of
the two writes fail, and begin anew. The node's first report also has the condition `Assigned`, so
that most claims need no write for it. While many claims are created, their services wait for these
writes, and not for chores.
"""

from dataclasses import dataclass

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


@dataclass(slots=True)
class _Newcomer:
    created_at: float
    awaited: bool
    """Whether its node is going to report."""


class Newcomers:
    """The claims that are new, by name; one event loop owns it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._burst = Burst(few=_FEW, quiet_s=_QUIET_S, longest_s=_MAX_HOLD_S)
        self._known: dict[str, _Newcomer] = {}
        self._news_at = 0.0
        """When the last claim was created, or reported of."""

    def clear(self) -> None:
        """Forget all."""
        self._known.clear()

    def created(self, name: str, *, node: str) -> None:
        """Take in a claim; an empty `node` reports nothing."""
        now = self._news_at = self._clock.monotonic()
        self._burst.note(1, now)
        self._known[name] = _Newcomer(now, bool(node))

    def reported(self, name: str) -> None:
        """Note that the node of a claim has reported."""
        known = self._known.get(name)
        if known is not None and known.awaited:
            known.awaited = False
            self._news_at = self._clock.monotonic()

    def drop(self, name: str) -> None:
        """Take it that a claim is new no more: it was deleted, or moved."""
        self._known.pop(name, None)

    def wait_s(self, name: str) -> float:
        """Return the seconds for which a claim is new yet; 0 when it is not."""
        known = self._known.get(name)
        if known is None:
            return 0.0
        now = self._clock.monotonic()
        wait_s = self._end(known, now + self._burst.hold_s(now)) - now
        if wait_s <= 0:
            del self._known[name]
        return max(0.0, wait_s)

    def waiting(self) -> dict[str, float]:
        """Return all new claims, with the seconds for which they are new yet."""
        now = self._clock.monotonic()
        held_s = self._burst.hold_s(now)
        if held_s > 0:
            return dict.fromkeys(self._known, held_s)
        found = {name: self._end(known, now) - now for name, known in self._known.items()}
        found = {name: wait_s for name, wait_s in found.items() if wait_s > 0}
        self._known = {name: self._known[name] for name in found}
        return found

    @property
    def many(self) -> bool:
        """Whether many claims are being created."""
        return self._burst.hold_s(self._clock.monotonic()) > 0

    def _end(self, known: _Newcomer, held_until: float) -> float:
        """Return when a claim is new no more."""
        least = known.created_at + _NEW_S
        if known.awaited:
            report_s = _REPORT_S if len(self._known) <= _FEW else _MANY_REPORT_S
            least = max(least, self._news_at + report_s)
        return min(known.created_at + _LONGEST_S, max(least, held_until))
