"""kube-vip: the ConfigMap of its cloud provider and annotations → pools and annotations. Pure."""

from collections.abc import Iterable, Mapping, Sequence

from extip.api.ipcontroller_v1 import IpClaimPool, IpClaimPoolSpec
from extip.api.meta_v1 import FullObjectMeta, LabelSelector
from extip.api.names import ADDRESSES_ANNOTATION, LINK_ANNOTATION, is_namespace
from extip.migrate.policy.blocks import Block, pool_networks, read_blocks, with_networks
from extip.migrate.policy.documents import Documents, Foreign, ServiceDocument
from extip.migrate.policy.result import Result
from extip.migrate.policy.selectors import named
from extip.migrate.policy.services import (
    annotate,
    balanced,
    finish,
    first_of,
    wished_addresses,
    wished_link,
)
from extip.net.link_selection import is_link_name
from extip.net.networks import IPNetwork
from extip.services.policy.requests import cut

CONFIG_MAP = "kubevip"
_GLOBAL = "global"
_CIDR, _RANGE, _SHARE, _INTERFACE = "cidr", "range", "allow-share", "interface"
_DHCP = "0.0.0.0"  # noqa: S104 - a mark of kube-vip, which nobody binds to
_PREFIX = "kube-vip.io/"
_ADDRESSES = (_PREFIX + "loadbalancerIPs",)
_LINK = _PREFIX + "serviceInterface"
_WRITTEN = frozenset(
    _PREFIX + name
    for name in (
        "vipHost",
        "requestedIP",
        "active-endpoint",
        "active-endpoint-ipv6",
        "egress-nftables-table",
        "leaseName",
        "forcePerServiceElection",
    )
)
"""Annotations that kube-vip writes itself, or that are about its Leases."""
_LACKING: Mapping[str, tuple[str, str]] = {
    "ignore": (
        "extip knows no mark on a service that it is to leave alone",
        "make the service anew with a class, or let the selectors of pools leave it out",
    ),
    "egress": (
        "extip does not change the source address of what pods send",
        "keep kube-vip for this service, or use an egress gateway of the CNI",
    ),
    "loadbalancerHostname": ("extip knows no DHCP", "ask for an address of a pool"),
    "hwaddr": ("an IP has the MAC of its node", "clear what clients remember of the old MAC"),
    "ddns": ("extip writes no DNS", "use external-dns"),
    "forwardUPNP": ("extip opens no ports of routers", "open them by hand"),
    "upnp-lease-duration": ("extip opens no ports of routers", "open them by hand"),
    "serviceVLAN": (
        "extip makes no interfaces",
        f"make it on each node, and name it in --iface and in {LINK_ANNOTATION}",
    ),
    "ignore-service-security": (
        "closing the node's own ports is a flag for all IPs",
        "run the controllers with or without --close-other-ports",
    ),
    "allow-reconcile-without-endpoints": (
        "an IP without endpoints is up or down for all services alike",
        "see --without-endpoints of the scheduler",
    ),
    "flush-conntrack": ("extip deletes the flows of UDP alone", "nothing needs it without egress"),
    "rp_filter": ("extip sets no rp_filter", "set it on the nodes; extip doctor --iface tells"),
    "macvlanName": ("extip makes no interfaces", "make it on each node, and name it in --iface"),
    "dhcp-broadcast": ("extip knows no DHCP", "ask for an address of a pool"),
}


class ConfigMapDocument(Foreign, frozen=True):
    """A core/v1 ConfigMap."""

    data: dict[str, str] | None = None


def convert(documents: Documents, segments: Sequence[IPNetwork]) -> Result:
    """Return what extip needs to do the same as kube-vip and its cloud provider."""
    result = Result()
    maps = documents.read("ConfigMap", ConfigMapDocument, result)
    found = [one for one in maps if one.metadata.name == CONFIG_MAP]
    for one in found[1:]:
        result.lose(one.where, f"{found[0].where} counts", "leave one of them out")
    if found:
        _convert_map(found[0], segments, result)
    services = documents.services(result)
    for service in balanced(services):
        _convert_service(service, result)
    finish(services, result)
    for _, kind, name in documents.others([("", "ConfigMap")]):
        where = f"{kind or 'an object without a kind'} {name}"
        result.note(where, "it is nothing that is carried over from kube-vip")
    return result


def _convert_map(config: ConfigMapDocument, segments: Sequence[IPNetwork], result: Result) -> None:
    data = config.data or {}
    parts = {name: _by_namespace(name, data) for name in (_CIDR, _RANGE, _SHARE, _INTERFACE)}
    pools = _pools_in_use(config, parts[_CIDR], parts[_RANGE], result)
    links = parts[_INTERFACE]
    for namespace, (key, text) in pools.items():
        where = f"{config.where}, {key}"
        blocks = _blocks(text, where, result)
        networks = pool_networks(blocks, segments, where, result)
        if networks:
            spec = IpClaimPoolSpec(
                namespace_selector=_namespaces(namespace, pools),
                link=_link(links.get(namespace) or links.get(_GLOBAL, ""), where, result),
            )
            meta = FullObjectMeta(name=f"{CONFIG_MAP}-{namespace}")
            result.pools.append(IpClaimPool(metadata=meta, spec=with_networks(spec, networks)))
    _tell_settings(config, pools, parts, result)


