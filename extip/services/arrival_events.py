"""Records where IPs have come up: on each of their services, or on nodes when these are many."""

from collections.abc import Callable, Collection

from extip.api.core_v1 import ObjectReference
from extip.kube.events import EventRecorder
from extip.services.policy.arrivals import UP_REASON, Arrival, told_on_nodes, told_on_services
from extip.services.policy.references import owner_of, reference_to


def record_arrivals(
    events: EventRecorder,
    arrivals: Collection[Arrival],
    node_of: Callable[[str], ObjectReference | None],
) -> None:
    """Record an Event for each service, or for each node; `node_of` returns its object by name.

    A node without an object is not told. An IP that no service has is told nowhere.
    """
    by_service = told_on_services(arrivals)
    for service, message in by_service.items():
        _record(events, reference_to(owner_of(service)), message)
    if by_service or not any(arrival.services for arrival in arrivals):
        return
    for node, message in told_on_nodes(arrivals).items():
        about = node_of(node)
        if about is not None:
            _record(events, about, message)


def _record(events: EventRecorder, about: ObjectReference, message: str) -> None:
    events.record(about, type="Normal", reason=UP_REASON, message=message)
