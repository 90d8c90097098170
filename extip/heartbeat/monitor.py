"""Tells which nodes are alive, from their Leases as they are seen here.

Transitions come exactly when they are due, by a timer for the node that is due first; there is no
polling. What counts as proof is decided by `extip.plan.liveness`. It runs on standby too, so that
a new leader knows at once.

One task, `run`, owns it. `lease_changed` is an informer's handler; `watch_opened` and
`watch_closed` are told by the informer's `TrackedListerWatcher`. The other methods may be called
from any task of the same loop.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from math import isfinite
from typing import Protocol

from extip import log
from extip.api.coordination_v1 import Lease
from extip.api.names import node_of_lease
from extip.clock import Clock
from extip.errors import ApiError
from extip.heartbeat.protocol import beat_of, is_unread, leaving_reason, reach_of
from extip.metrics import Metrics
from extip.plan.isolation import Reach
from extip.plan.liveness import Beat, Liveness, Verdict
from extip.plan.reach import Reaches

_LATER_S = 0.01
"""A timer may be early by the clock's resolution."""

READ_S = 5.0
"""Bound on the fresh read that confirms a death."""

_FIRST_READ = 4
_FIRST_READ_S = (0.25, 1.0)
"""The first try may take this part of `--monitor`, within these limits: a connection that is dead
itself costs no more, and the second try tells it from a slow API server."""

BEHIND_S = 1.0
"""By how much the watch may be later than a read with a heartbeat that both must show."""


class LeaseReader(Protocol):
    """Reads all heartbeat Leases, as they are now."""

    async def read(self) -> Iterable[Lease]:
        """Return them from a quorum, not from a cache. Raises ApiError."""


