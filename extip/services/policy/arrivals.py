"""IPs that have come up somewhere → what their services, or their nodes, are told. Pure."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from extip.api.conditions import is_true
from extip.api.ipcontroller_v1 import UP, IpClaim, ServiceReference

UP_REASON = "AddressUp"
"""The reason of the Events."""

QUIET_S = 1.0
"""Seconds without another arrival after which all are told."""

PATIENCE_S = 15.0
"""Seconds after which they are told in any case."""

MANY = 20
"""Services beyond which nodes are told instead: each Event is a write."""

_SHOWN = 3
"""The number of IPs that a message names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """An IP that has come up on a node."""

    ip: str
    node: str
    link: str
    services: tuple[ServiceReference, ...] = ()
    """The services that have it."""
    before: str = ""
    """The node that it was moved away from; empty for none."""
    why: str = ""
    """The reason for which it left that node."""

    def __str__(self) -> str:
        place = f"{self.ip} is on {self.node}, {self.link}"
        return f"{place}, and left {self.before}: {self.why}" if self.before else place


def place_of(claim: IpClaim) -> tuple[str, str] | None:
    """Return the node and the interface that the claim's IP is up on; None while it is not."""
    holder = claim.status.holder
    if holder != claim.spec.node_name or not is_true(claim.status.conditions, UP):
        return None
    return (holder, claim.status.link) if holder else None


def told_on_services(arrivals: Iterable[Arrival]) -> dict[ServiceReference, str]:
    """Return one message for each service; empty when there are more services than `MANY`."""
    by_service: dict[ServiceReference, list[Arrival]] = {}
    for arrival in arrivals:
        for service in arrival.services:
            by_service.setdefault(service, []).append(arrival)
    if len(by_service) > MANY:
        return {}
    return {service: _listed(map(str, found), "; ") for service, found in by_service.items()}


def told_on_nodes(arrivals: Iterable[Arrival]) -> dict[str, str]:
    """Return one message for each node that has some of the IPs now, with their reasons."""
    by_node: dict[str, list[Arrival]] = {}
    for arrival in arrivals:
        by_node.setdefault(arrival.node, []).append(arrival)
    return {node: _summary(found) for node, found in by_node.items()}


def _summary(arrivals: Sequence[Arrival]) -> str:
    origins = Counter(f"from {one.before} ({one.why})" for one in arrivals if one.before)
    counted = "".join(f", {count} {origin}" for origin, count in origins.most_common())
    return f"{len(arrivals)} IPs came up here{counted}: {_listed((a.ip for a in arrivals), ', ')}"


def _listed(texts: Iterable[str], separator: str) -> str:
    known = list(texts)
    more = len(known) - _SHOWN
    return separator.join(known[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
