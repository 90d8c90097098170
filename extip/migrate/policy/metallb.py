"""MetalLB: IPAddressPools, L2Advertisements and annotations → pools and annotations. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from msgspec import field

from extip.api.ipcontroller_v1 import IpClaimPool, IpClaimPoolSpec
from extip.api.meta_v1 import FullObjectMeta, LabelSelector, Wire
from extip.api.names import ADDRESSES_ANNOTATION, POOL_ANNOTATION, SHARING_KEY_ANNOTATION
from extip.api.pool_parts import MAX_PREFERENCES, PreferredNodes
from extip.api.selector import selects
from extip.migrate.policy.blocks import pool_networks, read_blocks, with_networks
from extip.migrate.policy.documents import Documents, Foreign
from extip.migrate.policy.result import Result
from extip.migrate.policy.selectors import named, one_selector
from extip.migrate.policy.services import (
    annotate,
    balanced,
    finish,
    first_of,
    wished_addresses,
    wished_pool,
)
from extip.net.link_selection import is_link_name
from extip.net.networks import IPNetwork

GROUP = "metallb.io"
_PREFIXES = ("metallb.io/", "metallb.universe.tf/")
"""The beginnings of its annotations; the second one is deprecated."""
_READ = ("IPAddressPool", "L2Advertisement", "BGPAdvertisement")
_ONLY_BGP: Mapping[str, str] = {
    "BGPPeer": "a BGP daemon beside extip has the peers",
    "BFDProfile": "a BGP daemon beside extip speaks BFD",
    "Community": "a BGP daemon beside extip sets communities",
}
_REPORTS = frozenset(
    {"ServiceL2Status", "ServiceBGPStatus", "ConfigurationState", "ConfigurationStatus"}
)
"""Kinds that MetalLB itself writes."""
_MOST_WEIGHT = 100
_CONTROLLERS = "run the controllers with an --iface that has "
_ECMP = "see docs/ecmp.md: --iface lo, placement: Everywhere, and BIRD or FRR on each node"


class ServiceAllocation(Wire, frozen=True):
    """The services that a pool is for."""

    priority: int = 0
    """A smaller one is used first; 0 for none."""
    namespaces: tuple[str, ...] | None = None
    namespace_selectors: tuple[LabelSelector, ...] | None = None
    service_selectors: tuple[LabelSelector, ...] | None = None


class IPAddressPoolSpec(Wire, frozen=True):
    """The addresses of a pool."""

    addresses: tuple[str, ...] | None = None
    auto_assign: bool | None = None
    avoid_buggy_ips: bool = field(default=False, name="avoidBuggyIPs")
    service_allocation: ServiceAllocation | None = None


class IPAddressPool(Foreign, frozen=True):
    """A metallb.io/v1beta1 IPAddressPool."""

    spec: IPAddressPoolSpec = IPAddressPoolSpec()


class PreferredNodeSelector(Wire, frozen=True):
    """Nodes that announce rather than others."""

    weight: int = 1
    preference: LabelSelector = LabelSelector()


class Announcement(Wire, frozen=True):
    """The pools that are announced, and by which nodes: the same for both kinds."""

    ip_address_pools: tuple[str, ...] | None = field(default=None, name="ipAddressPools")
    ip_address_pool_selectors: tuple[LabelSelector, ...] | None = field(
        default=None, name="ipAddressPoolSelectors"
    )
    node_selectors: tuple[LabelSelector, ...] | None = None
    service_selectors: tuple[LabelSelector, ...] | None = None

    def announces(self, pool: IPAddressPool) -> bool:
        """Whether the addresses of the pool are announced."""
        names, selectors = self.ip_address_pools, self.ip_address_pool_selectors
        if not names and not selectors:
            return True
        return pool.metadata.name in (names or ()) or any(
            selects(selector, pool.labels) for selector in selectors or ()
        )


class AdvertisementSpec(Announcement, frozen=True):
    """An announcement on layer 2, and where it is made."""

    interfaces: tuple[str, ...] | None = None
    preferred_node_selectors: tuple[PreferredNodeSelector, ...] | None = None


class Advertisement(Foreign, frozen=True):
    """A metallb.io/v1beta1 L2Advertisement."""

    spec: AdvertisementSpec = AdvertisementSpec()


class BgpSpec(Announcement, frozen=True):
    """The pools that are exported by BGP; the rest of it is the daemon's."""

    aggregation_length: int | None = None
    aggregation_length_v6: int | None = field(default=None, name="aggregationLengthV6")
    local_pref: int | None = None
    communities: tuple[str, ...] | None = None
    peers: tuple[str, ...] | None = None


