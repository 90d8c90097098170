"""Events that say that an IP has come up on this node, on its services; simple mode has no claims.

IPs that come up together are told together: one Event for each service, or a single one on the node
when they are of many services. After a restart the same text is recorded again: its count goes up.
"""

from collections.abc import Callable, Iterable, Mapping

from extip.addresses.local_addresses import AddressListener
from extip.api.core_v1 import ObjectReference
from extip.kube.events import EventRecorder
from extip.net.interfaces import IPAddress, IPInterface
from extip.services.arrival_events import record_arrivals
from extip.services.policy.arrivals import PATIENCE_S, QUIET_S, Arrival
from extip.services.policy.references import service_of
from extip.services.policy.requests import Owner
from extip.trigger import Trigger


class UpEvents(AddressListener):
    """Tells people which IPs have come up; the owner task is `run`."""

    def __init__(
        self,
        events: EventRecorder,
        *,
        wanted: Callable[[], Mapping[IPInterface, Iterable[Owner]]],
        node: str,
        link: Callable[[IPAddress], str],
    ) -> None:
        """Tell the owners that `wanted` returns for each IP; `link` returns where it is up."""
        self._events = events
        self._wanted = wanted
        self._node = node
        self._link = link
        self._came: dict[IPAddress, None] = {}
        self._news = Trigger()

    def announce(self, ips: Iterable[IPAddress]) -> None:
        """Note IPs that have come up."""
        self._came |= dict.fromkeys(ips)
        self._news.set()

    def withdraw(self, ips: Iterable[IPAddress]) -> None:
        """Forget IPs that are not up any more."""
        for ip in ips:
            self._came.pop(ip, None)

    async def run(self) -> None:
        """Tell of IPs that have come up until cancelled."""
        while True:
            await self._news.wait_until_quiet(QUIET_S, at_most_s=PATIENCE_S)
            self._tell()

    def _tell(self) -> None:
        wanted = {interface.ip: owners for interface, owners in self._wanted().items()}
        arrivals = [self._arrival(ip, wanted.get(ip, ())) for ip in self._came]
        self._came.clear()
        record_arrivals(self._events, arrivals, self._node_reference)

    def _arrival(self, ip: IPAddress, owners: Iterable[Owner]) -> Arrival:
        services = tuple(map(service_of, owners))
        return Arrival(ip=str(ip), node=self._node, link=self._link(ip), services=services)

    def _node_reference(self, name: str) -> ObjectReference:
        return ObjectReference(kind="Node", name=name, uid=name)  # as the kubelet's own Events
