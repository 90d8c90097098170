"""The liveness of all nodes, from the Leases in this process's cache.

A verdict changes exactly when it is due: a timer waits for the first node, and there is no polling.
`policy` decides about proof. The monitor also runs on standby, so that a new leader has the
verdicts at once.

The task `run` owns it. `on_lease` is an informer's handler. The informer's
`TrackedListerWatcher` calls `watch_opened` and `watch_closed`. Any task of the same loop may call
the other methods.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from math import isfinite

from extip import log
from extip.api.coordination_v1 import Lease
from extip.api.names import node_of_lease
from extip.clock import Clock
from extip.errors import ApiError
from extip.liveness.answer_times import AnswerTimes
from extip.liveness.fresh_read import FreshRead
from extip.liveness.lease_content import beat_of, is_unread, leaving_reason, reaches_of
from extip.liveness.policy import SLOW, Beat, Liveness, Verdict
from extip.metrics import Metrics
from extip.trigger import Trigger
from extip.uplink.policy.isolation import Reachability
from extip.uplink.policy.reachability import ClusterReachability, LinkId, names

_LATER_S = 0.01
"""Seconds by which a timer is set later: it may fire early by the clock's resolution."""

BEHIND_S = 1.0
"""Seconds by which the watch may be later than a read with the same heartbeat."""


