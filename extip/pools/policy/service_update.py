"""Allocated addresses x a service → the next write to the service. Pure.

Only claimed addresses are added. While a new address is not claimed, or not up, the address that
it replaces stays.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from msgspec.structs import replace

from extip.api.core_v1 import VIP, LoadBalancerIngress
from extip.api.ipcontroller_v1 import IpClaimPool
from extip.api.names import ALLOCATED_ANNOTATION
from extip.net.interfaces import IPAddress
from extip.pools.policy.address_request import AddressRequest
from extip.services.policy.requests import Owner, parse_ip

_NEVER = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class SetIngress:
    """Write a service's `status.loadBalancer.ingress`."""

    owner: Owner
    version: str
    """The service's resourceVersion that this was decided over."""
    ingress: tuple[LoadBalancerIngress, ...]
    new: tuple[IPAddress, ...] = ()
    """The addresses that the service did not have before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SetExternalIPs:
    """Write a service's `spec.externalIPs`, and the annotation with the allocated ones."""

    owner: Owner
    version: str
    external_ips: tuple[str, ...]
    allocated: tuple[IPAddress, ...]
    new: tuple[IPAddress, ...] = ()


ServiceUpdate = SetIngress | SetExternalIPs


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldAddresses:
    """The addresses of one service after allocation."""

    held: Sequence[IPAddress]
    """Its addresses, in the order to show them."""
    claimed: Collection[IPAddress]
    """The addresses in `held` whose claims exist."""
    claimed_anew: Collection[IPAddress] = ()
    """The addresses in `held` that it shows already, and whose claims are about to be made anew:
    kube-proxy serves them meanwhile."""
    leaving: Collection[IPAddress]
    """Former addresses that it still shows and that are still claimed for it."""
    up: Collection[IPAddress] = ()
    """The addresses in `held` and `leaving` that a node has up."""
    lasting: Mapping[IPAddress, datetime] = field(default_factory=dict)
    """The addresses in `leaving` that answer for a while beside their successors, each with the end
    of that time."""
    withdrawn: Collection[IPAddress]
    """Addresses of extip in a status that another implementation writes."""

    @property
    def next_end(self) -> datetime | None:
        """The time at which an address may be shown no more, if none comes up before."""
        return min(self.lasting.values(), default=None)

    @property
    def replaced(self) -> list[IPAddress]:
        """Addresses in `leaving` that stay until the one that replaces them is up, or longer.

        The new address may never come up, for instance when another station has it. Of several new
        addresses, each that is up takes the place of one.
        """
        working = {*self.up}
        coming = [ip.version for ip in self.held if ip not in working]
        up = [ip for ip in self.leaving if ip in working]
        staying = {
            ip
            for version in dict.fromkeys(coming, 0)
            for ip in [one for one in up if one.version == version][: coming.count(version)]
        }
        return [ip for ip in self.leaving if ip in staying or ip in self.lasting]


def plan_update(request: AddressRequest, holding: HeldAddresses) -> ServiceUpdate | None:
    """Return the next write to the service; None when it shows its addresses.

    There is one write at a time, since each write changes the version that the next one carries.
    An address is written to its new field before it is removed from the old one.
    """
    if request.to_status:
        return _ingress(request, holding) or _external_ips(request, holding)
    return _external_ips(request, holding) or _ingress(request, holding)


def service_update_patch(update: ServiceUpdate) -> dict[str, object]:
    """Return the merge patch; for `SetIngress` it goes to the status subresource.

    It fails with a conflict when the service has changed since it was read.
    """
    metadata: dict[str, object] = {"resourceVersion": update.version}
    if isinstance(update, SetIngress):
        return {
            "metadata": metadata,
            "status": {"loadBalancer": {"ingress": update.ingress or None}},
        }
    allocated = ",".join(str(ip) for ip in update.allocated)
    return {
        "metadata": {**metadata, "annotations": {ALLOCATED_ANNOTATION: allocated or None}},
        "spec": {"externalIPs": update.external_ips or None},
    }


def _external_ips(request: AddressRequest, holding: HeldAddresses) -> SetExternalIPs | None:
    """Return the write to `spec.externalIPs`: addresses that a person wrote there stay."""
    shown = _shown(holding) if request.to_external_ips else []
    there, recorded, wanted = {*request.external}, {*request.recorded}, {*shown}
    new = [ip for ip in shown if ip not in there]
    kept = [
        text
        for text in request.external_ips
        if (ip := parse_ip(text)) not in recorded or ip in wanted
    ]
    allocated = [ip for ip in shown if ip in recorded or ip not in there]
    external_ips = (*kept, *(str(ip) for ip in new))
    if external_ips == request.external_ips and {*allocated} == recorded:
        return None
    return SetExternalIPs(
        owner=request.owner,
        version=request.version,
        external_ips=external_ips,
        allocated=tuple(allocated),
        new=tuple(new),
    )


def _ingress(request: AddressRequest, holding: HeldAddresses) -> SetIngress | None:
    """Return the write to the status; of one that another implementation writes, only removals."""
    if not request.to_status:
        left = tuple(way for way in request.ingress if parse_ip(way.ip) not in holding.withdrawn)
        if left == request.ingress:
            return None
        return SetIngress(owner=request.owner, version=request.version, ingress=left)
    shown = _shown(holding)
    if holding.held and not shown and not {*holding.held}.intersection(request.given):
        return None  # the first address is about to be claimed
    ports = {parse_ip(way.ip): way.ports for way in request.ingress}
    ingress = tuple(
        LoadBalancerIngress(ip=str(ip), ip_mode=VIP, ports=ports.get(ip)) for ip in shown
    )
    if ingress == tuple(_with_mode(way) for way in request.ingress):
        return None
    return SetIngress(
        owner=request.owner,
        version=request.version,
        ingress=ingress,
        new=tuple(ip for ip in shown if ip not in request.given),
    )


def end_of(since: Iterable[str], drain_seconds: float, *, now: datetime) -> datetime | None:
    """Return the end of the time for which an address stays beside those that replace it.

    `since` has when each of those came up (RFC 3339). Of several the last one counts. A time that
    nobody can tell has no end. Return None after the end.
    """
    end = max((_ends(text, drain_seconds) for text in since), default=now)
    return end if end > now else None


def _ends(since: str, drain_seconds: float) -> datetime:
    try:
        end = datetime.fromisoformat(since) + timedelta(seconds=drain_seconds)
    except (ValueError, OverflowError):  # a node may have written anything
        return _NEVER
    return end if end.tzinfo is not None else _NEVER


def _shown(holding: HeldAddresses) -> list[IPAddress]:
    """Return the claimed addresses, and former ones that are not replaced yet."""
    claimed = {*holding.claimed, *holding.claimed_anew}
    shown = [ip for ip in holding.held if ip in claimed]
    staying = holding.leaving if len(shown) < len(holding.held) else holding.replaced
    first = {*shown}
    return shown + [ip for ip in staying if ip not in first]


def _with_mode(way: LoadBalancerIngress) -> LoadBalancerIngress:
    """Return the entry with the mode that none means; an old server drops the mode."""
    return replace(way, ip_mode=VIP) if way.ip and not way.ip_mode else way


@dataclass(frozen=True, slots=True)
class SetPoolStatus:
    """Merge into a pool's status."""

    pool: IpClaimPool
    """The version that was decided over."""
    patch: object


AllocationWrite = ServiceUpdate | SetPoolStatus
"""The writes of allocation."""


def field_of(update: ServiceUpdate) -> str:
    """Return the field of the service that the update writes."""
    return "status.loadBalancer" if isinstance(update, SetIngress) else "spec.externalIPs"