class BgpAdvertisement(Foreign, frozen=True):
    """A metallb.io/v1beta1 BGPAdvertisement."""

    spec: BgpSpec = BgpSpec()


@dataclass(frozen=True, slots=True)
class _Announced:
    """The way in which a pool is announced."""

    layer2: tuple[Advertisement, ...]
    bgp: tuple[BgpAdvertisement, ...]


def convert(documents: Documents, segments: Sequence[IPNetwork]) -> Result:
    """Return what extip needs to do the same as MetalLB."""
    result, read = Result(), documents.read
    pools = read("IPAddressPool", IPAddressPool, result, group=GROUP, spec=IPAddressPoolSpec)
    layer2 = read("L2Advertisement", Advertisement, result, group=GROUP, spec=AdvertisementSpec)
    bgp = read("BGPAdvertisement", BgpAdvertisement, result, group=GROUP, spec=BgpSpec)
    _tell_missing(pools, [*layer2, *bgp], result)
    priorities = _priorities(pools)
    for pool in _unique(pools, result):
        announced = _Announced(
            tuple(one for one in layer2 if one.spec.announces(pool)),
            tuple(one for one in bgp if one.spec.announces(pool)),
        )
        if _is_announced(pool, announced, result, unknown=not layer2 and not bgp):
            _add_pool(pool, announced, priorities[pool.metadata.name], segments, result)
    services = documents.services(result)
    for service in balanced(services):
        annotations = {
            POOL_ANNOTATION: wished_pool(service, _keys("address-pool"), result),
            ADDRESSES_ANNOTATION: wished_addresses(service, _keys("loadBalancerIPs"), result),
            SHARING_KEY_ANNOTATION: first_of(service, _keys("allow-shared-ip"))[1],
        }
        annotate(service, annotations, result)
    finish(services, result)
    _tell_others(documents, result)
    return result


def _keys(name: str) -> tuple[str, ...]:
    return tuple(prefix + name for prefix in _PREFIXES)


def _unique(pools: Sequence[IPAddressPool], result: Result) -> list[IPAddressPool]:
    """Return the first pool of each name: those of extip have no namespaces."""
    found: dict[str, IPAddressPool] = {}
    for pool in pools:
        if found.setdefault(pool.metadata.name, pool) is not pool:
            result.lose(
                pool.where, "there is another pool of that name", "give one of them another name"
            )
    return list(found.values())


def _priorities(pools: Sequence[IPAddressPool]) -> dict[str, int]:
    """Return the priority of each pool, of which extip uses the greatest one first.

    MetalLB uses the smallest one first, then pools that are for some services, then the others.
    """
    found = {
        pool.metadata.name: pool.spec.service_allocation.priority
        for pool in pools
        if pool.spec.service_allocation is not None
    }
    ranks = {
        value: rank for rank, value in enumerate(sorted({*found.values()} - {0}, reverse=True))
    }
    every = {pool.metadata.name: 0 for pool in pools}
    return every | {name: ranks[value] + 2 if value else 1 for name, value in found.items()}


def _is_announced(
    pool: IPAddressPool, announced: _Announced, result: Result, *, unknown: bool
) -> bool:
    """Whether extip is to have the pool; a remark says why not, and what is missing."""
    if announced.bgp:
        names = ", ".join(one.metadata.name for one in announced.bgp)
        what = "also exported" if announced.layer2 else "exported by BGP alone, and left out here"
        why = f"it is {what} (BGPAdvertisement {names}), and extip speaks no BGP"
        result.lose(pool.where, why, _ECMP)
    elif unknown:
        result.note(
            pool.where,
            "no advertisement was read, without which MetalLB announces nothing",
            "extip announces the addresses of every pool, on all nodes with a controller",
        )
        return True
    elif not announced.layer2:
        result.lose(
            pool.where,
            "no advertisement is for it, so MetalLB does not announce its addresses; it is left "
            "out, since extip would",
            "add an L2Advertisement for it and run this again, if it is to be announced",
        )
    return bool(announced.layer2)


