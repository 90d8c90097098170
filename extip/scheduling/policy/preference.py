"""Preference: of the nodes that may hold a claim, those that should. Pure.

A service may name nodes, the best first; its pool may have weighted selectors. The service's list
counts before the weights. Nodes of the same rank are equal, and the strategy chooses between them.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from extip.api.ipcontroller_v1 import NEVER, IpClaimPoolSpec
from extip.api.selector import selects

Rank = tuple[int, int]
"""The place of a node in the service's list, and its weight in the pool below zero. The smallest
is the best."""

_REMEMBERED = 256
"""The number of results that are kept. Each may name all nodes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Preference:
    """The preference of one claim."""

    nodes: tuple[str, ...] = ()
    """The nodes that its service names, the best first."""
    pool: IpClaimPoolSpec | None = None
    """Its pool, when that has preferred nodes, or when its addresses stay in quiet times."""

    @property
    def stays(self) -> bool:
        """Whether the claim moves only when it must."""
        return self.pool is not None and self.pool.rebalance == NEVER


class Preferred:
    """The preferred nodes, computed once for all claims with the same preference."""

    def __init__(self, labels: Mapping[str, Mapping[str, str] | None]) -> None:
        """`labels` are those of each node; None for a node that Kubernetes does not know."""
        self.labels = labels
        self._weights: dict[int, dict[str, int]] = {}
        self._known: dict[tuple[tuple[str, ...], int, frozenset[str]], frozenset[str]] = {}
        self._shared: dict[frozenset[str], frozenset[str]] = {}

    def among(self, eligible: frozenset[str], preference: Preference | None) -> frozenset[str]:
        """Return the best of the eligible nodes; all of them where the claim prefers none."""
        if preference is None or not eligible:
            return eligible
        key = preference.nodes, id(preference.pool), eligible
        found = self._known.get(key)
        if found is None:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
                self._shared.clear()
            ranks = self.ranks(eligible, preference)
            best = min(ranks.values())
            found = frozenset(node for node, rank in ranks.items() if rank == best)
            found = self._known[key] = self._shared.setdefault(found, found)
        return found

    def ranks(self, nodes: frozenset[str], preference: Preference) -> dict[str, Rank]:
        """Return the rank of each of these nodes."""
        return {node: self._rank(node, preference) for node in nodes}

    def better(self, node: str, preference: Preference | None) -> str:
        """Tell in a clause which nodes the claim prefers to this one; empty for none.

        Nodes that the service names count, known or not, and all known nodes of the pool.
        """
        if preference is None:
            return ""
        place, weight = self._rank(node, preference)
        if place > 0:
            return f"{preference.nodes[0]} is preferred"
        heaviest = max(self._weights_in(preference.pool).values(), default=0)
        return "its pool prefers others" if not preference.nodes and -weight < heaviest else ""

    def _rank(self, node: str, preference: Preference) -> Rank:
        named = preference.nodes
        place = named.index(node) if node in named else len(named)
        return place, -self._weights_in(preference.pool).get(node, 0)

    def _weights_in(self, pool: IpClaimPoolSpec | None) -> dict[str, int]:
        """Return the weight of each node that a selector of the pool selects."""
        terms = () if pool is None else pool.preferred_nodes or ()
        found = self._weights.get(id(pool))  # the snapshot's, which outlives this object
        if found is None:
            found = self._weights[id(pool)] = {
                node: weight
                for node, labels in self.labels.items()
                if labels is not None
                and (weight := sum(t.weight for t in terms if selects(t.selector, labels)))
            }
        return found


def preference_of(nodes: tuple[str, ...], pool: IpClaimPoolSpec | None) -> Preference | None:
    """Return the preference of a claim; None where every node is as good."""
    return Preference(nodes=nodes, pool=pool) if nodes or pool is not None else None
