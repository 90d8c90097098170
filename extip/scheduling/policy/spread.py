"""Spread: the addresses of one service on different nodes, as far as there are nodes. Pure.

It counts before preference: of the nodes with the fewest addresses of the service, the best ones.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

from extip.scheduling.policy.preference import Rank

K = TypeVar("K")

Seat = tuple[str, str]
"""The group of a claim that is to be apart from others, and its node."""


@dataclass(frozen=True, slots=True)
class Apart:
    """The claim is one of a group, whose claims are to be apart."""

    group: str
    ranks: Mapping[str, Rank]
    """The rank by the claim's preference of each node that may hold it; empty without one."""


def group_of(service: str, version: int) -> str:
    """Return the group of a service's addresses of one IP version."""
    return f"{service} IPv{version}"


def service_of_group(group: str) -> str:
    """Return the service, ``namespace/name``, of a group."""
    return group.partition(" ")[0]


def services_that_moved(
    before: Mapping[K, tuple[Seat, ...]], after: Mapping[K, tuple[Seat, ...]]
) -> frozenset[str]:
    """Return the services of which one of the keys of `before` has other seats in `after`."""
    changed = ((seats, after.get(key, ())) for key, seats in before.items())
    return frozenset(
        service_of_group(group) for old, new in changed if old != new for group, _ in (*old, *new)
    )


class Spread:
    """The number of claims of each group on each node."""

    def __init__(self) -> None:
        self._groups: dict[str, Counter[str]] = {}

    def hold(self, group: str, node: str) -> None:
        """Count one more claim of the group on the node."""
        self._groups.setdefault(group, Counter())[node] += 1

    def counts(self, group: str) -> Mapping[str, int]:
        """Return how many claims of the group each node holds."""
        return self._groups.get(group, {})

    def adopt(self, group: str, counts: Mapping[str, int]) -> None:
        """Take the counts of a group from another one, unless they are here by now."""
        if counts and group not in self._groups:
            self._groups[group] = Counter(counts)

    def release(self, group: str, node: str) -> None:
        """Count one claim fewer of the group on the node."""
        counts = self._groups[group]
        counts[node] -= 1
        if not counts[node]:
            del counts[node]
        if not counts:
            del self._groups[group]

    def count(self, group: str, node: str) -> int:
        """Return how many claims of the group the node holds."""
        return self._groups[group][node] if group in self._groups else 0

    def best(self, apart: Apart, nodes: frozenset[str], holder: str = "") -> frozenset[str]:
        """Return those of the nodes that are best for a claim. `holder` counts it by now."""
        others = Counter(self._groups.get(apart.group))
        others[holder] -= 1
        found = nodes.difference(+others)
        if not found:
            fewest = min(others[node] for node in nodes)
            found = frozenset(node for node in nodes if others[node] == fewest)
        if not apart.ranks:
            return found
        best = min(apart.ranks[node] for node in found)
        return frozenset(node for node in found if apart.ranks[node] == best)