class Monitor:
    """The verdict on every node."""

    def __init__(  # noqa: PLR0913 - a composition of ports and plain values
        self,
        reader: LeaseReader,
        *,
        get: Callable[[str], Lease | None],
        monitor_s: float,
        changed: Callable[[str], None],
        doubt: Callable[[float], None],
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        """`get` looks a Lease up by its key; `changed` is told nodes to look at again.

        `doubt` is called with a time since when the watch has brought nothing, though it should
        have or may have missed something. It has to be opened anew then.
        """
        self._reader = reader
        self._get = get
        self._monitor_s = monitor_s
        self._tell = changed
        self._doubt = doubt
        self._clock = clock
        self._metrics = metrics
        self._log = log.get_logger("liveness")
        self._liveness = Liveness(monitor_s)
        self._reaches = Reaches()
        self._leaving: dict[str, str] = {}
        self._unread: set[str] = set()
        self._raised: set[str] = set()
        self._poked = asyncio.Event()
        self._waking_at: float | None = None
        self._opened = False
        self._watched = 0
        """Newest version of any Lease that the watch has brought."""

    def verdict(self, node: str) -> Verdict:
        """Return what is known of a node."""
        return self._liveness.verdict(node)

    def nodes(self) -> Mapping[str, Verdict]:
        """Return every node that is known, with its verdict."""
        return self._liveness.nodes()

    def since(self, node: str) -> float | None:
        """Return when the verdict became what it is, on the clock's monotonic timeline.

        A node that was isolated begins anew.
        """
        since = self._liveness.since(node)
        return None if since is None else max(since, self._reaches.mended_at(node))

    def back_at(self, node: str) -> float:
        """Return when a node was heard again, or not isolated any more; minus infinity for never.

        That it was heard of for the first time does not count.
        """
        return max(self._liveness.back_at(node), self._reaches.mended_at(node))

    def isolated(self, node: str) -> bool:
        """Return whether a node says that no other station answers on its interface."""
        return self._reaches.is_isolated(node)

    def successors(self) -> Mapping[str, frozenset[str]]:
        """Return who may take the IPs of each isolated node; nobody while that is not clear."""
        alive = [name for name, verdict in self.nodes().items() if verdict is Verdict.ALIVE]
        return self._reaches.successors(alive, self._clock.monotonic())

    def leaving(self, node: str) -> str:
        """Return why a node is about to stop; empty when it is not."""
        return self._leaving.get(node, "")

    def unread(self, node: str) -> bool:
        """Return whether a node says that it does not hear of its claims."""
        return node in self._unread

    @property
    def settled(self) -> bool:
        """Whether the watch has been open and nothing is unknown of any node.

        Before that, whoever was heard first would get everything that has no place yet.
        """
        return self._opened and Verdict.UNKNOWN not in self._liveness.nodes().values()

    def expect(self, node: str) -> None:
        """Have a verdict on a node that a claim names, also when it has no Lease.

        To be called only once the Leases were listed.
        """
        self._liveness.expect(node, self._clock.monotonic())
        self._wake_if_sooner()

    def forget(self, node: str) -> None:
        """Drop a node whose Lease is gone and that no claim names."""
        self._liveness.forget(node)
        self._reaches.forget(node)
        self._leaving.pop(node, None)
        self._unread.discard(node)
        self._raised.discard(node)
        self._count()

    def lease_changed(self, key: str) -> None:
        """Look at a Lease again.

        One that was deleted says nothing: its node may be alive and about to write it again, and
        is found dead by its silence otherwise.
        """
        now = self._clock.monotonic()
        if not self._opened:
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
            if reason or beat.token:
                self._log.info(
                    "node_leaving" if reason else "node_staying", node=node, reason=reason
                )
            changed = True
        if is_unread(lease) != (node in self._unread):
            self._unread ^= {node}
            self._log.warning("node_claims_unread", node=node, over=node not in self._unread)
            changed = True
        if changed:
            self._announce((node,), stopped=not beat.token)
        if beat.token and self._liveness.verdict(node) is not Verdict.DEAD:
            self._hear(node, reach_of(lease), beat, now)
        self._wake_if_sooner()

    def watch_opened(self) -> None:
        """Note that Leases can be seen from now on."""
        now = self._clock.monotonic()
        self._liveness.watch_closed(now)
        self._liveness.watch_opened(now)
        if not self._opened:
            for node, due_at in self._reaches.begin_anew(now).items():
                self._look_again(node, due_at - now)
        self._opened = True
        self._wake_if_sooner()

    def watch_closed(self) -> None:
        """Note that Leases cannot be seen from now on."""
        self._liveness.watch_closed(self._clock.monotonic())

    async def run(self) -> None:
        """Judge whoever is due, when it is due; until cancelled."""
        while True:
            self._poked.clear()
            due_at = self._waking_at = self._liveness.next_due()
            if due_at is not None and due_at <= self._clock.monotonic():
                await self._judge()
                continue
            try:
                async with asyncio.timeout_at(due_at):
                    await self._poked.wait()
            except TimeoutError:
                pass  # it is due

    async def _judge(self) -> None:
        asked_at = self._clock.monotonic()
        late, changed = self._liveness.overdue(asked_at)
        self._announce(changed)
        if not late:
            self._doubt_silence(asked_at)
            return
        watched = self._watched
        try:
            leases = await self._read()
        except (ApiError, TimeoutError) as error:
            self._liveness.read_failed()
            self._log.warning("liveness_unknown", nodes=len(late), error=str(error) or "timed out")
            patience_s = asked_at + self._monitor_s - self._clock.monotonic()
            self._look_later(patience_s, newest=watched + 1, since=asked_at)
            return
        beats = {
            node: beat_of(lease)
            for lease in leases
            if (node := node_of_lease(lease.metadata.name)) is not None
        }
        now = self._clock.monotonic()
        self._announce(self._liveness.confirm(late, beats, asked_at=asked_at, now=now))
        newest = max((beat.version for beat in beats.values()), default=0)
        if newest > self._watched:
            self._look_later(BEHIND_S, newest=newest, since=asked_at)

    async def _read(self) -> tuple[Lease, ...]:
        """Read all Leases; what takes long counts from the first try. Raises as `LeaseReader`."""
        least_s, most_s = _FIRST_READ_S
        first_s = min(max(self._monitor_s / _FIRST_READ, least_s), most_s)
        try:
            async with asyncio.timeout(first_s):
                return tuple(await self._reader.read())
        except TimeoutError:
            async with asyncio.timeout(READ_S):
                return tuple(await self._reader.read())

    def _doubt_silence(self, now: float) -> None:
        """Have the watch opened anew when nobody is heard: that tells whether it is dead itself.

        Nobody is judged before a heartbeat arrives, so this is once for each silence.
        """
        if self._liveness.blind:
            heard_at = self._liveness.heard_at
            self._doubt(heard_at if isfinite(heard_at) else now)

    def _look_later(self, after_s: float, *, newest: int, since: float) -> None:
        """Have the watch opened anew unless it has brought that version by then."""

        def look() -> None:
            if newest > self._watched:
                self._doubt(since)

        asyncio.get_running_loop().call_later(max(0.0, after_s), look)

    def _hear(self, node: str, said: Reach, beat: Beat, now: float) -> None:
        """Take a node's word on its interface, and look again once others had time to speak."""
        before = self._reaches.is_isolated(node)
        matters = self._reaches.told(
            node,
            said,
            now,
            token=beat.token,
            heartbeat_s=beat.heartbeat_s,
            listed=not self._opened,
        )
        if not matters:
            return
        isolated = self._reaches.is_isolated(node)
        if isolated and not before:
            self._log.warning("node_isolated", node=node)
            self._look_again(node, self._reaches.due_at(node) - now)
        elif before and not isolated:
            self._log.info("node_reached", node=node)
        self._tell(node)

    def _look_again(self, node: str, after_s: float) -> None:
        asyncio.get_running_loop().call_later(after_s + _LATER_S, self._tell, node)

    def _announce(self, nodes: Iterable[str], *, stopped: bool = False) -> None:
        """Log and count what changed, and tell the owner.

        `stopped`: their controllers gave their Leases up, which is no fault.
        """
        told = False
        for node in nodes:
            told = True
            verdict = self._liveness.verdict(node)
            if verdict is Verdict.DEAD:
                self._reaches.forget(node)
            in_order = stopped or verdict is Verdict.ALIVE
            report = self._log.info if in_order else self._log.warning
            state = "stopped" if stopped else verdict.value
            report("node_liveness_changed", node=node, state=state)
            self._tell(node)
        if told:
            self._count()

    def _count(self) -> None:
        states = Counter(self._liveness.nodes().values())
        for verdict in Verdict:
            self._metrics.nodes.labels(state=verdict.value).set(states[verdict])

    def _wake_if_sooner(self) -> None:
        due_at = self._liveness.next_due()
        if due_at is not None and (self._waking_at is None or due_at < self._waking_at):
            self._poked.set()

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
