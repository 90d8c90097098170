"""Keeping track of trouble with one resource: how long to wait, and what to say, once."""

from random import Random

from extip.clock import Clock
from extip.log import Logger
from extip.plan.backoff import Backoff

MAX_RETRY_AFTER_S = 120.0
"""No `Retry-After` may silence a cache for longer."""


class Recovery:
    """Counts failures in a row; logs each kind once when it begins, and once when all is well."""

    def __init__(self, *, clock: Clock, rng: Random, logger: Logger) -> None:
        self._clock = clock
        self._rng = rng
        self._logger = logger
        self._failures = 0
        self._waits = 0
        self._since_s = 0.0
        self._said: set[str] = set()

    @property
    def ongoing(self) -> bool:
        """Whether something failed and nothing has been steady since."""
        return self._failures > 0

    def saw(self, reason: str) -> bool:
        """Whether there was a failure of that kind since all was well."""
        return reason in self._said

    def failed(
        self,
        reason: str,
        error: str,
        backoff: Backoff,
        *,
        retry_after_s: float | None = None,
        at_once: bool = False,
        worked: bool = False,
    ) -> float:
        """Note a failure; return the seconds to wait before the next try.

        `reason` is its kind: one of the same kind is logged at debug level until `steady`.
        `at_once` leaves out the backoff, but not what the server asked for. So does `worked`: what
        failed had been of use, and the backoff after the next failure is no longer for it.
        """
        if not self._failures:
            self._since_s = self._clock.monotonic()
        self._failures += 1
        self._waits += not worked
        delay_s = 0.0 if at_once or worked else backoff.delay_s(self._waits, self._rng.random())
        if retry_after_s is not None:
            delay_s = max(delay_s, min(retry_after_s, MAX_RETRY_AFTER_S))
        log = self._logger.debug if reason in self._said else self._logger.warning
        self._said.add(reason)
        log(
            "watch_interrupted",
            reason=reason,
            error=error,
            attempt=self._failures,
            delay_s=round(delay_s, 2),
        )
        return delay_s

    def steady(self) -> None:
        """Note that the stream holds: the next failure is the first one again."""
        if not self._failures:
            return
        self._logger.info(
            "watch_recovered",
            attempt=self._failures,
            after_s=round(self._clock.monotonic() - self._since_s, 1),
        )
        self._failures = self._waits = 0
        self._said.clear()
