"""Heartbeats seen x local time → who is alive, who is dead, and of whom nothing can be said.

Only what was seen here counts, on this process's monotonic clock: a token that changed is a sign
of life, its content is never compared with any clock. A node is overdue when its last sign of life
is longer ago than `monitor_s` (or two of its heartbeats, or the lease that it claims, if that is
longer). Overdue is not dead: the verdict needs

- a witness: another node whose heartbeats arrive on time. When everybody falls silent the fault is
  on the way, and nobody is declared dead;
- a fresh read that shows no newer heartbeat. One that was slow is asked for again later, and one
  that follows a silence of all nodes a moment later: what held the others up may just be over, and
  the heartbeat on its way;
- a whole such period since this process could last not see: after its watch was down, after a read
  failed, after all were silent, every node starts anew.

Watch and reads are not ordered: a read may show a Lease as it was before what the watch has shown
meanwhile, and the watch bring one that a read has shown already. So each Lease has its version, and
only a later one counts, whoever shows it. A read that is older than the watch was when it began is
no fresh one. A watch that itself goes back tells of a server that did (its etcd was restored), and
is followed.

All instants are seconds on one monotonic timeline.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from heapq import heapify, heappop, heappush
from math import inf

HEARTBEATS = 2
"""A node may miss one heartbeat: it is never overdue before this many."""

_ON_TIME = 1.25
"""A witness may be late by this factor of its heartbeat: 10 % of jitter, and the way here."""

_STRETCH = 1.5
"""A node that was overdue and is alive is reached slowly: next time it may be silent for its last
interval times this..."""
_MAX_STRETCH = 3
"""... but no longer than its period times this."""

_GAP = 8
"""A gap in the watch that is longer than this part of the period matters."""

_SLOW = 40
"""A read that takes longer than this part of the period is slow..."""
_SLOW_AGAIN = 2
"""... and is repeated after so many times as long, and this part of a heartbeat: a node whose
renewal was held up reads its Lease, and writes it."""
_SLOW_READS = 2
"""So often; then the verdict is what it shows, however slow it is."""

_QUIET = 4
"""When nobody was heard for this part of a heartbeat, writes may have been held up..."""
_QUIET_AGAIN = 40
_QUIET_READS = 4
"""... and the read is repeated after this part of it, or after so many times as long as it took:
time for those that are waiting to arrive."""


class Verdict(StrEnum):
    """What is known of a node."""

    UNKNOWN = "unknown"
    """Not heard since this process could see, or overdue without proof: it keeps what it has, and
    gets nothing that may as well be elsewhere."""
    ALIVE = "alive"
    DEAD = "dead"


@dataclass(frozen=True, slots=True, kw_only=True)
class Beat:
    """What a Lease says at one time."""

    token: str
    """Differs whenever the node has renewed it; empty when the node has given it up."""
    heartbeat_s: float
    """How often the node renews it."""
    lease_s: float = 0.0
    """How long after a renewal the node may have its IPs up, if that is longer than usual."""
    version: int = 0
    """Grows with each change of the Lease; 0 where that is not known."""


@dataclass(slots=True, kw_only=True)
class _Node:
    token: str | None
    """None while no Lease of it was seen."""
    heartbeat_s: float
    period_s: float
    seen_at: float
    """Last sign of life, or when it was given a new start."""
    heard_at: float = -inf
    """Last sign of life."""
    interval_s: float = 0.0
    """Time between its last two signs of life."""
    was_overdue: bool = False
    """The last one came later than it may."""
    verdict: Verdict = Verdict.UNKNOWN
    since: float = 0.0
    back_at: float = -inf
    """When it was heard again after it was overdue or dead."""
    slow_reads: int = 0
    """Reads that were slow and did not show a newer heartbeat."""
    after_quiet: bool = False
    """A read after a silence of all did not show one."""
    version: int = 0
    """Of its Lease, the newest that anybody has shown..."""
    watched: int = 0
    """... and the last one that the watch has."""

    def takes(self, version: int, *, read: bool) -> bool:
        """Note a version of the Lease; return whether it is not an older one than is known."""
        if not read:
            went_back = 0 < version < self.watched
            self.version = version if went_back else self.version
            self.watched = version
        if 0 < version < self.version:
            return False
        self.version = version
        return True

    @property
    def patience_s(self) -> float:
        if not self.was_overdue:
            return self.period_s
        return min(_STRETCH * self.interval_s, _MAX_STRETCH * self.period_s)

    @property
    def due_at(self) -> float:
        return self.seen_at + self.patience_s

    def defer(self, until: float) -> None:
        self.seen_at = until - self.patience_s

    def on_time(self, now: float) -> bool:
        expected = max(self.heartbeat_s, self.interval_s)
        return now - self.seen_at <= min(expected * _ON_TIME, self.period_s)


class Liveness:
    """The book of all nodes; every method is told the time."""

    def __init__(self, monitor_s: float) -> None:
        self._monitor_s = monitor_s
        self._nodes: dict[str, _Node] = {}
        self._due: list[tuple[float, str]] = []
        self._blind = False
        """Nothing was proved to arrive since something was in doubt."""
        self._closed_at: float | None = None
        self._heard_at = -inf
        """Last sign of life of any node."""

    def verdict(self, node: str) -> Verdict:
        """Return what is known of a node."""
        found = self._nodes.get(node)
        return Verdict.UNKNOWN if found is None else found.verdict

    def since(self, node: str) -> float | None:
        """Return when the verdict became what it is; None for a node never heard of."""
        found = self._nodes.get(node)
        return None if found is None else found.since

    def back_at(self, node: str) -> float:
        """Return when a node was heard again that was overdue or dead; -inf for never."""
        found = self._nodes.get(node)
        return -inf if found is None else found.back_at

    @property
    def blind(self) -> bool:
        """Whether nobody is judged until a heartbeat arrives."""
        return self._blind

    @property
    def heard_at(self) -> float:
        """When any node last gave a sign of life; -inf for never."""
        return self._heard_at

    def period_s(self, beat: Beat) -> float:
        """Return how long a node with such heartbeats may be silent."""
        return max(self._monitor_s, HEARTBEATS * beat.heartbeat_s, beat.lease_s)

    def nodes(self) -> Mapping[str, Verdict]:
        """Return every node that is known, with its verdict."""
        return {name: node.verdict for name, node in self._nodes.items()}

    def expect(self, name: str, now: float) -> None:
        """Know of a node that something names; with no Lease ever, it is dead after a period."""
        if name not in self._nodes:
            self._add(name, None, Beat(token="", heartbeat_s=self._monitor_s / HEARTBEATS), now)

    def observe(
        self, name: str, beat: Beat, now: float, *, listed: bool = False, read: bool = False
    ) -> bool:
        """Take in what a Lease says; return whether the verdict changed.

        `listed`: it was found when everything was read for the first time, so it may be of any
        age, and is no sign of life. `read`: not the watch shows it, but a read. A Lease that the
        node itself gave up says that it is gone.
        """
        node = self._nodes.get(name)
        if node is not None and not node.takes(beat.version, read=read):
            return False
        if node is not None and node.token == beat.token:
            return False
        if node is None or node.token is None:
            listed = listed and bool(beat.token)
            node = self._add(name, beat.token, beat, now)
            node.takes(beat.version, read=read)
        else:
            self._renew(name, node, beat, now)
            listed = False
        node.seen_at, node.slow_reads, node.after_quiet = now, 0, False
        if listed:
            return False
        if not beat.token:
            return self._judge(node, Verdict.DEAD, now)
        heard_before = node.heard_at > -inf
        node.heard_at = self._heard_at = now
        self._regain_sight(now)
        changed = self._judge(node, Verdict.ALIVE, now)
        if changed and heard_before:
            node.back_at = now
        return changed

    def forget(self, name: str) -> None:
        """Drop a node, for good: its Lease and whatever named it are gone."""
        self._nodes.pop(name, None)

    def next_due(self) -> float | None:
        """Return when `overdue` is to be asked next; None when only an observation can matter."""
        if self._blind or self._closed_at is not None:
            return None
        while self._due:
            due_at, name = self._due[0]
            node = self._nodes.get(name)
            if node is None or node.verdict is Verdict.DEAD:
                heappop(self._due)
            elif node.due_at > due_at:
                heappop(self._due)
                heappush(self._due, (node.due_at, name))
            else:
                return due_at
        return None

    def overdue(self, now: float) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Return who is overdue, and whose verdict changed to unknown by that; both sorted.

        The first are to be confirmed by a fresh read. There are none when nobody witnesses that
        heartbeats still arrive.
        """
        late = sorted(
            name
            for name, node in self._nodes.items()
            if node.verdict is not Verdict.DEAD and node.due_at <= now
        )
        witnessed = any(
            node.verdict is Verdict.ALIVE and node.on_time(now) and node.due_at > now
            for node in self._nodes.values()
        )
        changed = tuple(n for n in late if self._judge(self._nodes[n], Verdict.UNKNOWN, now))
        if late and not witnessed:
            self._blind = True
        return (tuple(late) if witnessed else ()), changed

    def confirm(
        self, late: tuple[str, ...], beats: Mapping[str, Beat], *, asked_at: float, now: float
    ) -> tuple[str, ...]:
        """Judge overdue nodes by a fresh read of all Leases; return whose verdict changed."""
        stale = any(self._is_older(beats.get(name), name, now) for name in late)
        changed = [n for n, beat in beats.items() if self.observe(n, beat, now, read=True)]
        if stale:
            self.read_failed()
            return tuple(changed)
        self._grant_time(now - asked_at, now)
        for name in () if self._closed_at is not None else late:
            node = self._nodes.get(name)
            if node is None or node.due_at > now:
                continue  # heard from meanwhile, or to be asked for again
            quiet_s = asked_at - self._heard_at
            if quiet_s > node.heartbeat_s / _QUIET and not node.after_quiet:
                node.after_quiet = True
                node.defer(
                    now + max(node.heartbeat_s / _QUIET_AGAIN, _QUIET_READS * (now - asked_at))
                )
            elif self._judge(node, Verdict.DEAD, now):
                changed.append(name)
        return tuple(changed)

    def _is_older(self, beat: Beat | None, name: str, now: float) -> bool:
        """Whether a read shows less of an overdue node than was known before it began."""
        node = self._nodes.get(name)
        if beat is None or node is None or node.due_at > now:
            return False  # gone, or heard from meanwhile
        return 0 < beat.version < node.version

    def _grant_time(self, took_s: float, now: float) -> None:
        """After a slow read, let nobody be due before what held it up can be over."""
        for node in self._nodes.values():
            slow = took_s > node.period_s / _SLOW
            again_s = _SLOW_AGAIN * took_s + node.heartbeat_s / _SLOW_AGAIN
            if slow and node.slow_reads < _SLOW_READS and node.due_at < now + again_s:
                node.slow_reads += 1
                node.defer(now + again_s)

    def _add(self, name: str, token: str | None, beat: Beat, now: float) -> _Node:
        node = self._nodes[name] = _Node(
            token=token,
            heartbeat_s=beat.heartbeat_s,
            period_s=self.period_s(beat),
            seen_at=now,
            since=now,
        )
        heappush(self._due, (node.due_at, name))
        return node

    def _renew(self, name: str, node: _Node, beat: Beat, now: float) -> None:
        was_due_at = node.due_at
        dead = node.verdict is Verdict.DEAD
        seen_until = now if self._closed_at is None else self._closed_at
        first = dead or node.heard_at == -inf
        node.interval_s = 0.0 if first else max(0.0, seen_until - node.heard_at)
        node.was_overdue = node.interval_s > node.period_s
        node.token, node.heartbeat_s = beat.token, beat.heartbeat_s
        node.period_s = self.period_s(beat)
        node.seen_at = now
        if dead or node.due_at < was_due_at:
            heappush(self._due, (node.due_at, name))

    def read_failed(self) -> None:
        """Note that a fresh read failed: nobody is judged until a heartbeat arrives."""
        self._blind = True

    def watch_closed(self, now: float) -> None:
        """Note that heartbeats cannot be seen from now on."""
        if self._closed_at is None:
            self._closed_at = now

    def watch_opened(self, now: float) -> None:
        """Note that they can be seen again.

        A gap too short to matter just does not count; after a longer one every node starts anew.
        """
        if self._closed_at is None:
            return
        gap_s, self._closed_at = now - self._closed_at, None
        for node in self._nodes.values():
            short = gap_s <= node.period_s / _GAP
            node.seen_at = min(now, node.seen_at + gap_s) if short else now
            node.heard_at = min(now, node.heard_at + gap_s)  # no node was slow for that time
        self._tidy()

    def _regain_sight(self, now: float) -> None:
        """Give all a new start, now that a heartbeat arrived after a time of doubt."""
        if self._blind:
            self._blind = False
            for node in self._nodes.values():
                node.seen_at = now
            self._tidy()

    def _tidy(self) -> None:
        self._due = [
            (node.due_at, name)
            for name, node in self._nodes.items()
            if node.verdict is not Verdict.DEAD
        ]
        heapify(self._due)

    @staticmethod
    def _judge(node: _Node, verdict: Verdict, now: float) -> bool:
        if node.verdict is verdict:
            return False
        node.verdict, node.since = verdict, now
        return True
