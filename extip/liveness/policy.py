"""Observed heartbeats x local time → the verdict on each node: alive, dead or unknown. Pure.

Only observations of this process count, on its monotonic clock. A changed token is a sign of life;
the times in a Lease are never compared with a clock. A node is overdue when its last sign of life
is older than its period: `monitor_s`, two of its heartbeats, or the lease that it claims, whichever
is longest. An overdue node is not yet dead. That verdict also needs

- a witness: another node whose heartbeats arrive on time. When all nodes fall silent, the fault is
  on the way to the API server, and no node is declared dead;
- a fresh read that shows no newer heartbeat. A slow read is repeated later. A read after a silence
  of all nodes is repeated after a moment: the cause of the silence may just have ended, with the
  heartbeat on its way;
- sight for a whole period. After a long gap of the watch, after a failed read, and after a silence
  of all nodes, every node gets a new start.

Watch and reads are not ordered. A read may show an older version of a Lease than the watch did. The
watch may deliver a version that a read has shown. So only a later version of a Lease counts, from
either source. A read does not count as fresh when the watch had shown a newer version before the
read began. When the watch itself goes back, the server did (its etcd was restored), and the watch
is followed.

All instants are seconds on one monotonic timeline.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from heapq import heapify, heappop, heappush
from math import inf

HEARTBEATS = 2
"""Heartbeats within which a node is never overdue: it may miss one."""

_ON_TIME = 1.25
"""A witness may be late by this factor of its heartbeat: 10 % jitter, and the time of the way."""

_STRETCH = 1.5
"""The heartbeats of a node that was overdue and lives are slow. Next time it may be silent for its
last interval times this..."""
_MAX_STRETCH = 3
"""... but not for longer than its period times this."""

_GAP = 8
"""A gap of the watch matters when it is longer than this part of the period (a divisor)."""

SLOW = 40
"""A read is slow when it takes longer than this part of the period (a divisor)..."""
_SLOW_AGAIN = 2
"""... and is repeated after this multiple of its duration, plus this part of a heartbeat: a node
with a delayed renewal first reads its Lease, then writes it."""
_SLOW_READS = 2
"""The number of such repetitions; after them even a slow read decides."""

_QUIET = 4
"""When no node was heard for this part of a heartbeat, all writes may have been delayed..."""
_QUIET_AGAIN = 40
_QUIET_READS = 4
"""... and the read is repeated after the part `_QUIET_AGAIN` of a heartbeat, or after
`_QUIET_READS` times its duration: time in which delayed heartbeats arrive."""


class Verdict(StrEnum):
    """The verdict on a node."""

    UNKNOWN = "unknown"
    """Not heard since this process has sight, or overdue without proof. The node keeps its claims,
    and gets no others."""
    ALIVE = "alive"
    DEAD = "dead"


@dataclass(frozen=True, slots=True, kw_only=True)
class Beat:
    """The content of a heartbeat Lease at one time."""

    token: str
    """It changes with each renewal; empty when the node has given the Lease up."""
    heartbeat_s: float
    """The interval of renewals, in seconds."""
    lease_s: float = 0.0
    """Seconds after a renewal for which the node may hold its IPs; 0 for the default."""
    version: int = 0
    """The version of the Lease, which grows with each change; 0 when not known."""


@dataclass(slots=True, kw_only=True)
class _Node:
    token: str | None
    """None while it has had no Lease."""
    heartbeat_s: float
    period_s: float
    seen_at: float
    """The last sign of life, or the last new start."""
    heard_at: float = -inf
    """The last sign of life."""
    interval_s: float = 0.0
    """Seconds between its last two signs of life."""
    was_overdue: bool = False
    """The node was overdue before its last sign of life."""
    verdict: Verdict = Verdict.UNKNOWN
    since: float = 0.0
    back_at: float = -inf
    """The time of its first sign of life after it was overdue or dead."""
    slow_reads: int = 0
    """Slow reads in a row without a newer heartbeat."""
    after_quiet: bool = False
    """A read after a silence of all nodes did not show a newer heartbeat."""
    version: int = 0
    """The newest version of its Lease, from watch or read..."""
    watched: int = 0
    """... and the last version from the watch."""

    def takes(self, version: int, *, read: bool) -> bool:
        """Note a version of the Lease; return False for an older version than the known one."""
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
    """The observations of all nodes. The caller gives each method the time."""

    def __init__(self, monitor_s: float) -> None:
        self._monitor_s = monitor_s
        self._nodes: dict[str, _Node] = {}
        self._due: list[tuple[float, str]] = []
        self._blind = False
        """No heartbeat has arrived since the last time of doubt."""
        self._closed_at: float | None = None
        self._heard_at = -inf
        """The last sign of life of any node."""

    def verdict(self, node: str) -> Verdict:
        """Return the verdict on a node; `UNKNOWN` for a node never heard of."""
        found = self._nodes.get(node)
        return Verdict.UNKNOWN if found is None else found.verdict

    def since(self, node: str) -> float | None:
        """Return the time of the verdict's last change; None for a node never heard of."""
        found = self._nodes.get(node)
        return None if found is None else found.since

    def back_at(self, node: str) -> float:
        """Return the time of a node's first heartbeat after silence or death; -inf for none."""
        found = self._nodes.get(node)
        return -inf if found is None else found.back_at

    @property
    def blind(self) -> bool:
        """Whether no node is judged until a heartbeat arrives."""
        return self._blind

    @property
    def heard_at(self) -> float:
        """The time of the last sign of life of any node; -inf for none."""
        return self._heard_at

    def period_s(self, beat: Beat) -> float:
        """Return the seconds for which a node with such heartbeats may be silent."""
        return max(self._monitor_s, HEARTBEATS * beat.heartbeat_s, beat.lease_s)

    def nodes(self) -> Mapping[str, Verdict]:
        """Return the verdict on every known node."""
        return {name: node.verdict for name, node in self._nodes.items()}

    def expect(self, name: str, now: float) -> None:
        """Watch a node that a claim names. Without any Lease it is dead after a period."""
        if name not in self._nodes:
            self._add(name, None, Beat(token="", heartbeat_s=self._monitor_s / HEARTBEATS), now)

    def observe(
        self, name: str, beat: Beat, now: float, *, listed: bool = False, read: bool = False
    ) -> bool:
        """Take the content of a Lease; return whether the verdict changed.

        `listed` marks the first list: the heartbeat may be of any age, and is no sign of life.
        `read` marks a read instead of the watch. A Lease that the node itself gave up means that
        the node has stopped.
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

    def condemn(self, name: str, now: float) -> float | None:
        """Take a live node for dead before it is overdue; return when it would have been.

        Its next heartbeat shows that it lives. Return None for a node that is not alive, and while
        heartbeats would not be seen.
        """
        node, sighted = self._nodes.get(name), not self._blind and self._closed_at is None
        if node is None or not sighted or node.verdict is not Verdict.ALIVE:
            return None
        self._judge(node, Verdict.DEAD, now)
        return node.due_at

    def acquit(self, name: str, now: float) -> bool:
        """Take a condemned node for alive again; return whether that is a change."""
        node = self._nodes.get(name)
        if node is None or node.verdict is not Verdict.DEAD or node.due_at <= now:
            return False
        heappush(self._due, (node.due_at, name))
        return self._judge(node, Verdict.ALIVE, now)

    def forget(self, name: str) -> None:
        """Drop a node for good: its Lease is gone, and no claim names it."""
        self._nodes.pop(name, None)

    def next_due(self) -> float | None:
        """Return the time of the next call of `overdue`; None until the next observation."""
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
        """Return the overdue nodes, and the nodes whose verdict changed to unknown; both sorted.

        A fresh read has to confirm the overdue ones. There are none without a witness that
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
        """Judge overdue nodes by a fresh read of all Leases; return the changed verdicts' nodes."""
        stale = any(self._is_older(beats.get(name), name, now) for name in late)
        changed = [n for n, beat in beats.items() if self.observe(n, beat, now, read=True)]
        if stale:
            self.read_failed()
            return tuple(changed)
        self._grant_time(now - asked_at, now)
        for name in () if self._closed_at is not None else late:
            node = self._nodes.get(name)
            if node is None or node.due_at > now:
                continue  # heard meanwhile, or to be read again
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
        """Whether a read shows an older Lease of an overdue node than the known one."""
        node = self._nodes.get(name)
        if beat is None or node is None or node.due_at > now:
            return False  # gone, or heard meanwhile
        return 0 < beat.version < node.version

    def _grant_time(self, took_s: float, now: float) -> None:
        """After a slow read, give each node time: heartbeats may be slow for the same reason."""
        for node in self._nodes.values():
            slow = took_s > node.period_s / SLOW
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
        # A heartbeat may have come while the watch was closed: that time is no silence.
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
        """Note that a fresh read failed: no node is judged until a heartbeat arrives."""
        self._blind = True

    def watch_closed(self, now: float) -> None:
        """Note that the watch of Leases is closed from now on."""
        if self._closed_at is None:
            self._closed_at = now

    def watch_opened(self, now: float) -> None:
        """Note that the watch is open again.

        A short gap does not count as silence. After a longer one every node gets a new start.
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
        """Give all nodes a new start: a heartbeat has arrived after a time of doubt."""
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
