"""Snapshot: the facts that scheduling decides over, and the needs of claims in it. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import NamedTuple

from extip.api.ipcontroller_v1 import IpClaim, IpClaimPoolSpec, ServiceReference
from extip.api.meta_v1 import LabelSelector
from extip.api.names import label_value
from extip.claims.policy.claims import Create, parse_cidr, pool_of
from extip.net.interfaces import IPAddress, IPInterface
from extip.scheduling.policy.filters import Needs, NodeFacts, Unfit
from extip.scheduling.policy.preference import Preference, preference_of
from extip.scheduling.policy.spread import group_of
from extip.services.policy.requests import Owner
from extip.services.policy.wished_link import first_wish
from extip.uplink.policy.reachability import LinkId

_NOBODY: frozenset[str] = frozenset()


class Wishes(NamedTuple):
    """The wishes of services and pools: each is the same object until one differs.

    `Snapshot` has the same fields.
    """

    node_selectors: Mapping[str, LabelSelector]
    preferring_pools: Mapping[str, IpClaimPoolSpec]
    local_endpoints: Mapping[str, frozenset[str]] = MappingProxyType({})
    preferred_nodes: Mapping[str, tuple[str, ...]] = MappingProxyType({})
    every_node: frozenset[str] = _NOBODY
    unready: Mapping[str, bool] = MappingProxyType({})
    pool_links: Mapping[str, str] = MappingProxyType({})
    service_links: Mapping[str, str] = MappingProxyType({})
    spread: Mapping[str, int] = MappingProxyType({})


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """The facts of one pass; nothing in it changes during the pass."""

    nodes: tuple[NodeFacts, ...]
    unknown: frozenset[str] = frozenset()
    """Nodes of unknown liveness. They keep their claims. They get only new claims that are to join
    those (`presumed_alive`)."""
    successors: Mapping[LinkId, frozenset[LinkId]] = field(default_factory=dict)
    """The interfaces that claims may go to from an isolated one; without any, it keeps them."""
    unsettled: frozenset[str] = _NOBODY
    """Nodes whose interface has just gone down. A common cause is possible, so they keep their
    claims for now."""
    returning: frozenset[str] = _NOBODY
    """Nodes whose interface has just come back. Others may follow, so they take no claims of nodes
    that are cut off."""
    registered: Mapping[str, str] = field(default_factory=dict)
    """The time at which each node registered, as text that sorts by time."""
    ignored: frozenset[Unfit] = frozenset()
    """Filters that are switched off."""
    node_selectors: Mapping[str, LabelSelector] = field(default_factory=dict)
    """The node selector of a pool, by the `label_value` of its name. A pool without a selector has
    no entry."""
    every_node: frozenset[str] = _NOBODY
    """The pools whose addresses each node has that may, by the `label_value` of their names."""
    located: Mapping[IPAddress, str] = field(default_factory=dict)
    """The node that has an IP up without a claim: the claim vanished with its definition."""
    local_endpoints: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Nodes with ready endpoints for each service with local traffic policy, by
    ``namespace/name``. Other services have no entry."""
    unready: Mapping[str, bool] = field(default_factory=dict)
    """Services without a ready endpoint anywhere, by ``namespace/name``, and whether that has
    lasted. Empty with ``--without-endpoints keep``."""
    preferring_pools: Mapping[str, IpClaimPoolSpec] = field(default_factory=dict)
    """The spec of each pool that has preferred nodes, or whose addresses stay in quiet times, by
    the `label_value` of its name."""
    preferred_nodes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """The nodes that a service prefers, the best first, by ``namespace/name``. Other services have
    no entry."""
    pool_links: Mapping[str, str] = field(default_factory=dict)
    """The interface for the addresses of a pool, by the `label_value` of its name; without a wish
    no entry."""
    service_links: Mapping[str, str] = field(default_factory=dict)
    """The interface that a service, ``namespace/name``, wants its IPs on; without a wish no
    entry."""
    spread: Mapping[str, int] = field(default_factory=dict)
    """The services, ``namespace/name``, that ask for several addresses of a family: these are to
    be on different nodes."""

    @cached_property
    def by_name(self) -> Mapping[str, NodeFacts]:
        """The facts of each node."""
        return {facts.name: facts for facts in self.nodes}

    @cached_property
    def present(self) -> frozenset[str]:
        """The nodes that have a controller: an IpNode or heartbeats."""
        alive = (facts.name for facts in self.nodes if facts.alive)
        return frozenset(alive).union(self.registered, self.unknown)

    @cached_property
    def in_kubernetes(self) -> frozenset[str]:
        """The nodes that Kubernetes knows."""
        return frozenset(facts.name for facts in self.nodes if facts.kubernetes is not None)


