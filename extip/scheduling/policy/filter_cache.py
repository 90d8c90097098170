"""FilterCache: the filters over every node, where only nodes that differ are looked at again. Pure.

Most filters look at one node alone. Their outcome is kept for claims with the same needs, until a
fact about that node changes. What compares nodes follows from it, and is cheap.
"""

from collections.abc import Hashable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import replace
from itertools import islice

from extip.cache.changes import differing
from extip.scheduling.policy.filters import (
    OPTIONAL,
    FilterResult,
    Needs,
    NodeFacts,
    Unfit,
    failed_filter,
    failed_for_all,
    is_local,
    strays,
)

_KEPT = 256
"""The number of different needs for which the outcome is kept."""

_EARLY = frozenset(islice(Unfit, list(Unfit).index(Unfit.NO_ENDPOINT)))
"""Filters that come before that of endpoints."""

_SOFT = (Unfit.NO_NODE, Unfit.ISOLATED)
"""Filters that count only while another node passes; the first is given up first."""


class _OneByOne:
    """The filters that look at one node alone, for claims with the same needs."""

    def __init__(self, off: frozenset[Unfit]) -> None:
        """`off` are the filters that do not count."""
        self._off = off
        self._nodes: Mapping[str, NodeFacts] = {}
        self._needs: Needs | None = None
        self.unfit: dict[str, Unfit] = {}
        """The reason against each node that fails a filter; none looks at endpoints."""
        self.passing: set[str] = set()
        """The others."""
        self._asked: set[str] = set()
        """The nodes whose endpoints count: they fail no filter that comes before."""
        self._nameless: set[str] = set()
        """Such nodes that Kubernetes does not know."""
        self.stray: set[str] = set()
        """The nodes that pass, and would have the IP on an interface with other subnets."""
        self.local: set[str] = set()
        """The nodes with a subnet that contains the IP."""

    def take(self, nodes: Mapping[str, NodeFacts], needs: Needs) -> None:
        """Look at the nodes that differ from those of the last time.

        The needs may be those of another claim. For all nodes of the last time they are the same.
        """
        for name in differing(self._nodes, nodes):
            self.unfit.pop(name, None)
            for noted in (self.passing, self._asked, self._nameless, self.stray, self.local):
                noted.discard(name)
            if name in nodes:
                self._look(nodes[name], needs)
        self._nodes = nodes
        self._needs = needs  # `NodeFilters` tells needs apart by the ids of objects in them

    def _look(self, node: NodeFacts, needs: Needs) -> None:
        reason = failed_filter(node, needs, ignored=self._off)
        if reason is not None:
            self.unfit[node.name] = reason
        else:
            self.passing.add(node.name)
            if strays(node, needs):
                self.stray.add(node.name)
        if reason not in _EARLY:
            (self._nameless if node.kubernetes is None else self._asked).add(node.name)
        if is_local(node, needs.ip):
            self.local.add(node.name)

    def unfit_for(self, needs: Needs) -> dict[str, Unfit]:
        """Return the reasons as they are with the endpoints of these needs, as `failed_filter`.

        Each service with local traffic policy has its own endpoints. So they are no matter of one
        node after another.
        """
        if not needs.endpoint_nodes:
            return dict(self.unfit)
        served = frozenset[str]().union(*needs.endpoint_nodes)
        lacking, nameless = self._asked - served, self._nameless - served
        if Unfit.NO_ENDPOINT in self._off:
            lacking = set()
        elif not served:  # that is known of all
            lacking, nameless = lacking | nameless, set()
        unfit = {**self.unfit, **dict.fromkeys(lacking, Unfit.NO_ENDPOINT)}
        if Unfit.NO_NODE not in self._off:
            for name in nameless:
                if unfit.get(name, Unfit.ISOLATED) is Unfit.ISOLATED:
                    unfit[name] = Unfit.NO_NODE
        return unfit


