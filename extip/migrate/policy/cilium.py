"""Cilium: CiliumLoadBalancerIPPools, its L2 policies and annotations → the same of extip. Pure."""

import re
from collections.abc import Sequence

from msgspec import field

from extip.api.ipcontroller_v1 import IpClaimPool, IpClaimPoolSpec
from extip.api.meta_v1 import FullObjectMeta, LabelSelector, LabelSelectorRequirement, Wire
from extip.api.names import ADDRESSES_ANNOTATION, SHARING_KEY_ANNOTATION
from extip.migrate.policy.blocks import Block, pool_networks, read_block, with_networks
from extip.migrate.policy.documents import Documents, Foreign
from extip.migrate.policy.result import Result, some
from extip.migrate.policy.selectors import (
    NAMESPACE_NAME,
    one_selector,
    requirements,
    text_of,
)
from extip.migrate.policy.services import annotate, balanced, finish, first_of, wished_addresses
from extip.net.link_selection import is_link_name
from extip.net.networks import IPNetwork

GROUP = "cilium.io"
_POOL, _POLICY = "CiliumLoadBalancerIPPool", "CiliumL2AnnouncementPolicy"
_NAMESPACE = "io.kubernetes.service.namespace"
_NAME = "io.kubernetes.service.name"
"""Keys in a selector of services that stand for no label."""
_ADDRESSES = ("lbipam.cilium.io/ips", "io.cilium/lb-ipam-ips")
_KEYS = ("lbipam.cilium.io/sharing-key", "io.cilium/lb-ipam-sharing-key")
_ACROSS = ("lbipam.cilium.io/sharing-cross-namespace", "io.cilium/lb-ipam-sharing-cross-namespace")
_LITERAL = re.compile(r"\^?([A-Za-z0-9_-]+)\$?")
"""A regular expression that selects one name, as people write them."""


class IPBlock(Wire, frozen=True):
    """A network, or a range; without a stop it is one address."""

    cidr: str = ""
    start: str = ""
    stop: str = ""


class PoolSpec(Wire, frozen=True):
    """The addresses of a pool, and the services that may have them."""

    blocks: tuple[IPBlock, ...] | None = None
    cidrs: tuple[IPBlock, ...] | None = None
    """The same before Cilium 1.15."""
    service_selector: LabelSelector | None = None
    allow_first_last_ips: str = field(default="", name="allowFirstLastIPs")
    """``Yes`` or ``No``."""
    disabled: bool = False


class Pool(Foreign, frozen=True):
    """A CiliumLoadBalancerIPPool, of cilium.io/v2alpha1 or cilium.io/v2."""

    spec: PoolSpec = PoolSpec()


class PolicySpec(Wire, frozen=True):
    """The nodes and interfaces that announce services."""

    node_selector: LabelSelector | None = None
    service_selector: LabelSelector | None = None
    interfaces: tuple[str, ...] | None = None
    """Regular expressions."""
    load_balancer_ips: bool = field(default=False, name="loadBalancerIPs")
    external_ips: bool = field(default=False, name="externalIPs")


class Policy(Foreign, frozen=True):
    """A CiliumL2AnnouncementPolicy."""

    spec: PolicySpec = PolicySpec()


def convert(documents: Documents, segments: Sequence[IPNetwork]) -> Result:
    """Return what extip needs to do the same as LB-IPAM and the L2 announcements of Cilium."""
    result = Result()
    pools = documents.read(_POOL, Pool, result, group=GROUP, spec=PoolSpec)
    policies = documents.read(_POLICY, Policy, result, group=GROUP, spec=PolicySpec)
    for pool in pools:
        _add_pool(pool, policies, segments, result)
    _tell_policies(policies, {_services_of(pool) for pool in pools}, result)
    services = documents.services(result)
    for service in balanced(services):
        annotations = {
            ADDRESSES_ANNOTATION: wished_addresses(service, _ADDRESSES, result),
            SHARING_KEY_ANNOTATION: first_of(service, _KEYS)[1],
        }
        annotate(service, annotations, result)
    finish(services, result)
    for key in _ACROSS:
        wanting = [one.metadata.key for one in services if one.annotations.get(key)]
        if wanting:
            result.note(
                f"Service {some(wanting)}, annotation {key}",
                "a pool of extip says whether namespaces share its addresses, and a service cannot",
                "set sharing: Cluster of the pool where it is missing",
            )
    for group, kind, name in documents.others([(GROUP, _POOL), (GROUP, _POLICY)]):
        where = f"{kind or 'an object without a kind'} {name}"
        if group == GROUP and "BGP" in kind:
            result.lose(where, "extip speaks no BGP", "see docs/ecmp.md for a daemon beside it")
        else:
            result.note(where, "it is nothing that is carried over from Cilium")
    return result


