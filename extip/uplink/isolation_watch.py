"""Asks neighbours whether the interface still reaches another station, and which nodes are silent.

`policy.isolation` and `policy.silence` decide. At rest it costs two small frames a round, to the
two nodes that this one watches, and their answers. A round that leaves a doubt is repeated at once.

It does not guarantee that the node is isolated for good: other nodes confirm it
(`policy.reachability`).

The owner task is `IsolationWatch.run`; the other methods may be called from any task of the loop.
"""

from collections.abc import Callable, Mapping, Sequence
from math import inf
from typing import Protocol

from extip import log
from extip.clock import Clock
from extip.metrics import Metrics
from extip.net.interfaces import IPAddress, IPInterface, Link
from extip.net.neighbour_events import Question
from extip.uplink.policy.isolation import ANSWER_S, Isolation, Reachability
from extip.uplink.policy.silence import Silence

_LOOK_S = 5.0
"""Maximum age, in seconds, of the list of neighbours while they answer. Also the time until a
socket that failed is opened again."""

_UNWATCHED_S = 30.0
_UNWATCHED = (
    "no other node answers questions on this segment (a firewall, or another VLAN?): when one "
    "dies, only its heartbeats tell"
)

_LATE = 3.0
"""A round that begins this many rounds after the last one asks no neighbour. The process stood
still, and what it knows of the interface may be old."""


class Segment(Protocol):
    """The segment that the interface is on."""

    def open(self, link: Link) -> None:
        """Use this interface from now on. Raises PermissionDeniedError."""

    def ask(self, questions: Sequence[Question]) -> Sequence[IPAddress]:
        """Ask neighbours; return the IPs whose questions went out, and can be answered."""

    def answers(self) -> Mapping[IPAddress, bytes]:
        """Return the MACs of the neighbours that answered this node since the last call."""

    def close(self) -> None:
        """Close all sockets."""


class Uplink(Protocol):
    """The interface by which others are reached."""

    @property
    def link(self) -> Link | None:
        """The interface; None while it is missing."""

    @property
    def own(self) -> Sequence[IPInterface]:
        """The node's own addresses there that are in use."""


Ring = Callable[[Sequence[IPInterface]], Mapping[IPAddress, str]]
"""Takes the node's own addresses; returns the names of the other nodes, by address, in order."""

Neighbours = Callable[[Sequence[IPInterface]], Mapping[IPAddress, IPAddress] | None]
"""Takes the node's own addresses; returns the neighbours to ask, each with the own address to ask
from. None while they are not known."""


