"""Reports of nodes about silent neighbours x local time → which node is taken for dead at once.

A node that died answers nobody on the segment, long before its Lease runs out. The nodes that watch
it say so (`extip.uplink.policy.silence`). Their word is enough when

- two of them say so, or the only other node; they are alive, and nobody calls them silent;
- nothing else is wrong: no other node is silent, isolated, overdue or without carrier, and none was
  taken for dead a moment ago. Else the cause may be the network's, and the Leases decide;
- the suspect was given time to object. It reads the reports too, and renews its Lease at once;
- no heartbeat of it came since its silence began;
- it may go on without heartbeats (it has no `Beat.lease_s`): else only time tells that it let go;
- it was not suspected wrongly a while ago. Each time that lasts longer.

A suspect that renews its Lease lives. It keeps its IPs, unless it says that it is isolated: then
the reports confirm it, and nobody has to report again. Reports age quickly: after `_RECENT_S` the
Leases decide.

All instants are seconds on one monotonic timeline.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from math import inf

from extip.uplink.policy.isolation import Reachability

WITNESSES = 2

PATIENCE_S = 0.15
"""Time for the suspect to object, and for others to show that the cause is a common one."""

SILENT_S = 0.25
"""A report rests on at least so many seconds of silence. A heartbeat within them is life."""

_RECENT_S = 2.0
"""Maximum age of reports that are acted on."""

COMMON_S = 5.0
"""Trouble of two nodes within this time may have one cause."""

_DAMPED_S = 60.0
_MOST_DAMPED_S = 3600.0
"""Time in which a node is not suspected again; it doubles each time, up to the longest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeStates:
    """The nodes by their heartbeats and interfaces."""

    alive: Collection[str]
    """Nodes whose heartbeats are heard."""
    troubled: Collection[str] = ()
    """Nodes that are overdue, or have just lost their carrier."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A node says that others are silent."""

    witness: str
    silent: frozenset[str]
    version: int
    """The version of the record that says so; 0 when not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LifeSign:
    """A heartbeat, as far as it matters here."""

    node: str
    token: str
    version: int
    said: Reachability
    bound: bool
    """The node lets go by itself without heartbeats, and must be given the time for that."""


@dataclass(slots=True)
class _Accusation:
    at: float
    version: int


@dataclass(slots=True)
class _Node:
    token: str = ""
    version: int = 0
    heard_at: float = -inf
    isolated_at: float = inf
    """Since when it says that it is isolated."""
    bound: bool = False
    convicted_at: float = -inf
    wrong: int = 0
    """How often it was suspected wrongly, of late."""
    damped_until: float = -inf


@dataclass(slots=True)
class Suspicions:
    """The reports of all nodes about each other."""

    _said: dict[str, frozenset[str]] = field(default_factory=dict)
    _against: dict[str, dict[str, _Accusation]] = field(default_factory=dict)
    """For each suspect, its accusers."""
    _nodes: dict[str, _Node] = field(default_factory=dict)

    def on_report(self, report: Report, now: float) -> bool:
        """Record the latest report of a node; return whether it names another suspect.

        The first report of a node may be of any age, and accuses nobody.
        """
        before = self._said.get(report.witness)
        self._said[report.witness] = report.silent
        if before is None:
            return False
        for suspect in before - report.silent:
            self._acquit(report.witness, suspect)
        for suspect in report.silent - before - {report.witness}:
            accusation = _Accusation(now, report.version)
            self._against.setdefault(suspect, {})[report.witness] = accusation
        return bool(report.silent - before)

    def on_heartbeat(self, beat: LifeSign, now: float) -> bool:
        """Record a heartbeat; return whether it is a new one."""
        node = self._nodes.setdefault(beat.node, _Node())
        if beat.token == node.token:
            return False
        node.token, node.version, node.heard_at = beat.token, beat.version, now
        node.bound = beat.bound
        isolated = beat.said is Reachability.ISOLATED
        node.isolated_at = min(node.isolated_at, now) if isolated else inf
        return True

    def forget(self, node: str) -> None:
        """Drop the report of a node whose record is gone, and all that is known of the node."""
        for suspect in self._said.pop(node, ()):
            self._acquit(node, suspect)
        self._nodes.pop(node, None)

    def accused(self, node: str) -> bool:
        """Return whether any node calls it silent."""
        return bool(self._against.get(node))

    def convicted(self, states: NodeStates, now: float) -> str:
        """Return the node that is to be taken for dead, or for isolated, now; empty for none."""
        trouble = {*self._recent(states, now, COMMON_S), *states.troubled}
        done = {n for n, known in self._nodes.items() if now - known.convicted_at < COMMON_S}
        for name, node in self._nodes.items():
            if name in done or 0 <= now - node.isolated_at < COMMON_S:
                trouble.add(name)
        for suspect in self._recent(states, now, _RECENT_S):
            alone = trouble == {suspect} and suspect not in done
            if alone and self._is_dead(suspect, states, now):
                return suspect
        return ""

    def next_at(self, now: float) -> float | None:
        """Return when `convicted` may have another answer without any news; None for never."""
        times = (min(a.at for a in by.values()) + PATIENCE_S for by in self._against.values() if by)
        return min((at for at in times if at > now), default=None)

    def convict(self, node: str, now: float) -> None:
        """Record that a node was taken for dead."""
        self._nodes.setdefault(node, _Node()).convicted_at = now

    def was_wrong(self, node: str, now: float) -> float:
        """Record that it lived after all; return the seconds for which it is not suspected again.

        What is long past does not count.
        """
        known = self._nodes.setdefault(node, _Node())
        if now - known.damped_until > _MOST_DAMPED_S:
            known.wrong = 0
        damped_s = min(_DAMPED_S * 2.0 ** min(known.wrong, 16), _MOST_DAMPED_S)
        known.wrong, known.damped_until = known.wrong + 1, now + damped_s
        return damped_s

    def objected(self, node: str) -> bool:
        """Return whether an accused node was heard since, and does not call itself isolated."""
        accusers = self._against.get(node, {})
        return self._was_heard(node, accusers) and self._nodes[node].isolated_at == inf

    def _acquit(self, witness: str, suspect: str) -> None:
        against = self._against.get(suspect, {})
        against.pop(witness, None)
        if not against:
            self._against.pop(suspect, None)

    def _recent(self, states: NodeStates, now: float, within_s: float) -> list[str]:
        """Return the nodes that live by their heartbeats and that a living node calls silent."""
        return sorted(
            suspect
            for suspect, by in self._against.items()
            if suspect in states.alive
            and any(w in states.alive and now - a.at < within_s for w, a in by.items())
        )

    def _is_dead(self, suspect: str, states: NodeStates, now: float) -> bool:
        """Whether the witnesses suffice, and the suspect did not object in time."""
        node = self._nodes.get(suspect)
        if node is None or now < node.damped_until:
            return False
        isolated = {name for name, known in self._nodes.items() if known.isolated_at < inf}
        others = set(states.alive) - {suspect}
        by = {w: a for w, a in self._against[suspect].items() if w in others}
        witnesses = [w for w in by.keys() - isolated if now - by[w].at < _RECENT_S]
        if not witnesses or len(witnesses) < min(WITNESSES, len(others)):
            return False
        if node.isolated_at < inf:
            return True
        patient = now >= min(a.at for a in by.values()) + PATIENCE_S
        return patient and not node.bound and not self._was_heard(suspect, by)

    def _was_heard(self, suspect: str, by: Mapping[str, _Accusation]) -> bool:
        """Whether a heartbeat came since the suspect fell silent, as these accusers say.

        The API server's order tells, too, since one watch may be later than the other. One that
        died as an accuser takes nothing back: its word is about a silence of long ago.
        """
        node = self._nodes.get(suspect)
        if node is None or not by:
            return False
        first_at = min(accusation.at for accusation in by.values())
        version = min(accusation.version for accusation in by.values())
        return node.heard_at > first_at - SILENT_S or node.version > version > 0