def _add_pool(
    pool: Pool, policies: Sequence[Policy], segments: Sequence[IPNetwork], result: Result
) -> None:
    where, name = pool.where, pool.metadata.name
    networks = pool_networks(_blocks(pool, result), segments, where, result)
    if not networks:
        result.lose(where, "it has no addresses that can be read", "correct it, and run this again")
        return
    namespaces, services, exact = _split(pool.spec.service_selector)
    if not exact:
        result.lose(
            where,
            f"it selects services by their name ({_NAME}), which extip cannot; the pool has "
            "autoAssign: false",
            f"annotate these services with ipcontroller.ext/pool: {name}",
        )
    if namespaces is not None:
        result.note(where, f"the label {NAMESPACE_NAME} stands for {_NAMESPACE}")
    nodes, link = _announcement(pool, policies, result)
    spec = IpClaimPoolSpec(
        auto_assign=exact,
        allocation="Closed" if pool.spec.disabled else "Open",
        namespace_selector=namespaces,
        service_selector=services,
        node_selector=nodes,
        link=link,
    )
    result.pools.append(
        IpClaimPool(metadata=FullObjectMeta(name=name), spec=with_networks(spec, networks))
    )


def _blocks(pool: Pool, result: Result) -> list[Block]:
    """Return the blocks of a pool, with a remark on each that cannot be read."""
    found: list[Block] = []
    for written in (*(pool.spec.blocks or ()), *(pool.spec.cidrs or ())):
        ends = f"{written.start}-{written.stop}" if written.stop else written.start
        try:
            block = read_block(written.cidr or ends)
        except ValueError as error:
            result.lose(pool.where, str(error), "correct it, and run this again")
            continue
        reserved = written.cidr and pool.spec.allow_first_last_ips == "No"
        found.append(block.inner if reserved else block)
    return found


def _split(
    selector: LabelSelector | None,
) -> tuple[LabelSelector | None, LabelSelector | None, bool]:
    """Return the selectors of namespaces and of services, and whether they say it all."""
    namespaces: list[LabelSelectorRequirement] = []
    services: list[LabelSelectorRequirement] = []
    exact = True
    for part in requirements(selector or LabelSelector()):
        if part.key == _NAMESPACE:
            namespaces.append(
                LabelSelectorRequirement(
                    key=NAMESPACE_NAME, operator=part.operator, values=part.values
                )
            )
        elif part.key == _NAME:
            exact = False
        else:
            services.append(part)
    return _selector(namespaces), _selector(services), exact


def _selector(parts: Sequence[LabelSelectorRequirement]) -> LabelSelector | None:
    """Return the selector with these parts; None for none."""
    if not parts:
        return None
    plain = all(part.operator == "In" and len(part.values or ()) == 1 for part in parts)
    if plain and len({part.key for part in parts}) == len(parts):
        return LabelSelector(match_labels={part.key: (part.values or ("",))[0] for part in parts})
    return LabelSelector(match_expressions=tuple(parts))


def _announcement(
    pool: Pool, policies: Sequence[Policy], result: Result
) -> tuple[LabelSelector | None, str]:
    """Return the nodes and the interface that announce a pool: those of policies for its services.

    A policy that selects other services than the pool gets a remark, and counts for no pool.
    """
    own = _services_of(pool)
    counting = [
        one for one in policies if one.spec.load_balancer_ips and _services_of(one) in ("", own)
    ]
    if not counting:
        result.note(
            pool.where,
            f"no {_POLICY} was read that announces it",
            "extip announces the addresses of every pool, on all nodes with a controller",
        )
        return None, ""
    selectors = [one.spec.node_selector for one in counting]
    everywhere = any(selector is None for selector in selectors)
    nodes = one_selector(
        [] if everywhere else [s for s in selectors if s is not None],
        "nodes",
        pool.metadata.name,
        pool.where,
        result,
    )
    return nodes, _link(pool, counting, result)


def _link(pool: Pool, policies: Sequence[Policy], result: Result) -> str:
    if not all(one.spec.interfaces for one in policies):
        return ""
    patterns = list(dict.fromkeys((i for one in policies for i in one.spec.interfaces or ()), 0))
    found = _LITERAL.fullmatch(patterns[0]) if len(patterns) == 1 else None
    name = "" if found is None else str(found[1])
    if name and is_link_name(name):
        result.note(
            pool.where,
            f"its addresses are to be on {name}",
            f"run the controllers with an --iface that has {name}",
        )
        return name
    result.lose(
        pool.where,
        f"it is announced on the interfaces {', '.join(patterns)}, and spec.link has one name",
        "name them in the controllers' --iface, with * for any text: then an address goes where "
        "its subnet is",
    )
    return ""


def _services_of(one: Pool | Policy) -> str:
    """Return the selector of services as text; empty for all of them."""
    return text_of(one.spec.service_selector or LabelSelector())


def _tell_policies(policies: Sequence[Policy], of_pools: set[str], result: Result) -> None:
    for one in policies:
        if one.spec.external_ips:
            result.note(
                one.where,
                "it announces spec.externalIPs",
                "extip serves those that --allow-cidr and --allow permit",
            )
        services = _services_of(one)
        if one.spec.load_balancer_ips and services and services not in of_pools:
            result.lose(
                one.where,
                f"it is for services with {services}, and extip chooses nodes for each pool",
                "make a pool with this selector of services, and set its nodeSelector and link",
            )
