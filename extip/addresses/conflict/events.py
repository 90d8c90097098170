"""Records conflicts with other stations as Kubernetes Events on the objects that ask for the IP.

One Event for each conflict that begins. It owns no task: `ConflictWatch` calls it.
"""

from collections.abc import Callable, Collection, Iterable, Mapping

from extip.kube.events import EventRecorder
from extip.net.interfaces import IPAddress
from extip.services.policy.references import reference_to
from extip.services.policy.requests import Owner

REASON = "AddressConflict"


class ConflictEvents:
    """Reports conflicts to the users of the cluster."""

    def __init__(
        self,
        events: EventRecorder,
        *,
        owners: Callable[[IPAddress], Iterable[Owner]],
        node: str = "",
    ) -> None:
        """`owners` returns the objects that ask for an IP. `node` is this node's name, or empty."""
        self._events = events
        self._owners = owners
        self._node = node

    def on_conflicts(self, now: Mapping[IPAddress, str], began: Collection[IPAddress]) -> None:
        """Record a Warning for each conflict that began."""
        for ip in sorted(began, key=str):
            message = f"the station with the MAC {now[ip]} announces {ip}, too"
            if self._node:
                message += f"; {self._node} holds it and goes on"
            for owner in self._owners(ip):
                self._events.record(
                    reference_to(owner), type="Warning", reason=REASON, message=message
                )
