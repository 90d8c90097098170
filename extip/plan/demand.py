"""A service → the addresses that it asks to be given, and those that it says it has."""

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from extip.api.core_v1 import DetailedService, DetailedServiceSpec, LoadBalancerIngress
from extip.api.names import (
    ADDRESSES_ANNOTATION,
    ALLOCATED_ANNOTATION,
    AUTO,
    AUTO_ANNOTATION,
    POOL_ANNOTATION,
    SERVICE_ANNOTATIONS,
)
from extip.plan.asking import unproxied
from extip.plan.link import IPAddress
from extip.plan.requests import Owner, cut, parse_ip, service_owner

T = TypeVar("T", bound=Hashable)

_VERSIONS = {"IPv4": 4, "IPv6": 6}
_LOAD_BALANCER = "LoadBalancer"

_SHOWN = 3
"""Annotations that are named."""


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
    unclear: tuple[str, ...] = ()
    """Why it cannot have what it asks for, whatever there is: it is given nothing in its place, and
    keeps what it has."""
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
    spec, annotations = service.spec, service.metadata.annotations or {}
    balanced = spec.type == _LOAD_BALANCER
    to_status = balanced and (spec.load_balancer_class or "") == lb_class
    auto = annotations.get(AUTO_ANNOTATION, "")
    allocated = annotations.get(ALLOCATED_ANNOTATION, "")
    ingress = service.status.load_balancer.ingress or ()
    if not (to_status or auto == AUTO or ingress or allocated):
        return None
    # With a value that is not understood it keeps what it was given.
    to_external_ips = not to_status and (auto == AUTO or bool(auto and allocated))
    refusal = unproxied(service) if to_status or to_external_ips else None
    families = _families(spec) if (to_status or to_external_ips) and refusal is None else ()
    asked = _words(annotations.get(ADDRESSES_ANNOTATION, ""))
    asked = asked or _words(spec.load_balancer_ip if to_status else "")
    external_ips = spec.external_ips or ()
    return Demand(
        owner=service_owner(service),
        version=service.metadata.resource_version,
        created=service.metadata.created,
        labels=service.metadata.labels or {},
        families=families,
        every_family=spec.ip_family_policy != "PreferDualStack",
        to_status=to_status,
        to_external_ips=to_external_ips,
        unproxied="" if refusal is None else refusal.message,
        other_class=balanced and not to_status,
        requested=_addresses(asked),
        unclear=(*_slips(auto if to_external_ips else AUTO), *_impossible(asked, families)),
        pools=_words(annotations.get(POOL_ANNOTATION, "")),
        external_ips=external_ips,
        external=_addresses(external_ips),
        recorded=_addresses(_words(allocated)),
        ingress=ingress,
        given=_addresses(tuple(way.ip for way in ingress if way.ip)),
    )


def misunderstood(service: DetailedService) -> str:
    """Say which of its annotations mean nothing, though they look as if; empty when all do."""
    annotations = service.metadata.annotations or {}
    auto = annotations.get(AUTO_ANNOTATION, "")
    known = ", ".join(sorted(SERVICE_ANNOTATIONS - {ALLOCATED_ANNOTATION}))
    unknown = [key for key in sorted(annotations) if key not in SERVICE_ANNOTATIONS]
    slips = [f"there is no annotation {key}; there are {known}" for key in unknown[:_SHOWN]]
    if not auto and service.spec.type != _LOAD_BALANCER:
        slips += [
            f"annotation {key} means nothing without {AUTO_ANNOTATION}: {AUTO} or "
            f"type {_LOAD_BALANCER}"
            for key in (ADDRESSES_ANNOTATION, POOL_ANNOTATION)
            if annotations.get(key)
        ]
    return "; ".join((*_slips(auto or AUTO), *slips))


def _slips(auto: str) -> tuple[str, ...]:
    if auto == AUTO:
        return ()
    return (f"annotation {AUTO_ANNOTATION} is {cut(auto)!r}, and only {AUTO!r} means anything",)


def _impossible(asked: tuple[str, ...], families: tuple[int, ...]) -> Iterable[str]:
    """Say what is wrong with addresses that are asked for, whatever pools there are."""
    names = " and ".join(f"IPv{version}" for version in families)
    for text in asked:
        ip = parse_ip(text)
        if ip is None:
            yield f"{cut(text)!r} is no IP address"
        elif families and ip.version not in families:
            yield f"{ip} is an IPv{ip.version} address, and the service has {names} alone"


def ways_in(demand: Demand) -> list[str]:
    """Return what is in the service's `status.loadBalancer`, as people write it."""
    return [way.ip or way.hostname for way in demand.ingress]


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
