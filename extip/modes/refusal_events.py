"""Refusals as Kubernetes Events on the objects that asked."""

from extip.api.resources import IP_CLAIMS
from extip.kube.events import EventRecorder, ObjectReference
from extip.log import Logger
from extip.plan.permissions import Permissions
from extip.plan.refusal import Refusal
from extip.plan.requests import Owner

_UNRESTRICTED = (
    "whoever may create services may take any IP of this network (CVE-2020-8554); restrict them by "
    "--allow-cidr, --allow or an admission policy"
)

_API_VERSIONS = {IP_CLAIMS.kind: IP_CLAIMS.api_version}


def warn_when_unrestricted(permissions: Permissions, logger: Logger) -> None:
    """Say once, at the start, that services may ask for whatever they like."""
    if not permissions.restrictive:
        logger.warning("external_ips_unrestricted", reason=_UNRESTRICTED)


class EventReporter:
    """Implements `extip.reconcile.ports.Reporter`."""

    def __init__(self, events: EventRecorder) -> None:
        self._events = events

    def refused(self, owner: Owner, refusal: Refusal) -> None:
        """Record a Warning on `owner`."""
        self._events.record(
            reference_to(owner),
            type="Warning",
            reason=refusal.reason.value,
            message=refusal.message,
        )


def reference_to(owner: Owner) -> ObjectReference:
    """Return what an Event about an owner refers to."""
    return ObjectReference(
        api_version=_API_VERSIONS.get(owner.kind, "v1"),
        kind=owner.kind,
        namespace=owner.namespace,
        name=owner.name,
        uid=owner.uid,
    )
