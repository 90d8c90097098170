"""Tells each refusal once: a log line, a Kubernetes Event on the owner, a metric."""

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
        self._reporter = reporter
        self._metrics = metrics
        self._log = log.get_logger("guard")
        self._told: frozenset[Rejection] = frozenset()

    def record(self, desire: Desire) -> None:
        """Take the outcome of a decision; costs nothing when it is the one of last time."""
        if desire.rejected == self._told:
            return
        refused = {(rejection.text, rejection.owner) for rejection in desire.rejected}
        ended = {(r.text, r.owner) for r in self._told - desire.rejected} - refused
        news = sorted(desire.rejected - self._told, key=_order)
        reported = {(r.owner, r.refusal) for r in self._told}
        self._told = desire.rejected
        self._measure(desire)
        for text, owner in sorted(ended):
            self._log.info("address_refusal_ended", address=text, service=str(owner))
        for rejection in news:
            self._log.warning(
                "address_refused",
                address=rejection.text,
                service=str(rejection.owner),
                reason=rejection.refusal.reason.value,
                message=rejection.refusal.message,
            )
            if (rejection.owner, rejection.refusal) not in reported:  # once for all of its IPs
                reported.add((rejection.owner, rejection.refusal))
                self._reporter.refused(rejection.owner, rejection.refusal)

    def _measure(self, desire: Desire) -> None:
        refused = {rejection.text: rejection.refusal.reason for rejection in desire.rejected}
        counts = Counter(refused.values())
        for reason in Reason:
            self._metrics.addresses_refused.labels(reason=reason.value).set(counts[reason])


def _order(rejection: Rejection) -> tuple[str, str]:
    return rejection.text, str(rejection.owner)