class NodeMonitor:
    """The verdict on every node."""

    def __init__(  # noqa: PLR0913 - a composition of parts and plain values
        self,
        read: Callable[[], Awaitable[Iterable[Lease]]],
        *,
        get: Callable[[str], Lease | None],
        monitor_s: float,
        on_change: Callable[[str], None],
        on_doubt: Callable[[float], None],
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        """`read` returns all heartbeat Leases from a quorum, `get` one of the cache.

        `on_change` is called with a node to look at again. `on_doubt` is called when the watch may
        have missed something and has to be opened anew. Its argument is the time since which the
        watch has delivered nothing.
        """
        self._fresh_read = FreshRead(read, monitor_s=monitor_s, clock=clock)
        self._get = get
        self._monitor_s = monitor_s
        self._on_change = on_change
        self._on_doubt = on_doubt
        self._clock = clock
        self._metrics = metrics
        self._log = log.get_logger("liveness")
        self._liveness = Liveness(monitor_s)
        self._reachability = ClusterReachability()
        self._leaving: dict[str, str] = {}
        self._unread: set[str] = set()
        self._raised: set[str] = set()
        self._triggered = Trigger()
        self._waking_at: float | None = None
        self._opened = False
        self._watched = 0
        """The newest version of any Lease from the watch."""

    @property
    def answer_times(self) -> AnswerTimes:
        """Times of other calls of this process; the caller records them."""
        return self._fresh_read.answer_times

    def verdict(self, node: str) -> Verdict:
        """Return the verdict on a node."""
        return self._liveness.verdict(node)

    def nodes(self) -> Mapping[str, Verdict]:
        """Return the verdict on every known node."""
        return self._liveness.nodes()

    def since(self, node: str) -> float | None:
        """Return the time of the verdict's last change, on the clock's monotonic timeline.

        The end of an isolation counts as a change.
        """
        since = self._liveness.since(node)
        return None if since is None else max(since, self._reachability.mended_at(node))

    def back_at(self, node: str) -> float:
        """Return the time at which a node came back from silence or isolation; -inf for never.

        A first heartbeat does not count.
        """
        return max(self._liveness.back_at(node), self._reachability.mended_at(node))

    def isolated(self, node: str) -> frozenset[str]:
        """Return the interfaces on which no other station answers, as a node reports."""
        return self._reachability.isolated(node)

    def successors(self) -> Mapping[LinkId, frozenset[LinkId]]:
        """Return where the IPs of each isolated interface may go; nowhere while uncertain."""
        alive = [name for name, verdict in self.nodes().items() if verdict is Verdict.ALIVE]
        return self._reachability.successors(alive, self._clock.monotonic())

    async def condemn(self, node: str) -> float | None:
        """Take a silent node for dead at once, or confirm that it is isolated.

        Return when its heartbeats would have run out; None when it is not dead: a fresh read shows
        a newer heartbeat, or failed.
        """
        if self._reachability.confirm(node):
            self._on_change(node)
            return None
        watched = self._watched
        try:
            leases = await self._fresh_read.leases()
        except (ApiError, TimeoutError) as error:
            self._log.warning("liveness_unknown", nodes=1, error=str(error) or "timed out")
            return None
        for lease in (one for one in leases if node_of_lease(one.metadata.name) == node):
            beat, known = beat_of(lease), self._get(lease.metadata.key)
            if known is not None and beat_of(known).token == beat.token:
                # A heartbeat that came during the read is in both, and newer.
                return self._condemn(node) if beat.version <= watched else None
        return None

    def _condemn(self, node: str) -> float | None:
        due_at = self._liveness.condemn(node, self._clock.monotonic())
        if due_at is not None:
            self._report((node,))
        return due_at

    def acquit(self, node: str) -> None:
        """Take a condemned node for alive until its heartbeats run out."""
        if self._liveness.acquit(node, self._clock.monotonic()):
            self._report((node,))
            self._wake_if_sooner()

    def leaving(self, node: str) -> str:
        """Return the reason for which a node is about to stop; empty when it stays."""
        return self._leaving.get(node, "")

    def unread(self, node: str) -> bool:
        """Return whether a node reports that it cannot read its claims."""
        return node in self._unread

    @property
    def settled(self) -> bool:
        """Whether the watch has been open, and no verdict is unknown.

        Before that, the first node that is heard would get every claim without a node.
        """
        return self._opened and Verdict.UNKNOWN not in self._liveness.nodes().values()

    def expect(self, node: str) -> None:
        """Watch a node that a claim names, also when it has no Lease.

        Call it only after the first list of Leases.
        """
        self._liveness.expect(node, self._clock.monotonic())
        self._wake_if_sooner()

    def forget(self, node: str) -> None:
        """Drop a node whose Lease is gone and that no claim names."""
        self._liveness.forget(node)
        self._reachability.forget(node)
        self._leaving.pop(node, None)
        self._unread.discard(node)
        self._raised.discard(node)
        self._count()

    def on_lease(self, key: str) -> None:
        """Look at a Lease that has changed.

        A deleted Lease means nothing. Its node may live and write it again; else the node is found
        dead by its silence.
        """
        now = self._clock.monotonic()
        if not self._opened:  # the first list: until it is complete, silence proves nothing
            self._liveness.watch_closed(now)
        lease = self._get(key)
        node = None if lease is None else node_of_lease(lease.metadata.name)
        if lease is None or node is None:
            return
        beat = beat_of(lease)
        self._watched = max(self._watched, beat.version)
        self._warn_if_raised(node, beat)
        changed = self._liveness.observe(node, beat, now, listed=not self._opened)
        reason = leaving_reason(lease)
        if reason != self._leaving.get(node, ""):
            self._leaving[node] = reason
            if reason or beat.token:  # else it has left
                self._log.info(
                    "node_leaving" if reason else "node_staying", node=node, reason=reason
                )
            changed = True
        if is_unread(lease) != (node in self._unread):
            self._unread ^= {node}
            self._log.warning("node_claims_unread", node=node, over=node not in self._unread)
            changed = True
        if changed:
            self._report((node,), stopped=not beat.token)
        # The report of a dead node says nothing about the network of now.
        if beat.token and self._liveness.verdict(node) is not Verdict.DEAD:
            self._hear(node, reaches_of(lease), beat, now)
        self._wake_if_sooner()

    def watch_opened(self) -> None:
        """Note that the watch of Leases is open from now on."""
        now = self._clock.monotonic()
        self._liveness.watch_closed(now)
        self._liveness.watch_opened(now)
        if not self._opened:
            for node, due_at in self._reachability.begin_anew(now).items():
                self._look_again(node, due_at - now)
        self._opened = True
        self._wake_if_sooner()

    def watch_closed(self) -> None:
        """Note that the watch of Leases is closed from now on."""
        self._liveness.watch_closed(self._clock.monotonic())

    async def run(self) -> None:
        """Judge each node when it is due, until cancelled."""
        while True:
            self._triggered.clear()
            due_at = self._waking_at = self._liveness.next_due()
            left_s = None if due_at is None else due_at - self._clock.monotonic()
            if left_s is not None and left_s <= 0:
                await self._judge()
            else:
                await self._triggered.wait_at_most(left_s)

    async def _judge(self) -> None:
        asked_at = self._clock.monotonic()
        late, changed = self._liveness.overdue(asked_at)
        self._report(changed)
        if not late:
            self._doubt_silence(asked_at)
            return
        watched = self._watched
        try:
            leases = await self._fresh_read.leases()
        except (ApiError, TimeoutError) as error:
            self._liveness.read_failed()
            self._log.warning("liveness_unknown", nodes=len(late), error=str(error) or "timed out")
            patience_s = asked_at + self._monitor_s - self._clock.monotonic()
            self._look_later(patience_s, newest=watched + 1, since=asked_at)
            return
        self._confirm(late, leases, asked_at)

    def _confirm(self, late: tuple[str, ...], leases: Iterable[Lease], asked_at: float) -> None:
        """Judge overdue nodes by a fresh read; doubt a watch that is far behind it."""
        beats = {
            node: beat_of(lease)
            for lease in leases
            if (node := node_of_lease(lease.metadata.name)) is not None
        }
        now = self._clock.monotonic()
        took_s = self._fresh_read.slowest_s(now)
        if took_s > self._monitor_s / SLOW:
            self._log.warning("leases_read_slowly", nodes=list(late), took_s=round(took_s, 2))
        self._report(self._liveness.confirm(late, beats, asked_at=now - took_s, now=now))
        newest = max((beat.version for beat in beats.values()), default=0)
        if newest > self._watched:
            self._look_later(BEHIND_S, newest=newest, since=asked_at)

    def _doubt_silence(self, now: float) -> None:
        """Ask for a new watch when no node is heard: the watch itself may be dead.

        No node is judged before a heartbeat arrives, so this happens once in a silence.
        """
        if self._liveness.blind:
            heard_at = self._liveness.heard_at
            self._on_doubt(heard_at if isfinite(heard_at) else now)

    def _look_later(self, after_s: float, *, newest: int, since: float) -> None:
        """Ask for a new watch unless the watch delivers version `newest` within `after_s`."""

        def look() -> None:
            if newest > self._watched:
                self._on_doubt(since)

        asyncio.get_running_loop().call_later(max(0.0, after_s), look)

    def _hear(self, node: str, said: Mapping[str, Reachability], beat: Beat, now: float) -> None:
        """Record a node's reachability, and look again when the other nodes had time to report."""
        before = self._reachability.isolated(node)
        matters = self._reachability.on_heartbeat(
            node,
            said,
            now,
            token=beat.token,
            heartbeat_s=beat.heartbeat_s,
            listed=not self._opened,
        )
        if not matters:
            return
        isolated = self._reachability.isolated(node)
        if isolated - before:
            self._log.warning("node_isolated", node=node, links=names(isolated))
            self._look_again(node, self._reachability.due_at(node) - now)
        elif isolated != before:
            self._log.info("node_reached", node=node, links=names(before - isolated))
        self._on_change(node)

    def _look_again(self, node: str, after_s: float) -> None:
        asyncio.get_running_loop().call_later(after_s + _LATER_S, self._on_change, node)

    def _report(self, nodes: Iterable[str], *, stopped: bool = False) -> None:
        """Log and count changed verdicts, and call `on_change`.

        `stopped` marks controllers that gave their Leases up, which is no fault.
        """
        changed = tuple(nodes)
        for node in changed:
            verdict = self._liveness.verdict(node)
            if verdict is Verdict.DEAD:
                self._reachability.forget(node)
            in_order = stopped or verdict is Verdict.ALIVE
            log_line = self._log.info if in_order else self._log.warning
            state = "stopped" if stopped else verdict.value
            log_line("node_liveness_changed", node=node, state=state)
            self._on_change(node)
        if changed:
            self._count()

    def _count(self) -> None:
        states = Counter(self._liveness.nodes().values())
        for verdict in Verdict:
            self._metrics.nodes.labels(state=verdict.value).set(states[verdict])

    def _wake_if_sooner(self) -> None:
        due_at = self._liveness.next_due()
        if due_at is not None and (self._waking_at is None or due_at < self._waking_at):
            self._triggered.set()

    def _warn_if_raised(self, node: str, beat: Beat) -> None:
        period_s = self._liveness.period_s(beat)
        if period_s > self._monitor_s and node not in self._raised:
            self._raised.add(node)
            self._log.warning(
                "monitor_raised",
                node=node,
                period_s=period_s,
                reason=f"--monitor is shorter than the node's lease of {beat.lease_s:g} s"
                if beat.lease_s == period_s
                else f"--monitor is shorter than two heartbeats of {beat.heartbeat_s:g} s",
            )
