"""Writes that failed, and when to try each again: none of them holds up the others."""

from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from enum import Enum
from random import Random

from extip.clock import Clock
from extip.plan.backoff import Backoff

_FORGET_S = 60.0
"""What was not tried again for so long after its time is not wanted any more."""


class Failure(Enum):
    """What became of a write that was not made; the value says when to try it again."""

    STALE = Backoff(initial_s=0.05, cap_s=1.0, jitter=0.0)
    """It was decided over something else than there is: the watch is about to show that."""
    REFUSED = Backoff(initial_s=0.2, cap_s=60.0)
    """The API server said no."""
    UNANSWERED = Backoff(initial_s=0.5, cap_s=60.0)
    """Nobody said anything; whether it was made, the watch will tell."""


@dataclass(slots=True)
class _PutOff:
    failure: Failure
    until: float
    failures: int
    error: str
    """Empty while decisions about it are merely stale."""


class PutOff:
    """By the name of what is to be written."""

    def __init__(self, *, clock: Clock, rng: Random, longest_s: float) -> None:
        """No write is put off for more than `longest_s` at a time."""
        self._clock = clock
        self._rng = rng
        self._longest_s = longest_s
        self._known: dict[str, _PutOff] = {}

    def names(self) -> AbstractSet[str]:
        """Return what is not to be tried now."""
        now = self._clock.monotonic()
        late = [n for n, one in self._known.items() if now > one.until + _FORGET_S]
        for name in late:
            del self._known[name]
        return {name for name, one in self._known.items() if one.until > now}

    def is_put_off(self, name: str) -> bool:
        """Whether it is not to be tried now."""
        known = self._known.get(name)
        return known is not None and known.until > self._clock.monotonic()

    def is_suspect(self, name: str) -> bool:
        """Whether the last write of it was not answered."""
        known = self._known.get(name)
        return known is not None and known.failure is Failure.UNANSWERED

    def failed(self, name: str, failure: Failure, error: str = "", *, at_least: int = 1) -> float:
        """Take note of a write that failed; return for how many seconds it is put off.

        As long as if it had failed `at_least` so often in a row.
        """
        known = self._known.get(name)
        failures = 1 if known is None or known.failure is not failure else known.failures + 1
        backoff = replace(failure.value, cap_s=min(self._longest_s, failure.value.cap_s))
        delay_s = backoff.delay_s(max(failures, at_least), self._rng.random())
        until = self._clock.monotonic() + delay_s
        self._known[name] = _PutOff(failure, until, failures, error)
        return delay_s

    def news(self, name: str) -> str:
        """Return why a write failed, when it had not failed so before."""
        known = self._known.get(name)
        return known.error if known is not None and known.failures == 1 else ""

    def done(self, name: str) -> None:
        """Take note of a write that was made."""
        self._known.pop(name, None)

    def hasten(self) -> None:
        """Try at once what nobody answered: something is answered again."""
        now = self._clock.monotonic()
        for one in self._known.values():
            if one.failure is Failure.UNANSWERED:
                one.until = min(one.until, now)

    def clear(self) -> None:
        """Try everything again: what was in the way is over."""
        self._known.clear()

    def problem(self) -> tuple[int, str]:
        """Return how many writes fail, other than by being stale, and why the first of them."""
        errors = [one.error for one in self._known.values() if one.error]
        return len(errors), errors[0] if errors else ""
