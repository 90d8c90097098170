"""Services x claims → the requested external IPs without a claim, and the reasons. Pure.

A refused IP, or an address that no pool can give, has only an Event on the service. Events are kept
for an hour. Without one, the row tells where to look.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from extip.api.core_v1 import DetailedService, Event
from extip.api.ipcontroller_v1 import MAX_SERVICES, IpClaim
from extip.api.names import label_value
from extip.claims.policy.claims import ClaimIndex, index_claims, pool_of
from extip.net.interfaces import IPAddress
from extip.pools.policy.address_request import AddressRequest, address_request, misunderstood
from extip.services.policy.refusal import NOT_ALLOCATED
from extip.services.policy.requests import Owner, cut, parse_ip, service_owner
from extip.services.policy.written_ips import unproxied
from extip.status.policy.table import ClaimRow, ClaimState, told_by

_NO_CLAIM = (
    "it has no claim: a scheduler refused it (`address_refused` in its log says why), or none runs"
)
_NO_ADDRESS = (
    "it has no address from a pool: `kubectl get ipclaimpools` shows what is free; or no scheduler "
    "runs"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingService:
    """A service without an IP that it asks for."""

    owner: Owner
    ip: str
    """The IP, or the malformed text; empty for any address of a pool."""
    why: str = ""
    """The reason, when services and claims alone tell it."""
    if_told: bool = False
    """Only an Event can tell whether it asks extip or another load balancer."""


def pending_services(
    services: Iterable[DetailedService], claims: Iterable[IpClaim]
) -> list[PendingService]:
    """Return the requests without an IP, in the order of services' names."""
    index = index_claims(claims)
    found: list[PendingService] = []
    for service in sorted(services, key=_name):
        owner, refusal = service_owner(service), unproxied(service)
        why = "" if refusal is None else refusal.message
        found += _external(owner, service.spec.external_ips or (), index, why)
        request = address_request(service, lb_class=service.spec.load_balancer_class or "")
        if _is_refused(service, request, why):
            found.append(PendingService(owner=owner, ip="", why=why))
        elif request is not None and _waits_for_pool(request, index):
            of_a_class, unclear = bool(service.spec.load_balancer_class), "; ".join(request.unclear)
            found.append(PendingService(owner=owner, ip="", why=unclear, if_told=of_a_class))
        elif request is not None and _is_others(request, index):
            found.append(PendingService(owner=owner, ip="", if_told=True))
        elif _asks_for_nothing(service, request) and (slip := misunderstood(service)):
            found.append(PendingService(owner=owner, ip="", why=slip))
    return found


def pending_rows(
    lacking: Iterable[PendingService], events: Iterable[Event], arrived: Iterable[Event] = ()
) -> list[ClaimRow]:
    """Return the rows of pending services, each with extip's latest Warning about it.

    `arrived` are the Events of IPs that have come up, in simple mode: such a one ends the Warnings
    before it of a service that only a Warning says to be waiting.
    """
    up: dict[tuple[str, str], str] = {}
    for event in sorted(arrived, key=_when):
        up[event.involved_object.namespace, event.involved_object.name] = _when(event)
    told: dict[tuple[str, str], list[Event]] = {}
    for event in sorted(events, key=_when, reverse=True):
        about = event.involved_object
        told.setdefault((about.namespace, about.name), []).append(event)
    rows: list[ClaimRow] = []
    for one in lacking:
        of_it = told.get((one.owner.namespace, one.owner.name), ())
        latest = next((event for event in of_it if _is_about(event, one)), None)
        over = up.get((one.owner.namespace, one.owner.name), "")
        if latest is not None and one.if_told and _when(latest) <= over:
            continue
        if latest is not None or not one.if_told:
            rows.append(_row(one, latest))
    return rows


def is_about_ip(ip: str, message: str) -> bool:
    """Whether a part of a message begins with the IP; `told_on_services` joins parts."""
    begins = f"{ip} ", f"{ip},", f"{ip}:"
    return any(part.startswith(begins) for part in message.split("; "))


