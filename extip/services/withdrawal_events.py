"""Records on services that an IP of theirs is down, since none of them has a ready endpoint."""

from collections.abc import Iterable

from extip.kube.events import EventRecorder
from extip.net.interfaces import IPAddress
from extip.services.policy.no_endpoint import NO_READY_ENDPOINT, told_of_withdrawal
from extip.services.policy.references import reference_to
from extip.services.policy.requests import Owner


def record_withdrawal(
    events: EventRecorder, ip: IPAddress | str, services: Iterable[Owner]
) -> None:
    """Record an Event for each service."""
    for service in services:
        events.record(
            reference_to(service),
            type="Warning",
            reason=NO_READY_ENDPOINT,
            message=told_of_withdrawal(ip),
        )