def needs_of(claim: IpClaim, cluster: Snapshot) -> Needs | None:
    """Return the needs of a claim; None when its `spec.cidr` is malformed."""
    interface = parse_cidr(claim.spec.cidr)
    if interface is None:
        return None
    return Needs(
        ip=interface.ip,
        link=claim.spec.link,
        node_selector=cluster.node_selectors.get(pool_of(claim)),
        every_node=pool_of(claim) in cluster.every_node,
        endpoint_nodes=_endpoint_nodes(claim.spec.services or (), cluster),
        preference=_preference(claim.spec.services or (), pool_of(claim), cluster),
        group=_group(claim.spec.services or (), interface.ip, cluster),
    )


def needs_of_new(create: Create, cluster: Snapshot) -> Needs:
    """Return the needs of a claim that is to be created."""
    return Needs(
        ip=create.interface.ip,
        link=create.link,
        node_selector=cluster.node_selectors.get(label_value(create.pool)),
        every_node=label_value(create.pool) in cluster.every_node,
        endpoint_nodes=_endpoint_nodes(create.services, cluster),
        preference=_preference(create.services, label_value(create.pool), cluster),
        group=_group(create.services, create.interface.ip, cluster),
    )


def not_served(
    claims: Iterable[IpClaim], cluster: Snapshot
) -> dict[str, tuple[ServiceReference, ...]]:
    """Return the services with local traffic policy that have no endpoint on the claim's node.

    The key is the claim's name. Claims on a node that Kubernetes does not know have no entry.
    """
    known = cluster.local_endpoints
    nodes = cluster.in_kubernetes
    found = {
        claim.metadata.name: tuple(
            service
            for service in claim.spec.services or ()
            if claim.spec.node_name not in known.get(str(service), nodes)
        )
        for claim in claims
        if claim.spec.node_name in nodes
    }
    return {name: services for name, services in found.items() if services}


def _preference(
    services: Iterable[ServiceReference], pool: str, cluster: Snapshot
) -> Preference | None:
    """Return the preference of an IP: of several services, the list of the first that has one."""
    lists = cluster.preferred_nodes
    named = (found for one in services if (found := lists.get(str(one)))) if lists else iter(())
    return preference_of(next(named, ()), cluster.preferring_pools.get(pool))


def link_wish(owners: Iterable[Owner], pool: str, cluster: Snapshot) -> str:
    """Return the interface for an IP: that of the first service with a wish, or of its pool."""
    wish = first_wish(owners, cluster.service_links) if cluster.service_links else ""
    return wish or cluster.pool_links.get(label_value(pool), "")


def link_wishes(
    wanted: Mapping[IPInterface, tuple[Owner, ...]],
    pools: Mapping[IPInterface, str],
    snapshot: Snapshot,
) -> dict[IPInterface, str]:
    """Return the interfaces that are wished for."""
    if not (snapshot.service_links or snapshot.pool_links):
        return {}
    found = {
        interface: link_wish(owners, pools.get(interface, ""), snapshot)
        for interface, owners in wanted.items()
    }
    return {interface: link for interface, link in found.items() if link}


def _group(services: Iterable[ServiceReference], ip: IPAddress, cluster: Snapshot) -> str:
    """Return the group of an IP: the first of its services that spreads, and the IP version."""
    if not cluster.spread:
        return ""
    names = (str(service) for service in services)
    first = next((name for name in names if name in cluster.spread), "")
    return group_of(first, ip.version) if first else ""


def _endpoint_nodes(
    services: Iterable[ServiceReference], cluster: Snapshot
) -> tuple[frozenset[str], ...]:
    """Return the nodes with endpoints, for each service with local traffic policy.

    A service without endpoints counts only when no service has one: then no node serves the IP.
    """
    known = cluster.local_endpoints
    if not known:
        return ()
    each = [nodes for service in services if (nodes := known.get(str(service))) is not None]
    return tuple(nodes for nodes in each if nodes) or tuple(each[:1])