def _add_pool(
    pool: IPAddressPool,
    announced: _Announced,
    priority: int,
    segments: Sequence[IPNetwork],
    result: Result,
) -> None:
    where, spec = pool.where, pool.spec
    blocks = read_blocks(spec.addresses or (), where, result)
    networks = pool_networks(blocks, segments, where, result)
    if not networks:
        result.lose(where, "it has no addresses that can be read", "correct it, and run this again")
        return
    whom = spec.service_allocation or ServiceAllocation()
    namespaces = list(whom.namespace_selectors or ())
    if whom.namespaces:
        namespaces.insert(0, named(whom.namespaces))
    name = pool.metadata.name
    result.pools.append(
        IpClaimPool(
            metadata=FullObjectMeta(name=name),
            spec=with_networks(
                IpClaimPoolSpec(
                    priority=priority,
                    auto_assign=spec.auto_assign is not False,
                    avoid_network_addresses=spec.avoid_buggy_ips,
                    namespace_selector=one_selector(namespaces, "namespaces", name, where, result),
                    service_selector=one_selector(
                        whom.service_selectors or (), "services", name, where, result
                    ),
                    node_selector=_nodes(announced.layer2, name, where, result),
                    preferred_nodes=_preferred(announced.layer2, where, result),
                    link=_link(announced.layer2, where, result),
                ),
                networks,
            ),
        )
    )


def _nodes(
    advertisements: Sequence[Advertisement], pool: str, where: str, result: Result
) -> LabelSelector | None:
    """Return the selector of the nodes that announce; None for all nodes."""
    if not all(one.spec.node_selectors for one in advertisements):
        return None
    selectors = [s for one in advertisements for s in one.spec.node_selectors or ()]
    return one_selector(selectors, "nodes", pool, where, result)


def _preferred(
    advertisements: Sequence[Advertisement], where: str, result: Result
) -> tuple[PreferredNodes, ...] | None:
    found = [p for one in advertisements for p in one.spec.preferred_node_selectors or ()]
    for one in found[MAX_PREFERENCES:]:
        result.lose(
            where,
            f"a pool has {MAX_PREFERENCES} preferences of nodes, and one of weight {one.weight} is "
            "left out",
            "join preferences that have one weight",
        )
    preferred = tuple(
        PreferredNodes(weight=min(max(one.weight, 1), _MOST_WEIGHT), selector=one.preference)
        for one in found[:MAX_PREFERENCES]
    )
    return preferred or None


def _link(advertisements: Sequence[Advertisement], where: str, result: Result) -> str:
    """Return the interface of the pool; empty for that of the controllers."""
    for one in advertisements:
        if one.spec.service_selectors:
            result.lose(
                f"{one.where}, spec.serviceSelectors",
                "extip announces each service that has an address of a pool",
                "set spec.serviceSelector of the pool, so that other services get no address of it",
            )
    if not advertisements or not all(one.spec.interfaces for one in advertisements):
        return ""
    names = dict.fromkeys((n for one in advertisements for n in one.spec.interfaces or ()), 0)
    links = list(names)
    if len(links) == 1 and is_link_name(links[0]):
        result.note(where, f"its addresses are to be on {links[0]}", _CONTROLLERS + links[0])
        return links[0]
    result.lose(
        where,
        f"it is announced on {', '.join(links)}, and extip has an address on one interface",
        "set spec.link to it, or leave it out: then an address goes where its subnet is, of the "
        "controllers' --iface",
    )
    return ""


def _tell_missing(
    pools: Sequence[IPAddressPool],
    advertisements: Sequence[Advertisement | BgpAdvertisement],
    result: Result,
) -> None:
    names = {pool.metadata.name for pool in pools}
    for one in advertisements:
        for name in one.spec.ip_address_pools or ():
            if name not in names:
                result.note(one.where, f"there is no IPAddressPool {name}", "it means nothing")


def _tell_others(documents: Documents, result: Result) -> None:
    for group, kind, name in documents.others((GROUP, kind) for kind in _READ):
        where = f"{kind or 'an object without a kind'} {name}"
        if group == GROUP and kind in _ONLY_BGP:
            result.lose(where, f"extip speaks no BGP: {_ONLY_BGP[kind]}", _ECMP)
        elif group == GROUP and kind == "AddressPool":
            result.lose(
                where,
                "it is of MetalLB before 0.13, and is not read",
                "write an IPAddressPool and an L2Advertisement in its place, and run this again",
            )
        elif group != GROUP or kind not in _REPORTS:
            result.note(where, "it is nothing that is carried over from MetalLB")