class _Filters:
    """All filters, for claims with the same needs besides endpoints."""

    def __init__(self, ignored: frozenset[Unfit]) -> None:
        """`ignored` are filters that are switched off; only those in `OPTIONAL` can be."""
        self._ignored = ignored & OPTIONAL
        self._one_by_one: dict[frozenset[Unfit], _OneByOne] = {}
        """By the filters that do not count."""

    def run(self, nodes: Mapping[str, NodeFacts], needs: Needs) -> FilterResult:
        """Run the filters over every node, as `filter_nodes`."""
        found = self._run_softly(nodes, needs, self._ignored)
        if not found.nodes and Unfit.OTHER_SUBNET in found.unfit.values():
            found = self._run_softly(nodes, needs, self._ignored | {Unfit.OTHER_SUBNET})
        return found

    def _run_softly(
        self, nodes: Mapping[str, NodeFacts], needs: Needs, off: frozenset[Unfit]
    ) -> FilterResult:
        found = self._run_all(nodes, needs, off)
        for soft in _SOFT:
            if not found.nodes and soft in found.unfit.values():
                off |= {soft}
                isolated = soft is Unfit.ISOLATED
                found = replace(self._run_all(nodes, needs, off), last_resort=isolated)
        return found

    def _run_all(
        self, nodes: Mapping[str, NodeFacts], needs: Needs, off: frozenset[Unfit]
    ) -> FilterResult:
        known = self._one_by_one.setdefault(off, _OneByOne(off))
        known.take(nodes, replace(needs, endpoint_nodes=()) if needs.endpoint_nodes else needs)
        unfit = known.unfit_for(needs)
        eligible = known.passing - unfit.keys()
        if Unfit.OTHER_SUBNET not in off and known.local:
            stray = eligible & known.stray
            eligible -= stray
            unfit |= dict.fromkeys(stray, Unfit.OTHER_SUBNET)
        if Unfit.NO_ENDPOINT not in off and Unfit.FEWER_ENDPOINTS not in off:
            fewer = _serving_fewer(nodes, eligible, needs)
            eligible -= fewer
            unfit |= dict.fromkeys(fewer, Unfit.FEWER_ENDPOINTS)
        return FilterResult(nodes=frozenset(eligible), unfit=unfit)


class FilterCache:
    """The filters over one snapshot after another, for claims with all kinds of needs."""

    def __init__(self, ignored: frozenset[Unfit]) -> None:
        """`ignored` are filters that are switched off."""
        self._ignored = ignored
        self._filters: dict[Hashable, _Filters] = {}
        self._nodes: Mapping[str, NodeFacts] = {}
        self._open: frozenset[str] = frozenset()

    def filter_nodes(
        self, nodes: Mapping[str, NodeFacts], needs: Needs, key: Hashable
    ) -> FilterResult:
        """Run the filters over every node, as the function of that name.

        `key` has what makes a difference about the needs, besides endpoints.
        """
        filters = self._filters.get(key)
        if filters is None:
            if len(self._filters) >= _KEPT:
                del self._filters[next(iter(self._filters))]  # the oldest
            filters = self._filters[key] = _Filters(self._ignored)
        return filters.run(nodes, needs)

    def open_nodes(self, nodes: Mapping[str, NodeFacts]) -> frozenset[str]:
        """Return the nodes that do not fail a filter for every claim.

        Isolation may come to be ignored.
        """
        off = self._ignored | {Unfit.ISOLATED}
        tried = differing(self._nodes, nodes)
        self._nodes = nodes
        if tried:
            found = (nodes[name] for name in tried if name in nodes)
            passed = (one.name for one in found if failed_for_all(one, ignored=off) is None)
            self._open = self._open.difference(tried).union(passed)
        return self._open


def filter_nodes(
    nodes: Iterable[NodeFacts], needs: Needs, *, ignored: frozenset[Unfit] = frozenset()
) -> FilterResult:
    """Run the filters over every node, and keep nothing for the next time.

    `ignored` are filters that are switched off; only those in `OPTIONAL` can be. Isolation counts
    only while another node passes: a node whose only neighbour died also hears no other station. A
    missing Kubernetes node counts only while another node passes, too: in some clusters no
    controller has the name of its node. A node in other subnets than the IP is the last resort.
    """
    return _Filters(ignored).run({node.name: node for node in nodes}, needs)


def _serving_fewer(
    nodes: Mapping[str, NodeFacts], eligible: AbstractSet[str], needs: Needs
) -> set[str]:
    """Return the eligible nodes that serve fewer services than another eligible node.

    Nodes that serve as many services are equal: a claim moves only to a node that serves more.
    """
    if len(needs.endpoint_nodes) < 2:  # noqa: PLR2004 - nothing to compare
        return set()
    known = (node for node in eligible if nodes[node].kubernetes is not None)
    served = {node: needs.served_by(node) for node in known}
    most = max(served.values(), default=0)
    return {node for node, count in served.items() if count < most}
