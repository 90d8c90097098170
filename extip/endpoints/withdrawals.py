"""Simple mode takes IPs down while none of their services has a ready endpoint.

That is ``--without-endpoints withdraw``. An IP that is up goes when that has lasted: a rolling
restart takes nothing down. An IP that is not up comes up with the first ready endpoint.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace

from extip import log
from extip.endpoints.policy.unanswered import unanswered
from extip.guard.policy.admission import Admission
from extip.kube.events import EventRecorder
from extip.net.interfaces import IPAddress, IPInterface
from extip.services.policy.requests import Owner, Requests
from extip.services.withdrawal_events import record_withdrawal

_Found = tuple[Requests, Mapping[str, bool], Mapping[IPInterface, bool]]
"""Requests and services without endpoints, and the IPs of which no service has one then."""


class Withdrawals:
    """Compares IPs and endpoints at each pass over the interface."""

    def __init__(
        self,
        events: EventRecorder,
        *,
        unready: Callable[[], Mapping[str, bool]],
        up: Callable[[], Collection[IPAddress]],
    ) -> None:
        """`unready` is `ServiceInputs.unready`; `up` returns extip's IPs on the interface."""
        self._events = events
        self._unready = unready
        self._up = up
        self._found: _Found = Requests(), {}, {}
        self._result: tuple[Requests, Collection[IPInterface], Requests] | None = None
        self._told: dict[IPInterface, tuple[Owner, ...]] = {}
        self._log = log.get_logger("withdrawals")

    def serve(self, requests: Requests) -> Requests:
        """Return the requests without the IPs that are down for now.

        The same object is returned while nothing changes.
        """
        down = self._down(self._find(requests))
        if not down:
            return requests
        last = self._result
        if last is None or last[0] is not requests or last[1] != down:
            wanted = {i: owners for i, owners in requests.wanted.items() if i not in down}
            last = self._result = requests, down, replace(requests, wanted=wanted)
        return last[2]

    def _find(self, requests: Requests) -> Mapping[IPInterface, bool]:
        unready = self._unready()
        if self._found[0] is not requests or self._found[1] is not unready:
            self._found = requests, unready, unanswered(requests.wanted, unready)
        return self._found[2]

    def _down(self, found: Mapping[IPInterface, bool]) -> frozenset[IPInterface]:
        if all(found.values()):
            return frozenset(found)
        up = self._up()
        return frozenset(i for i, lasted in found.items() if lasted or i.ip not in up)

    def on_admission(self, _: Admission) -> None:
        """Report each IP once when it has lasted, and when it is over; a reconciler's handler."""
        requests, _unready, found = self._found
        if not found and not self._told:
            return
        for interface in self._told.keys() - found.keys():
            services = self._told.pop(interface)
            self._log.info("address_restored", address=str(interface.ip), services=_texts(services))
        for interface, lasted in found.items():
            if lasted and interface not in self._told:
                services = self._told[interface] = requests.wanted[interface]
                self._log.info(
                    "address_withdrawn", address=str(interface.ip), services=_texts(services)
                )
                record_withdrawal(self._events, interface.ip, services)


def _texts(services: Collection[Owner]) -> list[str]:
    return [str(service) for service in services]
