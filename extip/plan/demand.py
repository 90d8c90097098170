"""A service → the addresses that it asks to be given, and those that it says it has."""

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from extip.api.core_v1 import DetailedService, DetailedServiceSpec, LoadBalancerIngress
from extip.api.core_v1 import ServiceAnnotations as Annotations
from extip.api.names import AUTO
from extip.plan.asking import unproxied
from extip.plan.link import IPAddress
from extip.plan.requests import Owner, parse_ip, service_owner

T = TypeVar("T", bound=Hashable)

_VERSIONS = {"IPv4": 4, "IPv6": 6}
_LOAD_BALANCER = "LoadBalancer"


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """What allocation must know of one service."""

    owner: Owner
    version: str = ""
    """Its resourceVersion."""
    created: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    families: tuple[int, ...] = ()
    """IP versions to give an address of each, in order; empty when it asks for none (any more)."""
    every_family: bool = True
    """One address is not enough where there are two families."""
    to_status: bool = False
    """Addresses go to `status.loadBalancer`, which is ours alone."""
    to_external_ips: bool = False
    """Addresses go to `spec.externalIPs`, beside those that a person wrote there."""
    unproxied: str = ""
    """Why nobody would serve it at an address: it is given none."""
    other_class: bool = False
    """Its `status.loadBalancer` is that of another implementation."""
    requested: tuple[IPAddress, ...] = ()
    """Addresses that it asks for by name."""
    unreadable: tuple[str, ...] = ()
    """What it asks for that is no address."""
    pools: tuple[str, ...] = ()
    """Pools that it names, preferred first."""
    external_ips: tuple[str, ...] = ()
    """`spec.externalIPs` as they are written."""
    external: tuple[IPAddress, ...] = ()
    """The same, as addresses."""
    recorded: tuple[IPAddress, ...] = ()
    """Those among them that were allocated, as its annotation says."""
    ingress: tuple[LoadBalancerIngress, ...] = ()
    """`status.loadBalancer.ingress` as it is."""
    given: tuple[IPAddress, ...] = ()
    """The addresses in it."""


def service_demand(service: DetailedService, *, lb_class: str) -> Demand | None:
    """Return what the service asks for, or None when allocation has nothing to do with it.

    Without `lb_class`, load balancers without a class are served, as other implementations do; with
    one, those of exactly that class.
    """
    spec, annotations = service.spec, service.metadata.annotations or Annotations()
    balanced = spec.type == _LOAD_BALANCER
    to_status = balanced and (spec.load_balancer_class or "") == lb_class
    auto = annotations.external_ip == AUTO
    ingress = service.status.load_balancer.ingress or ()
    if not (to_status or auto or ingress or annotations.allocated):
        return None
    requested = _words(annotations.addresses)
    refusal = unproxied(service) if to_status or auto else None
    external_ips = spec.external_ips or ()
    return Demand(
        owner=service_owner(service),
        version=service.metadata.resource_version,
        created=service.metadata.created,
        labels=service.metadata.labels or {},
        families=_families(spec) if (to_status or auto) and refusal is None else (),
        every_family=spec.ip_family_policy != "PreferDualStack",
        to_status=to_status,
        to_external_ips=auto,
        unproxied="" if refusal is None else refusal.message,
        other_class=balanced and not to_status,
        requested=_addresses(requested),
        unreadable=tuple(text for text in requested if parse_ip(text) is None),
        pools=_words(annotations.pool),
        external_ips=external_ips,
        external=_addresses(external_ips),
        recorded=_addresses(_words(annotations.allocated)),
        ingress=ingress,
        given=_addresses(tuple(way.ip for way in ingress if way.ip)),
    )


def _families(spec: DetailedServiceSpec) -> tuple[int, ...]:
    """Return the IP versions of the service; servers without dual stack may say nothing of them."""
    known = tuple(_VERSIONS[name] for name in spec.ip_families or () if name in _VERSIONS)
    return known or (4,)


def _words(text: str) -> tuple[str, ...]:
    return _unique(word for part in text.split(",") if (word := part.strip()))


def _addresses(texts: tuple[str, ...]) -> tuple[IPAddress, ...]:
    found = (parse_ip(text) for text in texts)
    return _unique(ip for ip in found if ip is not None)


def _unique(items: Iterable[T]) -> tuple[T, ...]:
    """Return each item once, in order of its first appearance."""
    return tuple(dict.fromkeys(items, 0))
