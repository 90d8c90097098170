"""Writes that were refused, and when to try each again: none of them holds up the others."""

from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from http import HTTPStatus
from random import Random

from extip.clock import Clock
from extip.errors import ApiError, ApiUnavailableError
from extip.plan.backoff import Backoff

_REFUSED = Backoff(initial_s=0.2, cap_s=15.0)

_STALE = Backoff(initial_s=0.1, cap_s=1.0, jitter=0.0)
"""The watch is about to show what a stale decision had not seen."""

_FORGET_S = 60.0
"""What was not tried again for so long after its time is not wanted any more."""


@dataclass(slots=True)
class _Refused:
    until: float
    failures: int
    error: str
    """Empty while decisions about it are merely stale."""


class PutOff:
    """By the name of what is to be written."""

    def __init__(self, *, clock: Clock, rng: Random) -> None:
        self._clock = clock
        self._rng = rng
        self._refused: dict[str, _Refused] = {}

    def names(self) -> AbstractSet[str]:
        """Return what is not to be tried now."""
        now = self._clock.monotonic()
        late = [n for n, one in self._refused.items() if now > one.until + _FORGET_S]
        for name in late:
            del self._refused[name]
        return {name for name, one in self._refused.items() if one.until > now}

    def refused(self, name: str, error: ApiError) -> None:
        """Take note of a write that the API server answered so."""
        self._put_off(name, _REFUSED, str(error))

    def stale(self, name: str) -> None:
        """Take note of a write that was decided over something else than there is."""
        self._put_off(name, _STALE, "")

    def done(self, name: str) -> None:
        """Take note of a write that was made."""
        self._refused.pop(name, None)

    def clear(self) -> None:
        """Try everything again: what was in the way is over."""
        self._refused.clear()

    def problem(self) -> tuple[int, str]:
        """Return how many writes are refused, and why the first of them is."""
        errors = [one.error for one in self._refused.values() if one.error]
        return len(errors), errors[0] if errors else ""

    def next_s(self) -> float | None:
        """Return the seconds until something is to be tried again; None for never."""
        now = self._clock.monotonic()
        ahead = [one.until - now for one in self._refused.values() if one.until > now]
        return min(ahead, default=None)

    def _put_off(self, name: str, backoff: Backoff, error: str) -> None:
        known = self._refused.get(name)
        failures = 1 if known is None or bool(known.error) != bool(error) else known.failures + 1
        delay_s = backoff.delay_s(failures, self._rng.random())
        self._refused[name] = _Refused(self._clock.monotonic() + delay_s, failures, error)


def is_away(error: ApiError) -> bool:
    """Whether the API server itself is in trouble, rather than this one write.

    500 may be either: it is also the answer where an admission webhook fails.
    """
    return (
        isinstance(error, ApiUnavailableError) and error.status != HTTPStatus.INTERNAL_SERVER_ERROR
    )
