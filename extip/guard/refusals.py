"""Reports each refusal and warning once: a log line, an Event on the owner, a metric."""

from collections import Counter

from extip import log
from extip.guard.policy.admission import Admission
from extip.kube.events import EventRecorder
from extip.log import Logger
from extip.metrics import Metrics
from extip.services.policy.permissions import Permissions
from extip.services.policy.references import reference_to
from extip.services.policy.refusal import Reason, Refusal
from extip.services.policy.requests import Owner, Rejection

_UNRESTRICTED = (
    "whoever may create services may take any IP of this network (CVE-2020-8554); restrict them by "
    "--allow-cidr, --allow or an admission policy"
)


def warn_when_unrestricted(permissions: Permissions, logger: Logger) -> None:
    """Warn at the start that services may ask for any IP."""
    if not permissions.restrictive:
        logger.warning("external_ips_unrestricted", reason=_UNRESTRICTED)


class RefusalLedger:
    """Remembers the reports, so that a resync repeats none, and reports the end of each."""

    def __init__(self, events: EventRecorder, metrics: Metrics) -> None:
        self._metrics = metrics
        self._refused = _Reports(events, "address_refused", "address_refusal_ended")
        self._doubted = _Reports(events, "address_kept_in_doubt", "address_doubt_ended")

    def record(self, admission: Admission) -> None:
        """Report the changes of an admission result; an unchanged result costs nothing."""
        if self._refused.report(admission.rejected):
            refused = {rejection.text: rejection.refusal.reason for rejection in admission.rejected}
            counts = Counter(refused.values())
            for reason in Reason:
                self._metrics.addresses_refused.labels(reason=reason.value).set(counts[reason])
        if self._doubted.report(admission.doubtful):
            listed = {doubt.text for doubt in admission.doubtful}
            self._metrics.addresses_listed.set(len(listed))


class _Reports:
    """The reports of one kind."""

    def __init__(self, events: EventRecorder, began: str, ended: str) -> None:
        self._events = events
        self._began, self._ended = began, ended
        self._log = log.get_logger("guard")
        self._known: frozenset[Rejection] = frozenset()

    def report(self, now: frozenset[Rejection]) -> bool:
        """Report the beginnings and the ends; return whether there were any."""
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
                self._record(rejection.owner, rejection.refusal)
        return True

    def _record(self, owner: Owner, refusal: Refusal) -> None:
        """Record an Event on the object that asked."""
        self._events.record(
            reference_to(owner),
            type="Warning",
            reason=refusal.reason.value,
            message=refusal.message,
        )


def _order(rejection: Rejection) -> tuple[str, str]:
    return rejection.text, str(rejection.owner)
