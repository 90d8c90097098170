"""Reports about writes: they begin to fail, they succeed again, nothing is answered."""

from collections.abc import Iterable
from typing import Any

from extip import log
from extip.metrics import Metrics
from extip.writes.lanes import Lane, ServerContact


class WriteReports:
    """Logs each begin and each end once, and keeps the metric of failing writes."""

    def __init__(self, contact: ServerContact, metrics: Metrics) -> None:
        self._contact = contact
        self._metrics = metrics
        self._log = log.get_logger("scheduling")
        self._problem = ""
        self._away = False

    def report(self, lanes: Iterable[Lane[Any]]) -> None:
        """Report what differs from the last time."""
        count, problem = 0, ""
        for lane in lanes:
            failing, error = lane.backoff.problem()
            self._metrics.writes_failing.labels(lane.name).set(failing)
            count, problem = count + failing, problem or error
        if self._contact.away != self._away:
            self._away = self._contact.away
            if self._away:
                self._log.warning("nothing_answered", error=problem)
            else:
                self._log.info("answered_again")
        if problem and not self._problem:
            self._log.warning("writes_failed", count=count, error=problem)
        elif self._problem and not problem:
            self._log.info("writes_succeeded")
        self._problem = problem
