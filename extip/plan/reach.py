"""What all nodes say of their interfaces x local time → who may take the IPs of isolated ones.

A node's word that it is isolated is no proof: its only neighbour may have died, or the network may
be dead for all. It counts once another node has said *after* it that it is reached: a node that has
died says nothing, and in a dead network nobody does. And it counts once all who live have spoken,
so that the IPs are spread over all who may have them, or had time to.

A word is as old as the answers that it rests on, and on its way for a while. So it is one after
another's only by `_settle_s`. (One that was on its way for longer may move IPs within a network
that is dead for all, which costs nothing but the move.) And when a network is mended nodes find
out one after the other: who was isolated a moment ago takes nothing from those that may be about
to be reached as well.

All instants are seconds on one monotonic timeline.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from math import inf

from extip.plan.isolation import FRESH, MISSES, Reach, round_s

_LATE = 0.25
"""Part of a heartbeat that it may be on its way."""
_LATE_S = 0.1
"""The same in seconds, at least."""

_HEARTBEAT = 1.2
"""A node speaks within that many heartbeats, with their jitter."""

_FIND_OUT = 2.0
"""Rounds in which a node finds out that its network is mended."""


@dataclass(slots=True)
class _Node:
    token: str = ""
    """Of its last heartbeat."""
    heartbeat_s: float = 0.0
    reached_at: float = -inf
    """When it last said that it is reached."""
    isolated_since: float | None = None
    mended_at: float = -inf


@dataclass(slots=True)
class _Holder:
    """An isolated node that has IPs, for what anybody knows."""

    awaited: set[str] = field(default_factory=set)
    """Nodes that have not spoken since."""
    due_at: float = -inf
    """Until when they are waited for."""


@dataclass(slots=True)
class Reaches:
    """The book of all nodes' words."""

    _nodes: dict[str, _Node] = field(default_factory=dict)
    _holders: dict[str, _Holder] = field(default_factory=dict)

    def is_isolated(self, node: str) -> bool:
        """Whether a node said so last."""
        return node in self._holders

    def due_at(self, node: str) -> float:
        """Return when to look again at an isolated node's IPs, whoever has not spoken by then."""
        return self._holders[node].due_at

    def mended_at(self, node: str) -> float:
        """Return since when a node is not isolated any more; minus infinity for always."""
        known = self._nodes.get(node)
        return -inf if known is None else known.mended_at

    def told(
        self,
        node: str,
        said: Reach,
        now: float,
        *,
        token: str,
        heartbeat_s: float,
        listed: bool = False,
    ) -> bool:
        """Take a node's word; return whether it may matter.

        `token` differs for each heartbeat. `listed`: it was found when everything was read for the
        first time, so it may be of any age.
        """
        known = self._nodes.setdefault(node, _Node())
        if token == known.token:
            return False
        known.token, known.heartbeat_s = token, heartbeat_s
        if (said is Reach.ISOLATED) != (known.isolated_since is not None):
            self._changed(node, known, now)
            return True
        if listed or said is Reach.ISOLATED:
            return False
        before = known.reached_at
        if said is Reach.REACHED:
            known.reached_at = now
        matters = [self._heard(holder, node, before, now) for holder in self._holders]
        return any(matters)

    def begin_anew(self, now: float) -> Mapping[str, float]:
        """Have everybody speak who was found with the isolated ones; return when these are due."""
        for holder in self._holders:
            self._begin(holder, now)
        return {holder: state.due_at for holder, state in self._holders.items()}

    def forget(self, node: str) -> None:
        """Drop the word of a node that is dead, or gone."""
        self._nodes.pop(node, None)
        self._holders.pop(node, None)
        self._await_no_more(node)

    def successors(self, alive: Collection[str], now: float) -> Mapping[str, frozenset[str]]:
        """Return who may take the IPs of each isolated node now; nobody while that is not clear."""
        ready = {
            name: known
            for name in alive
            if (known := self._nodes.get(name)) is not None and known.isolated_since is None
        }
        return {
            holder: frozenset(
                name
                for name, known in ready.items()
                if known.reached_at >= self._counts_from(known, holder)
            )
            for holder, state in self._holders.items()
            if not state.awaited or now >= state.due_at
        }

    def _changed(self, node: str, known: _Node, now: float) -> None:
        """Note that a node has become isolated, or is not any more."""
        if known.isolated_since is not None:
            known.isolated_since, known.mended_at = None, now
            del self._holders[node]
            return
        self._await_no_more(node)
        self._holders[node] = _Holder()
        self._begin(node, now)

    def _begin(self, holder: str, now: float) -> None:
        """Have all others say anew what they see."""
        self._nodes[holder].isolated_since = now
        others = {name: known for name, known in self._nodes.items() if name not in self._holders}
        due = (
            self._counts_from(known, holder) + _HEARTBEAT * known.heartbeat_s
            for known in others.values()
        )
        self._holders[holder] = _Holder(awaited=set(others), due_at=max(due, default=now))

    def _heard(self, holder: str, node: str, before: float, now: float) -> bool:
        """Take note that a node has spoken; return whether that may move a holder's IPs."""
        known, state = self._nodes[node], self._holders[holder]
        counts_from = self._counts_from(known, holder)
        if now < counts_from:
            return False
        if node in state.awaited:
            state.awaited.discard(node)
            return not state.awaited or now >= state.due_at
        return known.reached_at >= counts_from > before

    def _await_no_more(self, node: str) -> None:
        for state in self._holders.values():
            state.awaited.discard(node)

    def _counts_from(self, known: _Node, holder: str) -> float:
        """Return from when on a node's word is one after the holder's that it is isolated."""
        isolated = self._nodes[holder]
        since = isolated.isolated_since if isolated.isolated_since is not None else inf
        find_out_s = _FIND_OUT * round_s(isolated.heartbeat_s) + _late_s(isolated.heartbeat_s)
        return max(
            since + _settle_s(known.heartbeat_s, isolated.heartbeat_s),
            known.mended_at + find_out_s,
        )


def _settle_s(heartbeat_s: float, isolated_s: float) -> float:
    """Return how much later than one node's word another's must come to tell of a later time.

    What a node says of being reached rests on answers of the last `FRESH` rounds, and that it is
    isolated on `MISSES` rounds of silence.
    """
    older_s = FRESH * round_s(heartbeat_s) - MISSES * round_s(isolated_s)
    return max(0.0, older_s) + _late_s(heartbeat_s)


def _late_s(heartbeat_s: float) -> float:
    return max(_LATE_S, _LATE * heartbeat_s)
