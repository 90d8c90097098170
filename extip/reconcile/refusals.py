"""Tells each refusal and doubt once: a log line, a Kubernetes Event on the owner, a metric."""

from collections import Counter

from extip import log
from extip.metrics import Metrics
from extip.plan.desire import Desire
from extip.plan.refusal import Reason
from extip.plan.requests import Rejection
from extip.reconcile.ports import Reporter


class RefusalLedger:
    """Remembers what was told, so that a resync repeats nothing and an end is told too."""

    def __init__(self, reporter: Reporter, metrics: Metrics) -> None:
        self._metrics = metrics
        self._refused = _Told(reporter, "address_refused", "address_refusal_ended")
        self._doubted = _Told(reporter, "address_kept_in_doubt", "address_doubt_ended")

    def record(self, desire: Desire) -> None:
        """Take the outcome of a decision; costs nothing when it is the one of last time."""
        if self._refused.tell(desire.rejected):
            refused = {rejection.text: rejection.refusal.reason for rejection in desire.rejected}
            counts = Counter(refused.values())
            for reason in Reason:
                self._metrics.addresses_refused.labels(reason=reason.value).set(counts[reason])
        if self._doubted.tell(desire.doubtful):
            listed = {doubt.text for doubt in desire.doubtful}
            self._metrics.addresses_listed.set(len(listed))


class _Told:
    """What was told of one kind."""

    def __init__(self, reporter: Reporter, began: str, ended: str) -> None:
        self._reporter = reporter
        self._began, self._ended = began, ended
        self._log = log.get_logger("guard")
        self._known: frozenset[Rejection] = frozenset()

    def tell(self, now: frozenset[Rejection]) -> bool:
        """Tell what began and what ended; return whether anything did."""
        if now == self._known:
            return False
        told = {(rejection.text, rejection.owner) for rejection in now}
        ended = {(r.text, r.owner) for r in self._known - now} - told
        news = sorted(now - self._known, key=_order)
        reported = {(r.owner, r.refusal) for r in self._known}
        self._known = now
        for text, owner in sorted(ended):
            self._log.info(self._ended, address=text, service=str(owner))
        for rejection in news:
            self._log.warning(
                self._began,
                address=rejection.text,
                service=str(rejection.owner),
                reason=rejection.refusal.reason.value,
                message=rejection.refusal.message,
            )
            if (rejection.owner, rejection.refusal) not in reported:  # once for all of its IPs
                reported.add((rejection.owner, rejection.refusal))
                self._reporter.refused(rejection.owner, rejection.refusal)
        return True


def _order(rejection: Rejection) -> tuple[str, str]:
    return rejection.text, str(rejection.owner)
