"""A service → the addresses that it asks for, and the addresses that it shows. Pure."""

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from extip.api.core_v1 import DetailedService, DetailedServiceSpec, LoadBalancerIngress
from extip.api.names import (
    ADDRESS_COUNT_ANNOTATION,
    ADDRESSES_ANNOTATION,
    ALLOCATED_ANNOTATION,
    AUTO,
    AUTO_ANNOTATION,
    LINK_ANNOTATION,
    MIGRATED_ANNOTATION,
    POOL_ANNOTATION,
    PREFIX,
    SERVICE_ANNOTATIONS,
    SHARING_KEY_ANNOTATION,
)
from extip.net.interfaces import IPAddress
from extip.net.link_selection import is_link_name
from extip.services.policy.address_count import MAX_ADDRESSES, address_count
from extip.services.policy.requests import Owner, cut, parse_ip, service_owner
from extip.services.policy.written_ips import unproxied

T = TypeVar("T", bound=Hashable)

_VERSIONS = {"IPv4": 4, "IPv6": 6}
_LOAD_BALANCER = "LoadBalancer"

_FOR_POOLS = (
    ADDRESSES_ANNOTATION,
    POOL_ANNOTATION,
    SHARING_KEY_ANNOTATION,
    ADDRESS_COUNT_ANNOTATION,
)
"""Annotations that mean something on services that get addresses of pools alone."""

_WRITTEN = {ALLOCATED_ANNOTATION, MIGRATED_ANNOTATION}
"""Annotations that extip writes, and nobody else."""

_SHOWN = 3
"""The number of annotations that a message names."""

MAX_NAMED = 128
"""Addresses that a service may name, and pools of its list that count. An annotation may have 256
KiB, and a decision about a service takes a time that grows with the square of its addresses."""