def _by_namespace(name: str, data: Mapping[str, str]) -> dict[str, str]:
    head = f"{name}-"
    return {
        key.removeprefix(head): text.strip() for key, text in data.items() if key.startswith(head)
    }


def _pools_in_use(
    config: ConfigMapDocument,
    cidrs: Mapping[str, str],
    ranges: Mapping[str, str],
    result: Result,
) -> dict[str, tuple[str, str]]:
    """Return the key and the text of each namespace, as the cloud provider looks them up.

    It takes the networks of the namespace, else those of all, else the ranges of the namespace.
    """
    found = {namespace: (f"{_CIDR}-{namespace}", text) for namespace, text in cidrs.items()}
    for namespace, text in ranges.items():
        hiding = next((one for one in (namespace, _GLOBAL) if one in cidrs), None)
        key = f"{_RANGE}-{namespace}"
        if hiding is None:
            found[namespace] = key, text
        else:
            why = f"kube-vip never reads it, since there is {_CIDR}-{hiding}"
            result.note(f"{config.where}, {key}", why, "it is left out here")
    for namespace in [one for one in found if not is_namespace(one)]:
        key, _ = found.pop(namespace)
        why = f"{cut(namespace)!r} cannot be the name of a namespace"
        result.lose(f"{config.where}, {key}", why, "correct it, and run this again")
    return found


def _namespaces(namespace: str, pools: Iterable[str]) -> LabelSelector | None:
    """Return the namespaces that a pool is for: the global one for all without their own."""
    if namespace != _GLOBAL:
        return named([namespace])
    others = [one for one in pools if one != _GLOBAL]
    return named(others, operator="NotIn") if others else None


def _blocks(text: str, where: str, result: Result) -> list[Block]:
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if any(part.partition("/")[0] == _DHCP for part in parts):
        result.lose(
            where, "0.0.0.0 stands for DHCP, which extip does not know", "name addresses of a pool"
        )
        parts = [part for part in parts if part.partition("/")[0] != _DHCP]
    elif not parts:
        result.lose(where, "it has no addresses", "correct it, and run this again")
    return read_blocks(parts, where, result)


def _link(name: str, where: str, result: Result) -> str:
    if not name:
        return ""
    if not is_link_name(name):
        why = f"{cut(name)!r} is no name of an interface"
        result.lose(where, why, "set spec.link of the pool by hand")
        return ""
    result.note(
        where,
        f"its addresses are to be on {name}",
        f"run the controllers with an --iface that has {name}",
    )
    return name


def _tell_settings(
    config: ConfigMapDocument,
    pools: Mapping[str, tuple[str, str]],
    parts: Mapping[str, Mapping[str, str]],
    result: Result,
) -> None:
    """Remark on what is no pool."""
    data = config.data or {}
    if data.get("search-order") == "desc":
        why = "extip gives the smallest address first"
        result.lose(
            f"{config.where}, search-order", why, "ask for addresses by name where it matters"
        )
    for namespace, text in parts[_SHARE].items():
        if text.lower() in ("true", "t", "1"):
            result.lose(
                f"{config.where}, {_SHARE}-{namespace}",
                "services of extip share an address only when they say so; those that share one "
                "now go on",
                "give services that come later one annotation ipcontroller.ext/sharing-key",
            )
    for namespace in parts[_INTERFACE]:
        if namespace not in pools and namespace != _GLOBAL:
            result.lose(
                f"{config.where}, {_INTERFACE}-{namespace}",
                f"namespace {namespace} has no pool of its own, and extip has interfaces by pool",
                f"annotate services that come later with {LINK_ANNOTATION}",
            )
    known = {f"{name}-{namespace}" for name, found in parts.items() for namespace in found}
    for key in sorted({*data} - known - {"search-order", "skip-end-ips-in-cidr"}):
        result.note(f"{config.where}, {cut(key)}", "it is no key of kube-vip's cloud provider")


def _convert_service(service: ServiceDocument, result: Result) -> None:
    key, text = first_of(service, _ADDRESSES)
    if text.strip() == _DHCP:
        where = f"{service.where}, annotation {key}"
        result.lose(where, "0.0.0.0 stands for DHCP, which extip does not know", "name an address")
        addresses = ""
    else:
        addresses = wished_addresses(service, _ADDRESSES, result)
    annotate(
        service,
        {ADDRESSES_ANNOTATION: addresses, LINK_ANNOTATION: wished_link(service, _LINK, result)},
        result,
    )
    for other in sorted(service.annotations):
        name = other.removeprefix(_PREFIX)
        if name == other or other in _WRITTEN or other in (*_ADDRESSES, _LINK):
            continue
        lacking = _LACKING.get(name) or (_LACKING["egress"] if name.startswith("egress") else None)
        why, do = lacking or ("it is not known to extip migrate", "look up its meaning")
        if service.annotations[other].lower() != "false":
            result.lose(f"{service.where}, annotation {other}", why, do)
