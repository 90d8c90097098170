"""What all nodes say of their interfaces x local time → who may take the IPs of isolated ones.

A node's word that it is isolated is no proof: its only neighbour may have died, or the network may
be dead for all. It counts once another node has said *after* it that it is reached: a node that has
died says nothing, and in a dead network nobody does. And it counts once all who live have spoken,
so that the IPs are spread over all who may have them, or had time to.

Nodes find out one after the other, also when a network is mended: whenever a node changes its mind
all others are to say anew what they see.

All instants are seconds on one monotonic timeline.
"""

from collections.abc import Collection
from dataclasses import dataclass, field
from math import inf

from extip.plan.isolation import Reach

_SPEAK = 0.6
"""Part of the monitor period that nodes have to speak: a heartbeat, with its jitter."""

_AT_ONCE_S = 0.02
"""What comes in within that time, as from a watch that was away, has no order."""


@dataclass(slots=True)
class Reaches:
    """The book of all nodes' words."""

    monitor_s: float
    _isolated: set[str] = field(default_factory=set)
    _changed_at: float = -inf
    _spoken: set[str] = field(default_factory=set)
    """Nodes that were heard since."""
    _reached: set[str] = field(default_factory=set)
    """Of these, those that said that they are reached."""
    _mended: dict[str, float] = field(default_factory=dict)

    @property
    def wait_s(self) -> float:
        """How long after a change of mind others have to speak."""
        return _SPEAK * self.monitor_s

    def is_isolated(self, node: str) -> bool:
        """Whether a node said so last."""
        return node in self._isolated

    def mended_at(self, node: str) -> float:
        """Return since when a node is not isolated any more; minus infinity for always."""
        return self._mended.get(node, -inf)

    def told(self, node: str, said: Reach, now: float, *, listed: bool = False) -> bool:
        """Take a node's word; return whether it may matter.

        `listed`: it was found when everything was read for the first time, so it may be of any age.
        """
        isolated = said is Reach.ISOLATED
        if isolated != self.is_isolated(node):
            if isolated:
                self._isolated.add(node)
            else:
                self._isolated.discard(node)
                self._mended[node] = now
            self._begin_anew(now)
            return True
        if listed or not self._isolated or isolated or now - self._changed_at < _AT_ONCE_S:
            return False
        news = node not in self._spoken or (said is Reach.REACHED and node not in self._reached)
        self._spoken.add(node)
        if said is Reach.REACHED:
            self._reached.add(node)
        return news

    def forget(self, node: str, now: float) -> None:
        """Drop the word of a node that is dead, or gone."""
        self._mended.pop(node, None)
        if node in self._isolated:
            self._isolated.discard(node)
            self._begin_anew(now)

    def successors(self, alive: Collection[str], now: float) -> frozenset[str]:
        """Return who may take the IPs of isolated nodes now; nobody while that is not clear."""
        if not self._isolated:
            return frozenset()
        silent = any(n not in self._spoken and n not in self._isolated for n in alive)
        if silent and now - self._changed_at < self.wait_s:
            return frozenset()
        return frozenset(self._reached.intersection(alive))

    def _begin_anew(self, now: float) -> None:
        self._changed_at = now
        self._spoken.clear()
        self._reached.clear()
