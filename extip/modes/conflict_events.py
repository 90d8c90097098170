"""Conflicts with other stations as Kubernetes Events on the objects that asked for the IP."""

from collections.abc import Callable, Collection, Iterable, Mapping

from extip.kube.events import EventRecorder
from extip.modes.refusal_events import reference_to
from extip.plan.link import IPAddress
from extip.plan.requests import Owner

REASON = "AddressConflict"


class ConflictEvents:
    """Tells the users of the cluster."""

    def __init__(
        self,
        events: EventRecorder,
        *,
        owners: Callable[[IPAddress], Iterable[Owner]],
        node: str = "",
    ) -> None:
        """`owners` returns who asked for an IP; `node` is this one, if it has a name."""
        self._events = events
        self._owners = owners
        self._node = node

    def told(self, now: Mapping[IPAddress, str], began: Collection[IPAddress]) -> None:
        """Record a Warning for each conflict that began."""
        for ip in sorted(began, key=str):
            message = f"the station with the MAC {now[ip]} announces {ip}, too"
            if self._node:
                message += f"; {self._node} holds it and goes on"
            for owner in self._owners(ip):
                self._events.record(
                    reference_to(owner), type="Warning", reason=REASON, message=message
                )