def _is_refused(service: DetailedService, request: AddressRequest | None, why: str) -> bool:
    """Whether the service asks for addresses of a pool, and may have none."""
    if not why or service.spec.external_ips:
        return False  # each IP that it wrote has a row of its own
    return request is not None and bool(request.unproxied)


def _external(
    owner: Owner, texts: Sequence[str], index: ClaimIndex, why: str
) -> Iterable[PendingService]:
    for text in texts:
        ip = parse_ip(text)
        if ip is None:
            shown = cut(text)
            yield PendingService(owner=owner, ip=shown, why=f"{shown!r} is not an IP address")
        elif not any(_serves(claim, owner) for claim in index.get(ip, ())):
            of_others = _whose(index.get(ip, ()), owner)
            yield PendingService(owner=owner, ip=str(ip), why=why or of_others)


def _serves(claim: IpClaim, owner: Owner) -> bool:
    """Whether the claim serves the service; a claim of a person serves every service."""
    named = claim.spec.services or ()
    return (
        not claim.managed
        or len(named) >= MAX_SERVICES  # the claim does not name more
        or any((one.namespace, one.name) == (owner.namespace, owner.name) for one in named)
    )


def _whose(claims: Iterable[IpClaim], owner: Owner) -> str:
    others = {one.namespace for claim in claims for one in claim.spec.services or ()}
    others.discard(owner.namespace)
    if not others:
        return ""
    return f"services of namespace {', '.join(sorted(others))} have it"


def _asks_for_nothing(service: DetailedService, request: AddressRequest | None) -> bool:
    return not service.spec.external_ips and (request is None or not request.families)


def _is_others(request: AddressRequest, index: ClaimIndex) -> bool:
    """Whether another load balancer serves the service."""
    return bool(request.families and request.ingress) and not any(
        ip in index for ip in (*request.given, *request.external)
    )


def _waits_for_pool(request: AddressRequest, index: ClaimIndex) -> bool:
    """Whether the service asks for an address of a pool, and has none."""
    if not request.families:
        return False
    has = {*(request.given if request.to_status else request.external)}
    if _is_others(request, index):
        return False
    if request.unclear or any(ip not in has for ip in request.requested):
        return True
    if not request.requested:
        has -= {ip for ip in has if _is_of_another_pool(ip, request, index)}
    missing = [v for v in request.families if not any(ip.version == v for ip in has)]
    return bool(missing) and (request.every_family or not has)


def _is_of_another_pool(ip: IPAddress, request: AddressRequest, index: ClaimIndex) -> bool:
    """Whether the IP is of a pool that the service does not name: it keeps the IP for now."""
    named = {label_value(name) for name in request.pools}
    of = {pool for claim in index.get(ip, ()) if (pool := pool_of(claim))}
    return bool(named and of) and not named & of


def _is_about(event: Event, lack: PendingService) -> bool:
    uid = event.involved_object.uid
    if uid and lack.owner.uid and uid != lack.owner.uid:
        return False  # about a deleted service of that name
    if not lack.ip:
        return event.reason == NOT_ALLOCATED
    return event.message.startswith((f"{lack.ip} ", f"{lack.ip},"))


def _row(lack: PendingService, event: Event | None) -> ClaimRow:
    state = ClaimState.REFUSED if lack.ip and lack.why else ClaimState.WAITING
    why = lack.why or (_NO_CLAIM if lack.ip else _NO_ADDRESS)
    if event is not None:
        told, why = told_by(event)
        state = told if lack.ip else ClaimState.WAITING
    return ClaimRow(
        ip=lack.ip,
        node="",
        state=state,
        since="" if event is None else event.first_timestamp or "",
        services=(str(lack.owner),),
        why=why,
    )


def _when(event: Event) -> str:
    return event.last_timestamp or event.first_timestamp or ""


def _name(service: DetailedService) -> tuple[str, str]:
    return service.metadata.namespace, service.metadata.name
