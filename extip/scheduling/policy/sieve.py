"""Sieve: the filters over every node, where only nodes that differ are looked at again. Pure.

Most filters look at one node alone. Their outcome is kept for claims with the same needs, until a
fact about that node changes. What compares nodes follows from it, and is cheap.
"""

from collections.abc import Hashable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import replace

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

_KEPT = 64
"""The number of different needs for which the outcome is kept."""

_SOFT = (Unfit.NO_NODE, Unfit.ISOLATED)
"""Filters that count only while another node passes; the first is given up first."""


class Sieve:
    """The filters that look at one node alone, for claims with the same needs."""

    def __init__(self, off: frozenset[Unfit]) -> None:
        """`off` are the filters that do not count."""
        self._off = off
        self._nodes: Mapping[str, NodeFacts] = {}
        self._needs: Needs | None = None
        self.unfit: dict[str, Unfit] = {}
        """The reason against each node that fails a filter."""
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
            self.stray.discard(name)
            self.local.discard(name)
            if name in nodes:
                self._look(nodes[name], needs)
        self._nodes = nodes
        self._needs = needs  # `NodeFilters` tells needs apart by the ids of objects in them

    def _look(self, node: NodeFacts, needs: Needs) -> None:
        reason = failed_filter(node, needs, ignored=self._off)
        if reason is not None:
            self.unfit[node.name] = reason
        elif strays(node, needs):
            self.stray.add(node.name)
        if is_local(node, needs.ip):
            self.local.add(node.name)


class Sieves:
    """The sieves of one snapshot after another, for claims with all kinds of needs."""

    def __init__(self, ignored: frozenset[Unfit]) -> None:
        """`ignored` are filters that are switched off."""
        self._ignored = ignored
        self._sieves: dict[Hashable, dict[frozenset[Unfit], Sieve]] = {}
        self._nodes: Mapping[str, NodeFacts] = {}
        self._open: frozenset[str] = frozenset()

    def filter_nodes(
        self, nodes: Mapping[str, NodeFacts], needs: Needs, key: Hashable
    ) -> FilterResult:
        """Run the filters over every node; `key` has what makes a difference about the needs.

        Services with local traffic policy have too many different needs to keep the outcome.
        """
        if needs.endpoint_nodes:
            return sift(nodes, needs, {}, ignored=self._ignored)
        if key not in self._sieves and len(self._sieves) >= _KEPT:
            self._sieves.clear()
        sieves = self._sieves.setdefault(key, {})
        return sift(nodes, needs, sieves, ignored=self._ignored)

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
    """Run the filters over every node, and keep nothing for the next time (`sift`)."""
    return sift({node.name: node for node in nodes}, needs, {}, ignored=ignored)


def sift(
    nodes: Mapping[str, NodeFacts],
    needs: Needs,
    sieves: dict[frozenset[Unfit], Sieve],
    *,
    ignored: frozenset[Unfit],
) -> FilterResult:
    """Run the filters over every node. `sieves` are those of the same needs, and come to be there.

    `ignored` are filters that are switched off; only those in `OPTIONAL` can be. Isolation counts
    only while another node passes: a node whose only neighbour died also hears no other station. A
    missing Kubernetes node counts only while another node passes, too: in some clusters no
    controller has the name of its node. A node in other subnets than the IP is the last resort.
    """
    off = ignored & OPTIONAL
    found = _sift_softly(nodes, needs, sieves, off)
    if not found.nodes and Unfit.OTHER_SUBNET in found.unfit.values():
        found = _sift_softly(nodes, needs, sieves, off | {Unfit.OTHER_SUBNET})
    return found


def _sift_softly(
    nodes: Mapping[str, NodeFacts],
    needs: Needs,
    sieves: dict[frozenset[Unfit], Sieve],
    off: frozenset[Unfit],
) -> FilterResult:
    found = _sift_all(nodes, needs, sieves, off)
    for soft in _SOFT:
        if not found.nodes and soft in found.unfit.values():
            off |= {soft}
            isolated = soft is Unfit.ISOLATED
            found = replace(_sift_all(nodes, needs, sieves, off), last_resort=isolated)
    return found


def _sift_all(
    nodes: Mapping[str, NodeFacts],
    needs: Needs,
    sieves: dict[frozenset[Unfit], Sieve],
    off: frozenset[Unfit],
) -> FilterResult:
    sieve = sieves.setdefault(off, Sieve(off))
    sieve.take(nodes, needs)
    unfit = dict(sieve.unfit)
    eligible = nodes.keys() - unfit.keys()
    if Unfit.OTHER_SUBNET not in off and sieve.local:
        eligible -= sieve.stray
        unfit |= dict.fromkeys(sieve.stray, Unfit.OTHER_SUBNET)
    if Unfit.NO_ENDPOINT not in off and Unfit.FEWER_ENDPOINTS not in off:
        fewer = _serving_fewer(nodes, eligible, needs)
        eligible -= fewer
        unfit |= dict.fromkeys(fewer, Unfit.FEWER_ENDPOINTS)
    return FilterResult(nodes=frozenset(eligible), unfit=dict(sorted(unfit.items())))


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
