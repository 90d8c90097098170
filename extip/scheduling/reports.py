"""Reports about decisions, each once.

A claim's name is taken, a service has no endpoint, a person's claim has the IP of a deleted one.
"""

from collections.abc import Callable, Iterable, Mapping

from extip import log
from extip.api.ipcontroller_v1 import IpClaim, ServiceReference
from extip.claims.policy.claims import parse_cidr
from extip.net.interfaces import IPAddress, IPInterface
from extip.scheduling.events import PlacementEvents
from extip.scheduling.policy.schedule import Decided


class DecisionReports:
    """Reports each of them, and remembers it for as long as it lasts."""

    def __init__(self, events: PlacementEvents) -> None:
        self._events = events
        self._log = log.get_logger("scheduling")
        self._taken: set[str] = set()
        self._not_served: dict[str, tuple[str, tuple[ServiceReference, ...]]] = {}

    def report_names(self, in_the_way: Mapping[str, IPInterface]) -> None:
        """Log each claim that has the name of another IP's claim, once."""
        self._taken &= in_the_way.keys()
        for name in sorted(in_the_way.keys() - self._taken):
            self._taken.add(name)
            ip = str(in_the_way[name].ip)
            reason = "this claim has its name and another cidr; delete or rename it"
            self._log.warning("claim_name_taken", claim=name, address=ip, reason=reason)

    def report_deleted(
        self, claim: IpClaim, claims_of: Callable[[IPAddress], Iterable[IpClaim]]
    ) -> None:
        """Report to services whose claim was deleted that a claim of a person has their IP."""
        interface = parse_cidr(claim.spec.cidr)
        left = () if interface is None else claims_of(interface.ip)
        by_hand = next((one for one in left if not one.managed), None)
        if by_hand is not None:
            for service in sorted(claim.spec.services or ()):
                self._events.taken_over(service, claim, by_hand)

    def report_not_served(self, decided: Decided) -> None:
        """Report each service without an endpoint on its IP's node, once for each node."""
        claims = {claim.metadata.name: claim for claim in decided.claims}
        for name in decided.before - claims.keys():
            self._not_served.pop(name, None)
        for name in sorted(claims):
            node, services = claims[name].spec.node_name, decided.schedule.not_served.get(name, ())
            told_node, told = self._not_served.pop(name, ("", ()))
            for service in sorted(services):
                if told_node != node or service not in told:
                    self._events.not_served(service, claims[name])
            if services:
                self._not_served[name] = node, services
