"""Reports of all nodes about their interfaces x local time → who may take IPs of isolated nodes.

A node's report that it is isolated is no proof. Its only neighbour may have died, or the network
may be dead for all. The report takes effect after another node has reported *later* that it is
reached. A dead node reports nothing, and in a dead network no node is reached. The report takes
effect only after every live node has reported, or has had time to. Then the IPs can be spread over
all eligible nodes.

A report is as old as the answers that it rests on, and needs time to arrive. So it counts as later
than another one only by `_settle_s`. (A report that takes longer to arrive may move IPs within a
network that is dead for all. That costs nothing but the move.)

When a network is mended, nodes find out one after the other. A node that was isolated a moment ago
takes no IP from nodes that may be about to be reached as well.

Each interface of a node is judged by itself, and reports name it. Which of the interfaces that are
reached are on the same LAN as an isolated one is decided elsewhere
(`extip.scheduling.policy.reached`).

All instants are seconds on one monotonic timeline.
"""

from collections.abc import Collection, Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from math import inf
from typing import Generic, NamedTuple, TypeVar

from extip.uplink.policy.isolation import ANSWER_S, FRESH, MISSES, Reachability, round_s

_LATE = 0.25
"""Part of a heartbeat interval that a heartbeat may need to arrive."""
_LATE_S = 0.1
"""The same in seconds, at least."""

_HEARTBEAT = 1.2
"""A node reports within this many heartbeat intervals, with their jitter."""

_FIND_OUT = 2.0
"""Rounds in which a node finds out that its network is mended."""


class LinkId(NamedTuple):
    """An interface of a node."""

    node: str
    link: str
    """Its name; empty for the first one of a node that reports on no other."""


Reporter = TypeVar("Reporter", bound=Hashable)


@dataclass(slots=True)
class _Node:
    token: str = ""
    """Identifies its last heartbeat."""
    heartbeat_s: float = 0.0
    settle_s: float = 0.0
    find_out_s: float = 0.0
    """Both depend on `heartbeat_s` alone; they are kept, since many pairs of nodes are compared."""
    reached_at: float = -inf
    """When it last reported that it is reached."""
    isolated_since: float = inf
    """Infinity while it is not isolated."""
    mended_at: float = -inf


@dataclass(slots=True)
class _Holder(Generic[Reporter]):
    """An isolated node that may have IPs."""

    awaited: set[Reporter] = field(default_factory=set)
    """Nodes that have not reported since."""
    due_at: float = -inf
    """When the wait for them ends."""
    confirmed: bool = False
    """Its neighbours say that it does not answer, so nobody has to report."""


@dataclass(slots=True)
class Reports(Generic[Reporter]):
    """The reports of all nodes, or of all interfaces: each one is a reporter of its own."""

    _nodes: dict[Reporter, _Node] = field(default_factory=dict)
    _holders: dict[Reporter, _Holder[Reporter]] = field(default_factory=dict)

    def is_isolated(self, node: Reporter) -> bool:
        """Return whether a node reported so last."""
        return node in self._holders

    def due_at(self, node: Reporter) -> float:
        """Return when the IPs of an isolated node may move, whether or not all nodes reported."""
        return self._holders[node].due_at

    def mended_at(self, node: Reporter) -> float:
        """Return when a node stopped being isolated; minus infinity for never isolated."""
        known = self._nodes.get(node)
        return -inf if known is None else known.mended_at

    def on_heartbeat(
        self,
        node: Reporter,
        said: Reachability,
        now: float,
        *,
        token: str,
        heartbeat_s: float,
        listed: bool = False,
    ) -> bool:
        """Record a node's report; return whether it may change the answers.

        `token` differs for each heartbeat. `listed`: it was found when all heartbeats were read for
        the first time, so it may be of any age.
        """
        known = self._nodes.setdefault(node, _Node())
        if token == known.token:
            return False
        known.token = token
        if known.heartbeat_s != heartbeat_s:
            known.heartbeat_s, known.settle_s = heartbeat_s, _settle_s(heartbeat_s)
            known.find_out_s = _FIND_OUT * round_s(heartbeat_s) + _late_s(heartbeat_s)
        if (said is Reachability.ISOLATED) != (known.isolated_since < inf):
            self._changed(node, known, now)
            return True
        if listed or said is Reachability.ISOLATED:
            return False
        before = known.reached_at
        if said is Reachability.REACHED:
            known.reached_at = now
        matters = [self._heard(holder, node, before, now) for holder in self._holders]
        return any(matters)

    def begin_anew(self, now: float) -> Mapping[Reporter, float]:
        """Have every node report anew about the isolated ones; return when these are due."""
        for holder in self._holders:
            self._begin(holder, now)
        return {holder: state.due_at for holder, state in self._holders.items()}

    def confirm(self, node: Reporter) -> bool:
        """Record that neighbours of an isolated node confirm it; return whether it is isolated."""
        holder = self._holders.get(node)
        if holder is None:
            return False
        holder.confirmed = True
        return True

    def forget(self, node: Reporter) -> None:
        """Drop the report of a node that is dead, or gone."""
        self._nodes.pop(node, None)
        self._holders.pop(node, None)
        self._await_no_more(node)

    def successors(
        self, alive: Collection[Reporter], now: float
    ) -> Mapping[Reporter, frozenset[Reporter]]:
        """Return who may take the IPs of each isolated node now.

        An isolated node is missing while that is not clear.
        """
        ready = {
            name: known
            for name in alive
            if (known := self._nodes.get(name)) is not None and known.isolated_since == inf
        }
        return {
            holder: frozenset(
                name
                for name, known in ready.items()
                if state.confirmed or known.reached_at >= self._counts_from(known, holder)
            )
            for holder, state in self._holders.items()
            if state.confirmed or not state.awaited or now >= state.due_at
        }

    def _changed(self, node: Reporter, known: _Node, now: float) -> None:
        """Record that a node has become isolated, or is not any more."""
        if known.isolated_since < inf:
            known.isolated_since, known.mended_at = inf, now
            del self._holders[node]
            return
        self._await_no_more(node)
        self._holders[node] = _Holder()
        self._begin(node, now)

    def _begin(self, holder: Reporter, now: float) -> None:
        """Have all others report anew."""
        self._nodes[holder].isolated_since = now
        others = {name: known for name, known in self._nodes.items() if name not in self._holders}
        due = (
            self._counts_from(known, holder) + _HEARTBEAT * known.heartbeat_s
            for known in others.values()
        )
        self._holders[holder] = _Holder(awaited=set(others), due_at=max(due, default=now))

    def _heard(self, holder: Reporter, node: Reporter, before: float, now: float) -> bool:
        """Record that a node has reported; return whether that may move a holder's IPs."""
        known, state = self._nodes[node], self._holders[holder]
        counts_from = self._counts_from(known, holder)
        if now < counts_from:
            return False
        if node in state.awaited:
            state.awaited.discard(node)
            return not state.awaited or now >= state.due_at
        return known.reached_at >= counts_from > before

    def _await_no_more(self, node: Reporter) -> None:
        for state in self._holders.values():
            state.awaited.discard(node)

    def _counts_from(self, known: _Node, holder: Reporter) -> float:
        """Return from when on a node's report is later than the holder's that it is isolated."""
        isolated = self._nodes[holder]
        return max(isolated.isolated_since + known.settle_s, known.mended_at + isolated.find_out_s)