class IsolationWatch:
    """Watches one interface."""

    def __init__(  # noqa: PLR0913 - a composition of parts
        self,
        segment: Segment,
        *,
        local: Uplink,
        neighbours: Neighbours,
        ring: Ring = lambda _own: {},
        isolation: Isolation,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        """Compose; `isolation` is where others look whether the node is isolated.

        `ring` are the neighbours that may be watched.
        """
        self._segment = segment
        self._local = local
        self._find = neighbours
        self._find_ring = ring
        self._handlers: list[Callable[[], None]] = []
        self._silence_handlers: list[Callable[[], None]] = []
        self._clock = clock
        self._metrics = metrics
        self._state = isolation
        self._silence = Silence()
        self._due: Sequence[tuple[IPAddress, bytes]] = ()
        self._questions: Sequence[Question] = ()
        """Questions of the last round; most rounds have the same ones."""
        self._asked: Sequence[IPAddress] = ()
        self._whom: Mapping[IPAddress, IPAddress] | None = None
        self._asked_of: Mapping[IPAddress, IPAddress] = {}
        self._names: Mapping[IPAddress, str] = {}
        self._asks_as: Sequence[IPInterface] = ()
        self._found_at = self._failed_at = self._began_at = -inf
        self._was_unheard = False
        self._unwatched_since: float | None = None
        self._said_unwatched = False
        self._log = log.get_logger("isolation")

    def add_handler(self, handler: Callable[[], None]) -> None:
        """Have `handler` called when the node is isolated, and when it is not any more."""
        self._handlers.append(handler)

    def add_silence_handler(self, handler: Callable[[], None]) -> None:
        """Have `handler` called when `silent` changes."""
        self._silence_handlers.append(handler)

    def silent(self) -> tuple[str, ...]:
        """Return the nodes that this one watched and that have fallen silent, in order."""
        return tuple(sorted(self._silence.silent))

    def reachability(self) -> Reachability:
        """Return the state that the node may report now."""
        return self._state.reachability(self._clock.monotonic())

    def restore(self, said: Reachability) -> None:
        """Go on from the state that the process before this one reported."""
        before = self._state.isolated
        self._state.restore(said)
        self._report(before=before)

    async def run(self) -> None:
        """Ask, round after round; until cancelled. Raises PermissionDeniedError."""
        self._metrics.link_neighbours.set_function(lambda: self._state.known)
        self._metrics.link_watched.set_function(lambda: self._silence.watched)
        try:
            while True:
                before, silent = self._state.isolated, self._silence.silent
                self._begin_round(self._clock.monotonic())
                await self._clock.sleep(ANSWER_S)
                self._end_round(self._clock.monotonic())
                self._report(before=before)
                if self._silence.silent != silent:
                    self._report_silence()
                if not (self._state.doubts or self._silence.doubts):
                    await self._clock.sleep(self._state.round_s - ANSWER_S)
        finally:
            self._segment.close()

    def _begin_round(self, now: float) -> None:
        stood_still = self._stood_still(now)
        self._began_at = now
        link, whom = self._local.link, self._whom_to_ask(now)
        if link is not None and not link.announces:
            self._state.clear()  # such as lo
            self._silence, whom = Silence(), None
        if link is None or whom is None or stood_still or now - self._failed_at < _LOOK_S:
            self._rest()
            return
        if self._state.missed:  # before a miss counts, new neighbours are asked as well
            self._found_at = -inf
            whom = self._whom_to_ask(now) or whom
        due = [*self._state.begin_round(whom), *self._silence.begin_round(self._names)]
        if due != self._due or whom is not self._asked_of:
            self._due, self._asked_of = due, whom
            self._questions = tuple(
                Question(ip, whom[ip], mac) for ip, mac in dict(due).items() if ip in whom
            )
        if self._questions:
            self._segment.open(link)
        self._asked = self._segment.ask(self._questions)
        self._state.asked(self._asked, now)
        if self._questions and not self._asked:
            self._failed_at = now
            self._log.warning("neighbours_not_asked", link=link.name, again_s=_LOOK_S)

    def _end_round(self, now: float) -> None:
        if self._stood_still(now):
            self._rest()
            return
        answers = self._segment.answers()
        answered = {ip: answers[ip] for ip in self._asked if ip in answers}
        self._state.end_round(answered)
        self._silence.end_round(self._asked, answered)
        if self._state.unheard and not self._was_unheard:
            self._state.unheard_at = now
        self._was_unheard = self._state.unheard
        self._tell_if_unwatched(now)

    def _rest(self) -> None:
        self._state.rest()
        self._silence.rest()
        self._asked = ()

    def _stood_still(self, now: float) -> bool:
        """Whether the process stood still: then what it knows of the interface may be old."""
        return now - self._began_at > _LATE * self._state.round_s

    def _whom_to_ask(self, now: float) -> Mapping[IPAddress, IPAddress] | None:
        """Return the neighbours to ask; None while none can be asked.

        None can be asked without carrier, and without own addresses. The addresses may be missing
        for the very reason that no neighbour answers.
        """
        link, own = self._local.link, self._local.own
        if link is None or not link.carrier or not own:
            return None
        return self._neighbours(own, now)

    def _neighbours(
        self, own: Sequence[IPInterface], now: float
    ) -> Mapping[IPAddress, IPAddress] | None:
        if self._whom is None or own != self._asks_as or now - self._found_at >= _LOOK_S:
            self._whom, self._asks_as, self._found_at = self._find(own), own, now
            self._names = {} if self._whom is None else self._find_ring(own)
        return self._whom

    def _report(self, *, before: bool) -> None:
        isolated = self._state.isolated
        if isolated == before:
            return
        self._metrics.link_isolated.set(isolated)
        if isolated:
            self._log.warning("link_isolated", reason="no other station answers any more")
        else:
            self._log.info("link_reached")
        for handler in self._handlers:
            handler()

    def _report_silence(self) -> None:
        self._log.info("neighbours_silent", nodes=self.silent())
        for handler in self._silence_handlers:
            handler()

    def _tell_if_unwatched(self, now: float) -> None:
        """Say once that no other node answers: then Leases alone tell of a death."""
        if self._silence.watched or not self._names:
            self._unwatched_since = None
        elif self._unwatched_since is None:
            self._unwatched_since = now
        elif now - self._unwatched_since > _UNWATCHED_S and not self._said_unwatched:
            self._said_unwatched = True
            self._log.warning("nodes_do_not_answer", nodes=len(self._names), reason=_UNWATCHED)
