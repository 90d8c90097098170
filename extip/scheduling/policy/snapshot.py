"""Snapshot: the facts that scheduling decides over, and filter results over it. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from types import MappingProxyType
from typing import NamedTuple

from extip.api.ipcontroller_v1 import IpClaim, IpClaimPoolSpec, ServiceReference
from extip.api.meta_v1 import LabelSelector
from extip.api.names import label_value
from extip.claims.policy.claims import Create, parse_cidr, pool_of
from extip.net.interfaces import LOOPBACK, IPAddress, IPInterface
from extip.scheduling.policy.filters import (
    CUT_OFF,
    NOWHERE,
    PAST,
    USELESS,
    FilterResult,
    Needs,
    NodeFacts,
    Unfit,
    failed_filter,
    failed_for_all,
    filter_nodes,
    link_for,
    strays,
)
from extip.scheduling.policy.preference import Preference, Preferred, preference_of
from extip.scheduling.policy.reached import reached_nodes
from extip.scheduling.policy.spread import group_of
from extip.services.policy.requests import Owner
from extip.services.policy.wished_link import first_wish
from extip.uplink.policy.reachability import LinkId

_NOBODY: frozenset[str] = frozenset()

_REMEMBERED = 4096
"""The number of filter results that are kept."""


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
    def present(self) -> frozenset[str]:
        """The nodes that have a controller: an IpNode or heartbeats."""
        alive = (facts.name for facts in self.nodes if facts.alive)
        return frozenset(alive).union(self.registered, self.unknown)

    @cached_property
    def in_kubernetes(self) -> frozenset[str]:
        """The nodes that Kubernetes knows."""
        return frozenset(facts.name for facts in self.nodes if facts.kubernetes is not None)


class NodeFilters:
    """The filter results, computed once for all claims with the same needs."""

    def __init__(self, cluster: Snapshot) -> None:
        self._cluster = cluster
        links = (link for node in cluster.nodes for link in node.links.values())
        self.subnets = frozenset(subnet for link in links for subnet in link.subnets)
        """The subnets that choose between the interfaces of a node."""
        self._known: dict[tuple[object, ...], FilterResult] = {}
        self._staying: dict[tuple[object, ...], frozenset[str]] = {}
        self._shared: dict[frozenset[str], frozenset[str]] = {}
        self._plain: dict[tuple[object, ...], bool] = {}
        self._facts = {node.name: node for node in cluster.nodes}
        self.preferred = Preferred(
            {
                node.name: None if node.kubernetes is None else node.kubernetes.labels
                for node in cluster.nodes
            }
        )
        """The preferred ones among the nodes that pass."""
        self.ifaces = {node.name: node.link for node in cluster.nodes if len(node.links) < 2}  # noqa: PLR2004
        """The interface of each node's controller, where it has one alone."""

    def among(self, cluster: Snapshot) -> "NodeFilters":
        """Return the filters for another snapshot; `self` when no filter result can differ.

        That is so while nodes, and wishes of pools about nodes, are the same.
        """
        old = self._cluster
        same = cluster == replace(
            old,
            local_endpoints=cluster.local_endpoints,
            preferred_nodes=cluster.preferred_nodes,
            unready=cluster.unready,
            pool_links=cluster.pool_links,
            service_links=cluster.service_links,
            spread=cluster.spread,
        )
        pools = cluster.node_selectors, cluster.preferring_pools
        if not same or pools[0] is not old.node_selectors or pools[1] is not old.preferring_pools:
            return NodeFilters(cluster)
        self._cluster = cluster
        return self

    @cached_property
    def open_nodes(self) -> frozenset[str]:
        """The nodes that do not fail a filter for every claim. Isolation may come to be ignored."""
        off = self._cluster.ignored | {Unfit.ISOLATED}
        nodes = self._cluster.nodes
        return frozenset(one.name for one in nodes if failed_for_all(one, ignored=off) is None)

    def is_plain(self, needs: Needs, holder: str) -> bool:
        """Whether the holder passes all filters, whatever other nodes do."""
        key = holder, self._key(needs)
        found = self._plain.get(key)
        if found is None:
            if len(self._plain) >= _REMEMBERED:
                self._plain.clear()
            found = self._plain[key] = self._is_plain(needs, holder)
        return found

    def _is_plain(self, needs: Needs, holder: str) -> bool:
        facts = self._facts.get(holder)
        return (
            facts is not None
            and holder not in self._cluster.unknown
            and len(needs.endpoint_nodes) < 2  # noqa: PLR2004 - other nodes may serve more
            and failed_filter(facts, needs, ignored=self._cluster.ignored) is None
            and not (strays(facts, needs) and any(needs.ip in one for one in self.subnets))
        )

    def filter_nodes(self, needs: Needs) -> FilterResult:
        """Run the filters over every node."""
        key = self._key(needs)
        found = self._known.get(key)
        if found is None:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
                self._staying.clear()
                self._shared.clear()
            found = self._known[key] = filter_nodes(
                self._cluster.nodes, needs, ignored=self._cluster.ignored
            )
        return found

    def _key(self, needs: Needs) -> tuple[object, ...]:
        """Return the part of the needs that makes a difference."""
        selector = id(needs.node_selector)  # those of the snapshot, which outlives this object
        within = frozenset(subnet for subnet in self.subnets if needs.ip in subnet)
        return within, needs.link, selector, needs.every_node, needs.endpoint_nodes

    def eligible(self, needs: Needs, holder: str = "") -> frozenset[str]:
        """Return the nodes that may take the claim, or keep it.

        Four kinds of holders keep a claim though they fail a filter: a holder of unknown liveness;
        one that is cut off from the network, until it is certain which nodes are not; one that
        works, while every node that passes is isolated; and one that cannot read its claims, since
        it would not hear of the move.
        """
        found = self.filter_nodes(needs)
        reason = found.unfit.get(holder)
        working = reason is not None and reason not in USELESS | NOWHERE
        deaf = reason is Unfit.UNREAD
        if holder not in self._cluster.unknown and not (
            deaf or reason in CUT_OFF or (working and found.last_resort)
        ):
            return found.nodes
        # Each interface of a node may fail in another way, and others may take the IPs of each.
        where = self._key(needs) if reason is Unfit.ISOLATED else ()
        key = found.nodes, holder, reason, where
        nodes = self._staying.get(key)
        if nodes is None:
            stay = frozenset({holder})
            if reason in CUT_OFF:
                nodes = self._connected(found.nodes, needs, holder, reason) or stay
            else:
                nodes = stay if working else found.nodes | stay
            nodes = self._staying[key] = self._shared.setdefault(nodes, nodes)
        return nodes

    def standby(self, needs: Needs, holder: str, node: str) -> str:
        """Return a claim's standby while it may take the IP, or may be back in a moment."""
        if node in self._cluster.unknown:
            return node
        if needs.preference is None:  # the hot path
            takes = node in self.filter_nodes(needs).nodes and not self._refuses(node, needs)
        else:
            takes = node in self.standbys(needs, holder)
        return node if takes else ""

    def standbys(self, needs: Needs, holder: str) -> frozenset[str]:
        """Return the best of the nodes that may take a claim from its holder.

        A node that has said that it would refuse the IP is none of them.
        """
        nodes = self.filter_nodes(needs).nodes
        others = frozenset(n for n in nodes if n != holder and not self._refuses(n, needs))
        return self.preferred.among(others, needs.preference)

    def _refuses(self, node: str, needs: Needs) -> bool:
        return needs.ip in self._facts[node].refuses

    def _connected(
        self, nodes: frozenset[str], needs: Needs, holder: str, reason: Unfit | None
    ) -> frozenset[str]:
        """Return the nodes that are certainly not cut off together with the holder."""
        cluster = self._cluster
        if holder in cluster.unsettled:
            return _NOBODY
        nodes -= cluster.returning
        if reason is Unfit.ISOLATED:
            nodes = reached_nodes(
                nodes, needs, self._facts[holder], self._facts, cluster.successors
            )
        return nodes

    def is_on_segment(self, node: str, needs: Needs) -> bool:
        """Whether the IP would be on an interface of the node other than `lo`, as it is known."""
        facts = self._facts.get(node)
        return facts is not None and link_for(facts, needs) not in ("", LOOPBACK)

    def serves(self, claim: IpClaim) -> bool:
        """Whether the node of a pinned claim can have its IP up, as far as the snapshot tells."""
        node, needs = claim.spec.node_name, needs_of(claim, self._cluster)
        if needs is None or not node:
            return False
        reason = self.filter_nodes(needs).unfit.get(node, Unfit.DEAD)
        if node in self._cluster.unknown:
            return reason is Unfit.DEAD
        useless = USELESS | NOWHERE | {Unfit.ISOLATED}
        return node in self.filter_nodes(needs).nodes or reason not in useless

    def why_not(self, node: str, needs: Needs) -> str:
        """Return the reason for which a claim leaves a node, for its history."""
        if not node:
            return "it had no node"
        reason = self.filter_nodes(needs).unfit.get(node)
        return "it is not there any more" if reason is None else PAST[reason]


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
