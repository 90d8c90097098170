"""Asks neighbours whether each interface still reaches another station, and which nodes are silent.

`policy.isolation` and `policy.silence` decide. At rest it costs two small frames a round on the
first interface, to the two nodes that this one watches, and their answers. On each other interface
it costs one frame a heartbeat, in time for its report. A round that leaves a doubt is repeated at
once, on its own interface.

It does not guarantee that an interface is isolated for good: other nodes confirm it
(`policy.reachability`).

The owner task is `IsolationWatch.run`; the other methods may be called from any task of the loop.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from math import inf

from extip import log
from extip.clock import Clock
from extip.metrics import Metrics
from extip.uplink.link_rounds import LinkRounds, Neighbours, Ring, Segment, Uplink
from extip.uplink.policy.isolation import ANSWER_S, Reachability
from extip.uplink.policy.isolations import Isolations
from extip.uplink.policy.silence import Silence

MOST = 16
"""Interfaces that are watched: a node reports no more."""

_IN_TIME = 2.0
"""So many rounds before a heartbeat it is asked on the other interfaces. The answer is there by
then, and counts for half a round more (`FRESH`)."""

_UNWATCHED_S = 30.0
_UNWATCHED = (
    "no other node answers questions on this segment (a firewall, or another VLAN?): when one "
    "dies, only its heartbeats tell"
)

_LATE = 3.0
"""A round that begins this many rounds after the last one asks no neighbour. The process stood
still, and what it knows of the interfaces may be old."""


class IsolationWatch:
    """Watches all interfaces."""

    def __init__(  # noqa: PLR0913 - a composition of parts
        self,
        segment: Callable[[], Segment],
        *,
        uplinks: Callable[[], Mapping[str, Uplink]],
        neighbours: Neighbours,
        ring: Ring = lambda _own: {},
        isolations: Isolations,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        """Compose; `isolations` is where others look which interfaces are isolated.

        `segment` makes what asks on one interface. `uplinks` are the interfaces, the first one
        first. `ring` are the neighbours that may be watched.
        """
        self._new_segment = segment
        self._uplinks = uplinks
        self._find = neighbours
        self._find_ring = ring
        self._handlers: list[Callable[[], None]] = []
        self._silence_handlers: list[Callable[[], None]] = []
        self._clock = clock
        self._metrics = metrics
        self._states = isolations
        self._silence = Silence()
        self._names: tuple[str, ...] = ()
        self._rounds: dict[str, LinkRounds] = {}
        """By interface, the missing ones included whose state is kept."""
        self._heartbeat_at = self._began_at = self._next_at = -inf
        self._unwatched_since: float | None = None
        self._said_unwatched = False
        self._log = log.get_logger("isolation")

    def add_handler(self, handler: Callable[[], None]) -> None:
        """Have `handler` called when an interface is isolated, and when it is not any more."""
        self._handlers.append(handler)

    def add_silence_handler(self, handler: Callable[[], None]) -> None:
        """Have `handler` called when `silent` changes."""
        self._silence_handlers.append(handler)

    def silent(self) -> tuple[str, ...]:
        """Return the nodes that this one watched and that have fallen silent, in order."""
        return tuple(sorted(self._silence.silent))

    def reachability(self) -> Reachability:
        """Return what the node may report now of its first interface."""
        return self._states.reachability(self._clock.monotonic())

    def reports(self) -> dict[str, Reachability]:
        """Return what it may report now of each interface; nothing where there is but one."""
        return self._states.reports(self._clock.monotonic())

    def expect_heartbeat(self, at: float) -> None:
        """Be ready to report at that time."""
        self._heartbeat_at = at

    def restore(self, said: Mapping[str, Reachability]) -> None:
        """Go on from what the process before this one reported."""
        before = self._states.isolated
        self._states.restore(said)
        self._report(before)

    async def run(self) -> None:
        """Ask, round after round; until cancelled. Raises PermissionDeniedError."""
        self._metrics.link_watched.set_function(lambda: self._silence.watched)
        try:
            while True:
                before, silent = self._states.isolated, self._silence.silent
                asking = self._begin_rounds(self._clock.monotonic())
                await self._clock.sleep(ANSWER_S)
                self._end_rounds(asking, self._clock.monotonic())
                self._report(before)
                if self._silence.silent != silent:
                    self._report_silence()
                if not any(rounds.doubts for rounds in self._rounds.values()):
                    left_s = self._next_at - self._clock.monotonic()
                    await self._clock.sleep(max(0.0, left_s))
        finally:
            for rounds in self._rounds.values():
                rounds.close()

    def _begin_rounds(self, now: float) -> list[str]:
        """Ask where that is due; return where."""
        stood_still = self._stood_still(now)
        self._began_at = now
        uplinks = dict(islice(self._uplinks().items(), MOST))
        if tuple(uplinks) != self._names:
            self._follow(tuple(uplinks))
        at_rest = now >= self._next_at - ANSWER_S / 2
        asking = [name for name in uplinks if self._is_due(name, at_rest=at_rest)]
        if at_rest or self._names[:1] == tuple(asking[:1]):
            self._next_at = now + self._states.round_s
        for name, uplink in uplinks.items():
            rounds = self._rounds[name]
            if stood_still:
                rounds.rest()
            elif name in asking:
                rounds.asked_for = self._heartbeat_at
                rounds.begin(uplink, now)
        return asking

    def _is_due(self, name: str, *, at_rest: bool) -> bool:
        rounds = self._rounds[name]
        if rounds.doubts or not at_rest:
            return rounds.doubts
        if rounds.watches or not rounds.state.calm:
            return True
        left_s = self._heartbeat_at - self._began_at
        return rounds.asked_for != self._heartbeat_at and left_s <= _IN_TIME * self._states.round_s

    def _end_rounds(self, asking: Sequence[str], now: float) -> None:
        stood_still = self._stood_still(now)
        for name in asking:
            rounds = self._rounds[name]
            if stood_still:
                rounds.rest()
            else:
                rounds.end(now)
            self._metrics.link_neighbours.labels(link=name).set(rounds.state.known)
        if not stood_still:
            self._tell_if_unwatched(now)

    def _follow(self, names: tuple[str, ...]) -> None:
        """Take the interfaces as they are now; the first one watches other nodes."""
        self._names = names
        for name in self._states.take(names):
            self._drop(name)
        for name in names:
            if name not in self._rounds:
                self._metrics.link_isolated.labels(link=name)
                self._metrics.link_neighbours.labels(link=name)
                self._rounds[name] = LinkRounds(
                    self._new_segment(),
                    neighbours=self._find,
                    ring=self._find_ring,
                    state=self._states.of(name),
                )
        for name, rounds in self._rounds.items():
            rounds.watches = name in names[:1]
            rounds.silence = self._silence if rounds.watches else Silence()
            if name not in names:
                rounds.rest()
                rounds.close()

    def _drop(self, name: str) -> None:
        rounds = self._rounds.pop(name, None)
        if rounds is not None:
            rounds.close()
            self._metrics.link_neighbours.remove(name)
            self._metrics.link_isolated.remove(name)

    def _stood_still(self, now: float) -> bool:
        """Whether the process stood still: then what it knows of the interfaces may be old."""
        return now - self._began_at > _LATE * self._states.round_s

    def _report(self, before: frozenset[str]) -> None:
        isolated = self._states.isolated
        if isolated == before:
            return
        for name in sorted(isolated - before):
            self._metrics.link_isolated.labels(link=name).set(1)
            self._log.warning(
                "link_isolated", link=name, reason="no other station answers any more"
            )
        for name in sorted(before - isolated):
            self._metrics.link_isolated.labels(link=name).set(0)
            if name in self._names:
                self._log.info("link_reached", link=name)
        for handler in self._handlers:
            handler()

    def _report_silence(self) -> None:
        self._log.info("neighbours_silent", nodes=self.silent())
        for handler in self._silence_handlers:
            handler()

    def _tell_if_unwatched(self, now: float) -> None:
        """Say once that no other node answers: then Leases alone tell of a death."""
        names = self._rounds[self._names[0]].names if self._names else {}
        if self._silence.watched or not names:
            self._unwatched_since = None
        elif self._unwatched_since is None:
            self._unwatched_since = now
        elif now - self._unwatched_since > _UNWATCHED_S and not self._said_unwatched:
            self._said_unwatched = True
            self._log.warning("nodes_do_not_answer", nodes=len(names), reason=_UNWATCHED)