class ClusterReachability:
    """The reports of all nodes about each of their interfaces."""

    def __init__(self) -> None:
        self._reports: Reports[LinkId] = Reports()
        self._links: dict[str, tuple[LinkId, ...]] = {}
        """The interfaces in the last report of a node, the first one first."""

    def isolated(self, node: str) -> frozenset[str]:
        """Return the interfaces of which a node reported so last."""
        links = self._links.get(node, ())
        return frozenset(one.link for one in links if self._reports.is_isolated(one))

    def due_at(self, node: str) -> float:
        """Return when the IPs of isolated interfaces of a node may move; see `Reports`."""
        isolated = (one for one in self._links[node] if self._reports.is_isolated(one))
        return max(self._reports.due_at(one) for one in isolated)

    def mended_at(self, node: str) -> float:
        """Return when one of its interfaces stopped being isolated last; -inf for never."""
        links = self._links.get(node, ())
        return max((self._reports.mended_at(one) for one in links), default=-inf)

    def on_heartbeat(
        self,
        node: str,
        said: Mapping[str, Reachability],
        now: float,
        *,
        token: str,
        heartbeat_s: float,
        listed: bool = False,
    ) -> bool:
        """Record a node's report about its interfaces, the first one first; see `Reports`."""
        before, links = self.isolated(node), tuple(LinkId(node, link) for link in said)
        for gone in set(self._links.get(node, ())).difference(links):
            self._reports.forget(gone)
        self._links[node] = links
        matters = [
            self._reports.on_heartbeat(
                one, said[one.link], now, token=token, heartbeat_s=heartbeat_s, listed=listed
            )
            for one in links
        ]
        return any(matters) or self.isolated(node) != before

    def begin_anew(self, now: float) -> Mapping[str, float]:
        """Have every node report anew about the isolated ones; return when these are due."""
        found: dict[str, float] = {}
        for one, due_at in self._reports.begin_anew(now).items():
            found[one.node] = max(due_at, found.get(one.node, due_at))
        return found

    def confirm(self, node: str) -> bool:
        """Record that neighbours of a node get no answer on its first interface.

        Return whether it reports that one as isolated.
        """
        return any(self._reports.confirm(one) for one in self._links.get(node, ())[:1])

    def forget(self, node: str) -> None:
        """Drop the report of a node that is dead, or gone."""
        for one in self._links.pop(node, ()):
            self._reports.forget(one)

    def successors(self, alive: Iterable[str], now: float) -> Mapping[LinkId, frozenset[LinkId]]:
        """Return which interfaces are reached while another one is isolated; see `Reports`."""
        links = [one for node in alive for one in self._links.get(node, ())]
        return self._reports.successors(links, now)


def names(links: Iterable[str]) -> list[str]:
    """Return the interfaces of a node for a line of the log, in order."""
    return sorted(link or "the first one" for link in links)


def _settle_s(heartbeat_s: float) -> float:
    """Return how much later than one node's report another's must arrive to be of a later time.

    A report of being reached rests on answers of the last `FRESH` rounds. A report of being
    isolated rests on `MISSES` quick rounds of silence.
    """
    older_s = FRESH * round_s(heartbeat_s) - MISSES * ANSWER_S
    return max(0.0, older_s) + _late_s(heartbeat_s)


def _late_s(heartbeat_s: float) -> float:
    return max(_LATE_S, _LATE * heartbeat_s)
