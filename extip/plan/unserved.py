"""Services x claims → the external IPs that services ask for and that have no claim, and why not.

An IP that is refused, or that no pool can give, leaves no trace but an Event on the service. Events
are kept for an hour, so where there is none any more it is said who knows.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from extip.api.core_v1 import DetailedService, Event
from extip.api.crds import MAX_SERVICES
from extip.api.ipcontroller_v1 import IpClaim
from extip.api.names import label_value
from extip.plan.asking import unproxied
from extip.plan.claims import ClaimIndex, index_claims, pool_of
from extip.plan.demand import Demand, misunderstood, service_demand
from extip.plan.link import IPAddress
from extip.plan.overview import ClaimRow, ClaimState
from extip.plan.requests import Owner, cut, parse_ip, service_owner

NOT_ALLOCATED = "AddressNotAllocated"
"""Reason of the Event on a service that waits for an address from a pool."""

MISUNDERSTOOD = "AnnotationNotUnderstood"
"""Reason of the Event on a service with an annotation that looks like extip's and means nothing."""

_NO_CLAIM = (
    "it has no claim: a scheduler refused it (`address_refused` in its log says why), or none runs"
)
_NO_ADDRESS = (
    "it has no address from a pool: `kubectl get ipclaimpools` shows what is free; or no scheduler "
    "runs"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Unserved:
    """A service does not have an IP that it asks for."""

    owner: Owner
    ip: str
    """As addresses are written, or what was written in its place; empty: any of a pool."""
    why: str = ""
    """Where services and claims alone tell."""
    if_told: bool = False
    """Only an Event can tell whether it asks this scheduler, or another load balancer."""


def unserved(services: Iterable[DetailedService], claims: Iterable[IpClaim]) -> list[Unserved]:
    """Return what services lack, in order of their names."""
    index = index_claims(claims)
    found: list[Unserved] = []
    for service in sorted(services, key=_name):
        owner, refusal = service_owner(service), unproxied(service)
        why = "" if refusal is None else refusal.message
        found += _external(owner, service.spec.external_ips or (), index, why)
        if _is_refused(service, why):
            found.append(Unserved(owner=owner, ip="", why=why))
        elif _waits_for_pool(service, index):
            of_a_class = bool(service.spec.load_balancer_class)
            found.append(Unserved(owner=owner, ip="", why=_unclear(service), if_told=of_a_class))
        elif _is_others(service, index):
            found.append(Unserved(owner=owner, ip="", if_told=True))
        elif _asks_for_nothing(service) and (slip := misunderstood(service)):
            found.append(Unserved(owner=owner, ip="", why=slip))
    return found


def unserved_rows(lacking: Iterable[Unserved], events: Iterable[Event]) -> list[ClaimRow]:
    """Describe what is lacking, with what the latest of extip's Warnings says of it."""
    told: dict[tuple[str, str], list[Event]] = {}
    for event in sorted(events, key=_when, reverse=True):
        about = event.involved_object
        told.setdefault((about.namespace, about.name), []).append(event)
    rows: list[ClaimRow] = []
    for one in lacking:
        of_it = told.get((one.owner.namespace, one.owner.name), ())
        latest = next((event for event in of_it if _is_about(event, one)), None)
        if latest is not None or not one.if_told:
            rows.append(_row(one, latest))
    return rows


def _is_refused(service: DetailedService, why: str) -> bool:
    """Whether it asks for addresses of a pool, and can have none."""
    if not why or service.spec.external_ips:
        return False  # or it is said of each IP that it wrote
    demand = service_demand(service, lb_class=service.spec.load_balancer_class or "")
    return demand is not None and bool(demand.unproxied)


def _external(
    owner: Owner, texts: Sequence[str], index: ClaimIndex, why: str
) -> Iterable[Unserved]:
    for text in texts:
        ip = parse_ip(text)
        if ip is None:
            shown = cut(text)
            yield Unserved(owner=owner, ip=shown, why=f"{shown!r} is not an IP address")
        elif not any(_serves(claim, owner) for claim in index.by_ip.get(ip, ())):
            of_others = _whose(index.by_ip.get(ip, ()), owner)
            yield Unserved(owner=owner, ip=str(ip), why=why or of_others)


def _serves(claim: IpClaim, owner: Owner) -> bool:
    """Whether the claim is the service's, too; of one made by hand nobody says whose it is."""
    named = claim.spec.services or ()
    return (
        not claim.managed
        or len(named) >= MAX_SERVICES  # the rest of them are not written down
        or any((one.namespace, one.name) == (owner.namespace, owner.name) for one in named)
    )


def _whose(claims: Iterable[IpClaim], owner: Owner) -> str:
    others = {one.namespace for claim in claims for one in claim.spec.services or ()}
    others.discard(owner.namespace)
    if not others:
        return ""
    return f"services of namespace {', '.join(sorted(others))} have it"


def _unclear(service: DetailedService) -> str:
    demand = service_demand(service, lb_class=service.spec.load_balancer_class or "")
    return "" if demand is None else "; ".join(demand.unclear)


def _asks_for_nothing(service: DetailedService) -> bool:
    demand = service_demand(service, lb_class=service.spec.load_balancer_class or "")
    return not service.spec.external_ips and (demand is None or not demand.families)


def _is_others(service: DetailedService, index: ClaimIndex) -> bool:
    """Whether another load balancer serves it."""
    demand = service_demand(service, lb_class=service.spec.load_balancer_class or "")
    return (
        demand is not None
        and bool(demand.families and demand.ingress)
        and not any(ip in index.by_ip for ip in (*demand.given, *demand.external))
    )


def _waits_for_pool(service: DetailedService, index: ClaimIndex) -> bool:
    """Whether it asks for an address of a pool, or for one of its own choice, and has none."""
    demand = service_demand(service, lb_class=service.spec.load_balancer_class or "")
    if demand is None or not demand.families:
        return False
    has = {*(demand.given if demand.to_status else demand.external)}
    if _is_others(service, index):
        return False
    if demand.unclear or any(ip not in has for ip in demand.requested):
        return True
    if not demand.requested:
        has -= {ip for ip in has if _is_of_another_pool(ip, demand, index)}
    missing = [v for v in demand.families if not any(ip.version == v for ip in has)]
    return bool(missing) and (demand.every_family or not has)


def _is_of_another_pool(ip: IPAddress, demand: Demand, index: ClaimIndex) -> bool:
    """Whether the service has it only until a pool that it names can give it one."""
    named = {label_value(name) for name in demand.pools}
    of = {pool for claim in index.by_ip.get(ip, ()) if (pool := pool_of(claim))}
    return bool(named and of) and not named & of


def _is_about(event: Event, lack: Unserved) -> bool:
    uid = event.involved_object.uid
    if uid and lack.owner.uid and uid != lack.owner.uid:
        return False  # a service of that name that is no more
    if not lack.ip:
        return event.reason == NOT_ALLOCATED
    return event.message.startswith((f"{lack.ip} ", f"{lack.ip},"))


def _row(lack: Unserved, event: Event | None) -> ClaimRow:
    refused = bool(lack.ip) and (event is not None or bool(lack.why))
    unknown = _NO_CLAIM if lack.ip else _NO_ADDRESS
    return ClaimRow(
        ip=lack.ip,
        node="",
        state=ClaimState.REFUSED if refused else ClaimState.WAITING,
        since="" if event is None else event.first_timestamp or "",
        services=(str(lack.owner),),
        why=lack.why or unknown if event is None else event.message,
    )


def _when(event: Event) -> str:
    return event.last_timestamp or event.first_timestamp or ""


def _name(service: DetailedService) -> tuple[str, str]:
    return service.metadata.namespace, service.metadata.name