_MAX_RECORDED = 2 * MAX_NAMED
"""Allocated addresses that extip reads back; a service has fewer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AddressRequest:
    """The facts of one service that allocation looks at."""

    owner: Owner
    version: str = ""
    """Its resourceVersion."""
    created: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    families: tuple[int, ...] = ()
    """The IP versions that it gets an address of, in order; empty when it asks for none."""
    every_family: bool = True
    """It needs an address of each family, where it has two."""
    together: bool = False
    """It gets no address before it can have one of each family."""
    to_status: bool = False
    """Its addresses go to `status.loadBalancer`, which only extip writes."""
    to_external_ips: bool = False
    """Its addresses go to `spec.externalIPs`, beside those that a person wrote there."""
    unproxied: str = ""
    """The reason for which kube-proxy does not serve it: it gets no address."""
    other_class: bool = False
    """Another implementation writes its `status.loadBalancer`."""
    count: int = 1
    """The addresses of each family that it gets, where it names none of that family."""
    requested: tuple[IPAddress, ...] = ()
    """The addresses that it names."""
    unclear: tuple[str, ...] = ()
    """The reasons for which its request can never be met. It gets no other address instead, and
    keeps its addresses."""
    pools: tuple[str, ...] = ()
    """The pools that it names, the preferred one first."""
    sharing_key: str = ""
    """It shares an address with services of the same key; empty for none."""
    external_ips: tuple[str, ...] = ()
    """`spec.externalIPs` as text."""
    external: tuple[IPAddress, ...] = ()
    """The same, as addresses."""
    recorded: tuple[IPAddress, ...] = ()
    """The allocated ones among them, from its annotation."""
    written: frozenset[IPAddress] = frozenset()
    """The part of `external` that a person wrote; there may be thousands of them."""
    ingress: tuple[LoadBalancerIngress, ...] = ()
    """`status.loadBalancer.ingress`."""
    given: tuple[IPAddress, ...] = ()
    """The addresses in it."""

    def has_external(self, ip: IPAddress) -> bool:
        """Whether an address is among its external IPs, whoever wrote it."""
        return ip in self.written or (ip in self.recorded and ip in self.external)


def address_request(service: DetailedService, *, lb_class: str) -> AddressRequest | None:
    """Return the request of a service; None for a service that allocation ignores.

    Without `lb_class`, load balancers without a class are served, as other implementations do. With
    one, only load balancers of that class are served.
    """
    spec, annotations = service.spec, service.metadata.annotations or {}
    balanced = spec.type == _LOAD_BALANCER
    to_status = balanced and (spec.load_balancer_class or "") == lb_class
    auto = annotations.get(AUTO_ANNOTATION, "")
    allocated = annotations.get(ALLOCATED_ANNOTATION, "")
    ingress = service.status.load_balancer.ingress or ()
    if not (to_status or auto == AUTO or ingress or allocated):
        return None
    # A service with a malformed value keeps its addresses.
    to_external_ips = not to_status and (auto == AUTO or bool(auto and allocated))
    refusal = unproxied(service) if to_status or to_external_ips else None
    families = _families(spec) if (to_status or to_external_ips) and refusal is None else ()
    asked = _words(annotations.get(ADDRESSES_ANNOTATION, ""))
    asked = asked or _words(spec.load_balancer_ip if to_status else "")
    named = asked[:MAX_NAMED]
    count = address_count(service)
    external_ips = spec.external_ips or ()
    external, recorded = _addresses(external_ips), _addresses(_words(allocated)[:_MAX_RECORDED])
    return AddressRequest(
        owner=service_owner(service),
        version=service.metadata.resource_version,
        created=service.metadata.created,
        labels=service.metadata.labels or {},
        families=families,
        every_family=spec.ip_family_policy != "PreferDualStack",
        together=spec.ip_family_policy == "RequireDualStack",
        to_status=to_status,
        to_external_ips=to_external_ips,
        unproxied="" if refusal is None else refusal.message,
        other_class=balanced and not to_status,
        count=count or 1,
        requested=_addresses(named),
        unclear=(
            *_slips(auto if to_external_ips else AUTO),
            *_impossible(named, families),
            *(() if named == asked else (_too_many(len(asked)),)),
            *(() if count else (_no_count(annotations.get(ADDRESS_COUNT_ANNOTATION, "")),)),
        ),
        pools=_words(annotations.get(POOL_ANNOTATION, ""))[:MAX_NAMED],
        sharing_key=annotations.get(SHARING_KEY_ANNOTATION, ""),
        external_ips=external_ips,
        external=external,
        recorded=recorded,
        written=frozenset(external).difference(recorded),
        ingress=ingress,
        given=_addresses(tuple(way.ip for way in ingress if way.ip)),
    )


def misunderstood(service: DetailedService) -> str:
    """Return a sentence about annotations that extip cannot interpret; empty for none."""
    annotations = service.metadata.annotations or {}
    auto = annotations.get(AUTO_ANNOTATION, "")
    unknown = [key for key in sorted(annotations) if key not in SERVICE_ANNOTATIONS]
    slips = [f"there is no annotation {cut(key)}{_meant(key)}" for key in unknown[:_SHOWN]]
    link = annotations.get(LINK_ANNOTATION, "").strip()
    if link and not is_link_name(link):
        slips.append(
            f"annotation {LINK_ANNOTATION} is {cut(link)!r}, which cannot be the name of an "
            "interface"
        )
    if not auto and service.spec.type != _LOAD_BALANCER:
        slips += [
            f"annotation {key} means nothing without {AUTO_ANNOTATION}: {AUTO} or "
            f"type {_LOAD_BALANCER}"
            for key in _FOR_POOLS
            if annotations.get(key)
        ]
    return "; ".join((*_slips(auto or AUTO), *slips))


def _meant(unknown: str) -> str:
    """Return the annotation that is most like an unknown one; all of them where none is."""
    from difflib import get_close_matches  # noqa: PLC0415 - only for a mistake

    known = sorted(SERVICE_ANNOTATIONS - _WRITTEN)
    words = {name.removeprefix(PREFIX): name for name in known}
    near = get_close_matches(unknown.removeprefix(PREFIX), words, n=1)
    return f" (is {words[near[0]]} meant?)" if near else f"; there are {', '.join(known)}"


def _no_count(text: str) -> str:
    return (
        f"annotation {ADDRESS_COUNT_ANNOTATION} is {cut(text)!r}, and only a number from 1 to "
        f"{MAX_ADDRESSES} means anything"
    )


def _too_many(count: int) -> str:
    return (
        f"annotation {ADDRESSES_ANNOTATION} names {count} addresses, and {MAX_NAMED} are the most"
    )


def _slips(auto: str) -> tuple[str, ...]:
    if auto == AUTO:
        return ()
    return (f"annotation {AUTO_ANNOTATION} is {cut(auto)!r}, and only {AUTO!r} means anything",)


def _impossible(asked: tuple[str, ...], families: tuple[int, ...]) -> Iterable[str]:
    """Yield the errors in the named addresses that no pool could mend."""
    names = " and ".join(f"IPv{version}" for version in families)
    for text in asked:
        ip = parse_ip(text)
        if ip is None:
            yield f"{cut(text)!r} is no IP address"
        elif families and ip.version not in families:
            yield f"{ip} is an IPv{ip.version} address, and the service has {names} alone"


def is_written_by_hand(request: AddressRequest, version: int) -> bool:
    """Whether a person wrote an address of that family into `spec.externalIPs`."""
    return any(ip.version == version for ip in request.written)


def ways_in(request: AddressRequest) -> list[str]:
    """Return the addresses and host names in the service's `status.loadBalancer`."""
    return [way.ip or way.hostname for way in request.ingress]


def age_of(request: AddressRequest) -> tuple[str, ...]:
    """Return the sort key of a service: of two, the older one gets an address first."""
    owner = request.owner
    return request.created, owner.kind, owner.namespace, owner.name, owner.uid


def _families(spec: DetailedServiceSpec) -> tuple[int, ...]:
    """Return the IP versions of the service; a server without dual stack may not tell them."""
    known = tuple(_VERSIONS[name] for name in spec.ip_families or () if name in _VERSIONS)
    return known or (4,)


def _words(text: str) -> tuple[str, ...]:
    return _unique(word for part in text.split(",") if (word := part.strip()))


def _addresses(texts: tuple[str, ...]) -> tuple[IPAddress, ...]:
    found = (parse_ip(text) for text in texts)
    return _unique(ip for ip in found if ip is not None)


def _unique(items: Iterable[T]) -> tuple[T, ...]:
    """Return each item once, in the order of first appearance."""
    return tuple(dict.fromkeys(items, 0))
