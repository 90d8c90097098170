"""One external IP → who asks for it, why it is where it is, and what is in its way. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from extip.api.conditions import find_condition
from extip.api.core_v1 import DetailedService, Event
from extip.api.ipcontroller_v1 import ASSIGNED, CONFLICT, IpClaim, IpClaimPool
from extip.api.names import PREVIOUS_NODE_LABEL
from extip.claims.policy.assignment import standby_of
from extip.claims.policy.claims import is_pinned, parse_cidr, pool_of
from extip.net.interfaces import IPAddress
from extip.pools.policy.address_request import address_request
from extip.services.policy.requests import parse_ip
from extip.status.policy.table import FINE, ClaimRow

_MOST_EVENTS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """One IP."""

    ip: str
    asked_by: tuple[str, ...]
    """Each service or person that asks for it, and in which way."""
    claims: tuple[str, ...]
    """Each claim of it, with its maker and what placed it."""
    before: str
    """Its former node, with time and reason as far as they are known; empty for none."""
    history: tuple[str, ...]
    """Its Events, the last one first. The API server keeps them for an hour."""
    history_unread: str
    """The reason for which some could not be read; empty when all were."""
    in_the_way: tuple[str, ...]
    """Empty when it is up and nobody contests it."""
    mistakes: tuple[str, ...] = ()
    """Annotations of its services that say something in vain."""


def explain(
    ip: str,
    *,
    rows: Iterable[ClaimRow],
    claims: Iterable[IpClaim],
    services: Iterable[DetailedService],
    events: Iterable[Event],
    unread: str = "",
) -> Explanation:
    """Explain an IP that has a row and these claims. `ip` is written as in the rows.

    `events` are those of its claims, and of the services that ask for it. `unread` is the reason
    for which some could not be read.
    """
    own = tuple(claims)
    address = parse_ip(ip)
    asked = [way for one in services if address and (way := _asks(one, address))]
    made = [f"the claim {one.metadata.name}, made by hand" for one in own if not one.managed]
    ways = [row for row in rows if row.ip == ip]
    blocked = [row.why for row in ways if row.state not in FINE and row.why]
    blocked += [text for one in own if (text := _conflict(one))]
    return Explanation(
        ip=ip,
        asked_by=(*asked, *made),
        claims=tuple(_claim(one) for one in own),
        before="; ".join(text for one in own if (text := _before(one))),
        history=_history(one for one in events if _is_about(one, ip)),
        history_unread=unread,
        in_the_way=tuple(dict.fromkeys(blocked, 0)),
    )


def who_could_give(ip: str, pools: Iterable[IpClaimPool]) -> str:
    """Say which pool knows an IP that nobody asks for; empty for none."""
    address = parse_ip(ip)
    for pool in pools:
        aside = (pool.status.set_aside or {}).get(ip)
        if aside is not None:
            return f"; pool {pool.metadata.name} has set it aside: {aside.message}"
        networks = [one.network for cidr in pool.spec.cidrs if (one := parse_cidr(cidr))]
        if address is not None and any(address in network for network in networks):
            return f"; it is in the network of pool {pool.metadata.name}, and nobody asks for it"
    return ""


def _asks(service: DetailedService, ip: IPAddress) -> str:
    """Return the service and its way of asking; empty when it does not ask for the IP."""
    name = f"{service.metadata.namespace}/{service.metadata.name}"
    request = address_request(service, lb_class=service.spec.load_balancer_class or "")
    if request is not None:
        if ip in request.requested:
            return f"{name}: names it and wants it from a pool"
        if ip in request.recorded:
            return f"{name}: got it from a pool, in its spec.externalIPs"
        if ip in request.given:
            return f"{name}: got it from a pool, in its status.loadBalancer"
    written = (parse_ip(text) for text in service.spec.external_ips or ())
    return f"{name}: wrote it into its spec.externalIPs" if ip in written else ""


def _claim(claim: IpClaim) -> str:
    pool = pool_of(claim)
    maker = "made by the scheduler" if claim.managed else "made by hand"
    source = f", of pool {pool}" if pool else ""
    standby = standby_of(claim)
    after = f"; {standby} takes it when that one dies" if standby else ""
    return f"{claim.metadata.name}, {maker}{source}: {_rule(claim)}{after}"


def _rule(claim: IpClaim) -> str:
    """Return what put the claim on its node."""
    node = claim.spec.node_name
    assigned = find_condition(claim.status.conditions, ASSIGNED)
    if is_pinned(claim):
        return f"pinned to {node} by hand"
    if not node:
        return "on no node"
    if assigned is None or not assigned.message:
        return f"on {node}"
    return f"{assigned.message}" if assigned.status == "True" else f"on {node}; {assigned.message}"


def _before(claim: IpClaim) -> str:
    """Return the former node; the reason of the move is in the condition, where it is known."""
    former = (claim.metadata.labels or {}).get(PREVIOUS_NODE_LABEL, "")
    assigned = find_condition(claim.status.conditions, ASSIGNED)
    _, found, told = ("" if assigned is None else assigned.message).partition("moved from ")
    if found:
        return told
    if claim.status.holder not in ("", claim.spec.node_name):
        return f"{claim.status.holder}, which has not given it up yet, or is dead"
    return former


def _conflict(claim: IpClaim) -> str:
    found = find_condition(claim.status.conditions, CONFLICT)
    return found.message if found is not None and found.status == "True" else ""


def _history(events: Iterable[Event]) -> tuple[str, ...]:
    told: Sequence[Event] = sorted(events, key=_time, reverse=True)
    texts = [f"{_time(one)} {one.reason}: {one.message}" for one in told]
    once = dict.fromkeys(texts, 0)  # claim and service are told some of them alike
    return tuple(once)[:_MOST_EVENTS]


def _is_about(event: Event, ip: str) -> bool:
    """Whether it is about the IP: a service has Events about its other IPs, too."""
    if event.involved_object.kind != "Service":
        return True
    return ip in (word.rstrip(",;:") for word in event.message.split())


def _time(event: Event) -> str:
    return event.last_timestamp or event.first_timestamp or ""
