"""Refusals as Kubernetes Events on the objects that asked."""

from extip.api.resources import IP_CLAIMS
from extip.kube.events import EventRecorder, ObjectReference
from extip.plan.guard import Refusal
from extip.plan.requests import Owner

_API_VERSIONS = {IP_CLAIMS.kind: IP_CLAIMS.api_version}


class EventReporter:
    """Implements `extip.reconcile.ports.Reporter`."""

    def __init__(self, events: EventRecorder) -> None:
        self._events = events

    def refused(self, owner: Owner, refusal: Refusal) -> None:
        """Record a Warning on `owner`."""
        self._events.record(
            ObjectReference(
                api_version=_API_VERSIONS.get(owner.kind, "v1"),
                kind=owner.kind,
                namespace=owner.namespace,
                name=owner.name,
                uid=owner.uid,
            ),
            type="Warning",
            reason=refusal.reason.value,
            message=refusal.message,
        )
