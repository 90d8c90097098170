"""Services of other programs → annotations of extip; each is to keep its address. Pure."""

from collections.abc import Iterable, Mapping, Sequence

from msgspec.structs import replace

from extip.api.names import (
    ADDRESSES_ANNOTATION,
    LINK_ANNOTATION,
    POOL_ANNOTATION,
)
from extip.migrate.policy.documents import ServiceDocument
from extip.migrate.policy.result import Patch, Result, some
from extip.net.interfaces import IPAddress
from extip.net.link_selection import is_link_name
from extip.services.policy.requests import cut, parse_ip

_SERVICE = "Service"
_LOAD_BALANCER = "LoadBalancer"
_CLUSTER = "Cluster"


def balanced(services: Iterable[ServiceDocument]) -> list[ServiceDocument]:
    """Return the services of type LoadBalancer."""
    return [service for service in services if service.spec.type == _LOAD_BALANCER]


def first_of(service: ServiceDocument, keys: Iterable[str]) -> tuple[str, str]:
    """Return the first of these annotations that the service has, and its value."""
    found = ((key, service.annotations[key]) for key in keys if service.annotations.get(key))
    return next(found, ("", ""))


def annotate(service: ServiceDocument, wished: Mapping[str, str], result: Result) -> None:
    """Add the annotations that are not empty; those that the service has already count more."""
    added: dict[str, str] = {}
    for key, value in wished.items():
        own = service.annotations.get(key)
        if own is not None and value and own != value:
            result.note(
                service.where,
                f"it has the annotation {key}: {cut(own)} already, and keeps it",
                f"the other program would have {cut(value)}",
            )
        elif value and own is None:
            added[key] = value
    if added:
        patch_service(service, added, result)


def patch_service(service: ServiceDocument, annotations: Mapping[str, str], result: Result) -> None:
    """Add annotations to the patch of a service."""
    meta = service.metadata
    result.add(
        Patch(
            api_version="v1",
            kind=_SERVICE,
            name=meta.name,
            namespace=meta.namespace,
            annotations=dict(annotations),
        )
    )


def wished_addresses(service: ServiceDocument, keys: Iterable[str], result: Result) -> str:
    """Return the value of extip's annotation for the addresses that an annotation names."""
    key, text = first_of(service, keys)
    words = [word.strip() for word in text.split(",") if word.strip()]
    wrong = [word for word in words if parse_ip(word) is None]
    if wrong:
        result.lose(
            f"{service.where}, annotation {key}",
            f"{cut(wrong[0])!r} is no IP address",
            f"annotate the service with {ADDRESSES_ANNOTATION} by hand",
        )
        return ""
    return ",".join(words)


def wished_pool(service: ServiceDocument, keys: Iterable[str], result: Result) -> str:
    """Return the value of extip's annotation for the pool that an annotation names."""
    key, name = first_of(service, keys)
    if name and all(pool.metadata.name != name for pool in result.pools):
        result.lose(
            f"{service.where}, annotation {key}",
            f"there is no pool {cut(name)} among those printed here, so the service would get no "
            "address",
            f"make the pool, then annotate the service with {POOL_ANNOTATION}",
        )
        return ""
    return name


def wished_link(service: ServiceDocument, key: str, result: Result) -> str:
    """Return the value of extip's annotation for the interface that an annotation names."""
    link = service.annotations.get(key, "")
    if link and not is_link_name(link):
        result.lose(
            f"{service.where}, annotation {key}",
            f"{cut(link)!r} is no name of an interface",
            f"annotate the service with {LINK_ANNOTATION} by hand",
        )
        return ""
    return link


def finish(services: Sequence[ServiceDocument], result: Result) -> None:
    """See to it that each service keeps its addresses, and remark on the rest."""
    holders: dict[IPAddress, list[ServiceDocument]] = {}
    named = {
        (one.namespace, one.name): one.annotations
        for one in result.patches
        if ADDRESSES_ANNOTATION in one.annotations
    }
    for service in balanced(services):
        wished = named.get((service.metadata.namespace, service.metadata.name), {})
        texts = [*wished.get(ADDRESSES_ANNOTATION, "").split(","), service.spec.load_balancer_ip]
        for ip in {*_shown(service), *_addresses(texts)}:
            holders.setdefault(ip, []).append(service)
    pools = result.pools_of(holders)
    unnamed = [
        one
        for one in balanced(services)
        if (one.metadata.namespace, one.metadata.name) not in named
        and not one.spec.load_balancer_ip
        and not one.annotations.get(ADDRESSES_ANNOTATION)
    ]
    _keep(unnamed, pools, result)
    _tell_homeless({ip: holders[ip] for ip, pool in pools.items() if not pool}, result)
    _share({pools[ip]: having for ip, having in holders.items() if _namespaces(having) > 1}, result)
    _tell_classes(balanced(services), result)


def _shown(service: ServiceDocument) -> list[IPAddress]:
    return _addresses(way.ip for way in service.status.load_balancer.ingress or ())


def _addresses(texts: Iterable[str]) -> list[IPAddress]:
    return [ip for text in texts if (ip := parse_ip(text.strip())) is not None]


def _keep(
    services: Iterable[ServiceDocument], pools: Mapping[IPAddress, str], result: Result
) -> None:
    """Have services ask by name for the addresses that they show.

    Otherwise a service would get another one as soon as extip hears that a station has its address.
    That station is the other program.
    """
    kept: list[str] = []
    for service in services:
        ips = _shown(service)
        if ips and all(pools[ip] for ip in ips):
            kept.append(service.metadata.key)
            patch_service(service, {ADDRESSES_ANNOTATION: ",".join(map(str, ips))}, result)
    if kept:
        result.note(
            f"Service {some(kept)}",
            "it asks by name for the address that it has, so that the switch-over does not change "
            "it",
            f"remove {ADDRESSES_ANNOTATION} later, where any address will do",
        )


def _namespaces(services: Iterable[ServiceDocument]) -> int:
    return len({service.metadata.namespace for service in services})


def _tell_homeless(holders: Mapping[IPAddress, Sequence[ServiceDocument]], result: Result) -> None:
    for ip, services in holders.items():
        result.lose(
            f"Service {some(one.metadata.key for one in services)}",
            f"its address {ip} is of no pool printed here, so extip would give it another one",
            "add the address to a pool before the service is moved",
        )


def _share(having: Mapping[str, Sequence[ServiceDocument]], result: Result) -> None:
    for number, pool in enumerate(result.pools):
        services = having.get(pool.metadata.name)
        if services is None:
            continue
        result.pools[number] = replace(pool, spec=replace(pool.spec, sharing=_CLUSTER))
        result.note(
            f"IpClaimPool {pool.metadata.name}",
            f"it has sharing: {_CLUSTER}, since services of several namespaces have one address: "
            f"{some(one.metadata.key for one in services)}",
            "then whoever may create services may put a port on addresses of others",
        )


def _tell_classes(services: Iterable[ServiceDocument], result: Result) -> None:
    classes: dict[str, list[str]] = {}
    for service in services:
        if service.spec.load_balancer_class:
            classes.setdefault(service.spec.load_balancer_class, []).append(service.metadata.key)
    for name, keys in sorted(classes.items()):
        result.note(
            f"Service {some(keys)}",
            f"the class {name} cannot be changed, and extip serves one class",
            f"run the scheduler with --lb-class {name} for it, if it is to be moved",
        )
