"""Standing: the facts of the cluster while some IPs are decided. Pure.

A decision about one IP depends on the nodes, and on the loads that all other claims make. It
depends on no other fact about those claims. A plan over everything begins with no load. A plan for
a few IPs begins with the loads of all others.
"""

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import replace

from extip.scheduling.policy.filters import presumed_alive
from extip.scheduling.policy.node_filters import NodeFilters
from extip.scheduling.policy.placement import Placement, Strategy, is_balanced
from extip.scheduling.policy.snapshot import Snapshot

_NOBODY: frozenset[str] = frozenset()


class Standing:
    """The filters, the loads, and the nodes that hold claims."""

    def __init__(self, snapshot: Snapshot, strategy: Strategy) -> None:
        self.strategy = strategy
        self.snapshot = snapshot
        self.filters = NodeFilters(snapshot)
        self.placement = Placement(strategy, snapshot.registered)
        self.holding: Counter[str] = Counter()
        """How many claims, of those that placement decides about, each node has."""
        self._awaited = _NOBODY
        self._of_new = self.filters

    def renew(self, snapshot: Snapshot) -> None:
        """Take other facts of the nodes; the loads stay."""
        self.placement.reregister(snapshot.registered)
        self.snapshot = snapshot
        self.filters = self._of_new = self.filters.among(snapshot)
        self._awaited = _NOBODY

    def refilter(self) -> None:
        """Forget the filter results, which are computed anew on their next use."""
        self.filters = self._of_new = NodeFilters(self.snapshot)
        self._awaited = _NOBODY

    def is_balanced(self, steady: Collection[str]) -> bool:
        """Whether it is certain that no claim moves between these nodes to even the load out.

        A node that has no claim and may hold none does not count, such as a control plane.
        """
        load, open_nodes = self.placement.load, self.filters.open_nodes
        nodes = [node for node in steady if load(node) or node in open_nodes]
        return is_balanced(self.placement, nodes, self.strategy)

    def awaited(self, holders: Iterable[str] = ()) -> frozenset[str]:
        """Return the nodes of unknown liveness that new claims wait for: *first alive* only.

        A claim without a node is to join the others there. `holders` are more nodes with claims.
        """
        if self.strategy is not Strategy.FIRST_ALIVE or not self.snapshot.unknown:
            return _NOBODY
        return frozenset(
            name for name in self.snapshot.unknown if self.holding[name] > 0
        ) | self.snapshot.unknown.intersection(holders)

    def filters_of_new(self, holders: Iterable[str]) -> NodeFilters:
        """Return the filters for claims that have no node yet."""
        awaited = self.awaited(holders)
        if awaited != self._awaited:
            self._awaited, self._of_new = awaited, self.filters
            if awaited:
                nodes = presumed_alive(self.snapshot.nodes, awaited)
                self._of_new = NodeFilters(replace(self.snapshot, nodes=nodes))
        return self._of_new
