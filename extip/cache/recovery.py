"""The failures of one resource: the delay of the next try, and the log."""

from dataclasses import dataclass
from random import Random

from extip.backoff import Backoff
from extip.clock import Clock
from extip.log import Logger

MAX_RETRY_AFTER_S = 120.0
"""The longest `Retry-After` that is respected, in seconds."""

LONG_S = 10.0
"""Seconds. Trouble that lasts longer is always reported, with its end. A proxy with an idle timeout
cuts streams again and again, and makes trouble that ends sooner."""

QUIET_S = 600.0
"""Seconds after a report in which short trouble of that kind is not reported again."""

MAX_QUIET_S = 3600.0
"""The longest such time: it doubles each time that the trouble came again."""


@dataclass(slots=True)
class _Report:
    """The last report of a kind of trouble."""

    at_s: float
    quiet_s: float = QUIET_S
    repeated: int = 0
    """How often the trouble came since then without a report."""


class Recovery:
    """Counts failures in a row; logs each kind once at its begin, and once at the end of all.

    Short trouble that comes again and again is reported from time to time, with its count. All
    other failures are logged at debug level.
    """

    def __init__(self, *, clock: Clock, rng: Random, logger: Logger) -> None:
        self._clock = clock
        self._rng = rng
        self._logger = logger
        self._failures = 0
        self._waits = 0
        self._since_s = 0.0
        self._seen: set[str] = set()
        self._said: set[str] = set()
        self._reports: dict[str, _Report] = {}

    @property
    def ongoing(self) -> bool:
        """Whether there was a failure, and no steady stream since."""
        return self._failures > 0

    @property
    def since_s(self) -> float:
        """The begin of the last trouble, on the clock's timeline."""
        return self._since_s

    def saw(self, reason: str) -> bool:
        """Whether the ongoing trouble had a failure of that kind."""
        return reason in self._seen

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
        """Count a failure; return the seconds before the next try.

        `reason` is its kind: each kind is reported once until `steady`. `at_once` leaves out the
        backoff, but not the server's `Retry-After`. `worked` does the same for a stream that had
        delivered something: its failure does not lengthen the next backoff.
        """
        now = self._clock.monotonic()
        if not self._failures:
            self._since_s = now
        self._failures += 1
        self._waits += not worked
        delay_s = 0.0 if at_once or worked else backoff.delay_s(self._waits, self._rng.random())
        if retry_after_s is not None:
            delay_s = max(delay_s, min(retry_after_s, MAX_RETRY_AFTER_S))
        repeated = self._reports[reason].repeated if reason in self._reports else 0
        log = self._logger.warning if self._is_news(reason, now) else self._logger.debug
        log(
            "watch_interrupted",
            reason=reason,
            error=error,
            attempt=self._failures,
            delay_s=round(delay_s, 2),
            **({"repeated": repeated} if repeated else {}),
        )
        return delay_s

    def steady(self) -> None:
        """Note that a stream holds: the next failure counts as the first."""
        if not self._failures:
            return
        lasted_s = self._clock.monotonic() - self._since_s
        log = self._logger.info if self._said or lasted_s >= LONG_S else self._logger.debug
        log(
            "watch_recovered",
            attempt=self._failures,
            after_s=round(lasted_s, 1),
            reason=", ".join(sorted(self._seen)),
        )
        self._failures = self._waits = 0
        self._seen.clear()
        self._said.clear()

    def _is_news(self, reason: str, now: float) -> bool:
        """Note a failure of a kind; return whether to report it."""
        first = reason not in self._seen
        self._seen.add(reason)
        if reason in self._said:
            return False
        last = self._reports.get(reason)
        if last is None:
            self._reports[reason] = _Report(now)
        elif now - last.at_s < last.quiet_s and now - self._since_s < LONG_S:
            last.repeated += first
            return False
        else:
            quiet_s = min(2 * last.quiet_s, MAX_QUIET_S) if last.repeated else QUIET_S
            self._reports[reason] = _Report(now, quiet_s)
        self._said.add(reason)
        return True
