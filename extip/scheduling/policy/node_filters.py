"""NodeFilters: the filter results over one snapshot, for all claims with the same needs. Pure."""

from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property

from extip.api.ipcontroller_v1 import IpClaim
from extip.net.interfaces import LOOPBACK, IPAddress
from extip.scheduling.policy.filter_cache import FilterCache
from extip.scheduling.policy.filters import (
    CUT_OFF,
    NOWHERE,
    PAST,
    USELESS,
    FilterResult,
    Needs,
    Unfit,
    failed_filter,
    link_for,
    strays,
)
from extip.scheduling.policy.preference import Preferred
from extip.scheduling.policy.reached import reached_nodes
from extip.scheduling.policy.snapshot import Snapshot, needs_of

_Key = tuple[object, ...]

_NOBODY: frozenset[str] = frozenset()

_REMEMBERED, _RESULTS = 4096, 256
"""The numbers of verdicts on one node, and of filter results, that are kept. A result names all
nodes."""


class NodeFilters:
    """The filter results, computed once for all claims with the same needs."""

    def __init__(
        self,
        cluster: Snapshot,
        *,
        cache: FilterCache | None = None,
        preferred: Preferred | None = None,
    ) -> None:
        """Compose; what earlier filters have found is taken over."""
        self._cluster = cluster
        self._facts = cluster.by_name
        self._cache = FilterCache(cluster.ignored) if cache is None else cache
        self._known: dict[_Key, FilterResult] = {}
        self._staying: dict[tuple[object, ...], frozenset[str]] = {}
        self._shared: dict[frozenset[str], frozenset[str]] = {}
        self._plain: dict[tuple[str, _Key], bool] = {}
        links = (link for node in cluster.nodes for link in node.links.values())
        self.subnets = frozenset(subnet for link in links for subnet in link.subnets)
        """The subnets that choose between the interfaces of a node."""
        self.preferred = Preferred(_labels(cluster)) if preferred is None else preferred
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
        same_pools = cluster.preferring_pools is old.preferring_pools
        if same and same_pools and cluster.node_selectors is old.node_selectors:
            self._cluster = cluster
            return self
        if cluster.ignored != old.ignored:
            return NodeFilters(cluster)
        keeps = same_pools and self.preferred.labels == _labels(cluster)
        preferred = self.preferred if keeps else None
        return NodeFilters(cluster, cache=self._cache, preferred=preferred)

    @cached_property
    def open_nodes(self) -> frozenset[str]:
        """The nodes that do not fail a filter for every claim. Isolation may come to be ignored."""
        return self._cache.open_nodes(self._facts)

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
            if len(self._known) >= _RESULTS:
                self._known.clear()
                self._staying.clear()
                self._shared.clear()
            found = self._known[key] = self._cache.filter_nodes(self._facts, needs, key[:-1])
        return found

    def _key(self, needs: Needs) -> _Key:
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

    def willing(self, nodes: frozenset[str], needs: Needs, holder: str) -> frozenset[str]:
        """Return the nodes but for those that have said that they would refuse the IP.

        All of them where no other is left. The holder of the claim counts as willing: it alone may
        know the station that has the IP.
        """
        refusing = self._refusing.get(needs.ip)
        if refusing is None:
            return nodes
        return nodes.difference(refusing - {holder}) or nodes

    @cached_property
    def _refusing(self) -> Mapping[IPAddress, frozenset[str]]:
        found: dict[IPAddress, frozenset[str]] = {}
        for name, node in self._facts.items():
            for ip in node.refuses:
                found[ip] = found.get(ip, _NOBODY) | {name}
        return found

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


def _labels(cluster: Snapshot) -> dict[str, Mapping[str, str] | None]:
    """Return the labels of each node; None for a node that Kubernetes does not know."""
    return {
        node.name: None if node.kubernetes is None else node.kubernetes.labels
        for node in cluster.nodes
    }
