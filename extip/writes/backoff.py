"""The backoff of failed writes, for each object by itself: none of them delays another."""

from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from enum import Enum
from random import Random

from extip.backoff import Backoff
from extip.clock import Clock

_FORGET_S = 60.0
"""Seconds after which a failed write that was not tried again is forgotten."""


class Failure(Enum):
    """The way in which a write failed; the value is its backoff."""

    STALE = Backoff(initial_s=0.05, cap_s=1.0, jitter=0.0)
    """The decision was over an old version; the watch is about to deliver the new one."""
    REFUSED = Backoff(initial_s=0.2, cap_s=60.0)
    """The API server said no."""
    UNANSWERED = Backoff(initial_s=0.5, cap_s=60.0)
    """No answer came; the watch will show whether the write was made."""


@dataclass(slots=True)
class _Failed:
    failure: Failure
    until: float
    failures: int
    error: str
    """Empty while the decisions are merely stale."""


class WriteBackoff:
    """The failed writes, by the name of the object."""

    def __init__(self, *, clock: Clock, rng: Random, longest_s: float) -> None:
        """`longest_s` is the longest delay of a write, in seconds."""
        self._clock = clock
        self._rng = rng
        self._longest_s = longest_s
        self._known: dict[str, _Failed] = {}

    def names(self) -> AbstractSet[str]:
        """Return the objects whose writes have to wait now."""
        now = self._clock.monotonic()
        return {name for name, one in self._known.items() if one.until > now}

    def is_waiting(self, name: str) -> bool:
        """Whether a write of the object has to wait now."""
        known = self._known.get(name)
        return known is not None and known.until > self._clock.monotonic()

    def is_suspect(self, name: str) -> bool:
        """Whether the last write of the object was not answered."""
        known = self._known.get(name)
        return known is not None and known.failure is Failure.UNANSWERED

    def failed(self, name: str, failure: Failure, error: str = "", *, at_least: int = 1) -> float:
        """Count a failed write; return the seconds that the next one has to wait.

        The delay is at least that of `at_least` failures in a row.
        """
        known = self._known.get(name)
        failures = 1 if known is None or known.failure is not failure else known.failures + 1
        backoff = replace(failure.value, cap_s=min(self._longest_s, failure.value.cap_s))
        delay_s = backoff.delay_s(max(failures, at_least), self._rng.random())
        until = self._clock.monotonic() + delay_s
        self._known[name] = _Failed(failure, until, failures, error)
        return delay_s

    def news(self, name: str) -> str:
        """Return the error of a write that has failed for the first time; empty otherwise."""
        known = self._known.get(name)
        return known.error if known is not None and known.failures == 1 else ""

    def done(self, name: str) -> None:
        """Forget the failures of an object: its write was made."""
        self._known.pop(name, None)

    def hasten(self) -> None:
        """End the wait of unanswered writes: the server answers again."""
        now = self._clock.monotonic()
        for one in self._known.values():
            if one.failure is Failure.UNANSWERED:
                one.until = min(one.until, now)

    def clear(self) -> None:
        """End every wait: the trouble is over."""
        self._known.clear()

    def problem(self) -> tuple[int, str]:
        """Return the number of failing writes, without stale ones, and the first error."""
        now = self._clock.monotonic()
        late = [n for n, one in self._known.items() if now > one.until + _FORGET_S]
        for name in late:
            del self._known[name]
        errors = [one.error for one in self._known.values() if one.error]
        return len(errors), errors[0] if errors else ""
