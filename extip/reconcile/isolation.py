"""Finds out whether the interface still reaches anybody, by asking neighbours that answer.

What counts is decided by `extip.plan.isolation`. At rest it costs one small frame a round, to one
neighbour, and its answer.

The owner task is `IsolationWatch.run`; the other methods may be called from any task of the loop.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from math import inf
from typing import Protocol

from extip import log
from extip.clock import Clock
from extip.metrics import Metrics
from extip.plan.isolation import Isolation, Question, Reach
from extip.plan.link import IPAddress, IPInterface, Link

_LOOK_S = 5.0
"""How old knowledge of who the neighbours are may be while they answer, and how soon a socket is
opened again."""

_LATE = 3.0
"""A round that begins so many rounds after the last one asks nobody: this process stood still, and
what it knows of the interface may be old."""


class Segment(Protocol):
    """The segment that the interface is on."""

    def open(self, link: Link) -> None:
        """Use this interface from now on. Raises PermissionDeniedError."""

    def ask(self, questions: Iterable[Question]) -> Collection[IPAddress]:
        """Ask neighbours; return which questions went out, and can be answered."""

    def answers(self) -> Mapping[IPAddress, bytes]:
        """Return the MACs of those that answered this node since this was called last."""

    def close(self) -> None:
        """Give everything back."""


class Interface(Protocol):
    """What is known of the interface."""

    @property
    def link(self) -> Link | None:
        """The interface; None while it is missing."""

    def own_addresses(self) -> Sequence[IPInterface]:
        """Return the node's own addresses on it that are in use, but for link-local ones."""


Neighbours = Callable[[Sequence[IPInterface]], Mapping[IPAddress, IPAddress] | None]
"""Takes the node's own addresses; returns whom to ask, each with the one to ask from, or None while
that is not known."""


class IsolationWatch:
    """Of one interface."""

    def __init__(  # noqa: PLR0913 - a composition of ports and plain values
        self,
        segment: Segment,
        *,
        interface: Interface,
        neighbours: Neighbours,
        round_s: float,
        changed: Callable[[], None],
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        """Compose; `changed` is called when the node is isolated, and when it is not any more."""
        self._segment = segment
        self._interface = interface
        self._find = neighbours
        self._round_s = round_s
        self._changed = changed
        self._clock = clock
        self._metrics = metrics
        self._state = Isolation(round_s)
        self._whom: Mapping[IPAddress, IPAddress] | None = None
        self._asks_as: Sequence[IPInterface] = ()
        self._found_at = self._failed_at = self._began_at = -inf
        self._log = log.get_logger("isolation")

    @property
    def isolated(self) -> bool:
        """Whether nobody answers any more, though somebody did."""
        return self._state.isolated

    def reach(self) -> Reach:
        """Return what the node may say of itself now."""
        return self._state.reach(self._clock.monotonic())

    def recall(self, said: Reach) -> None:
        """Go on from what the process before this one said of the node."""
        before = self._state.isolated
        self._state.recall(said)
        self._tell(before=before)

    async def run(self) -> None:
        """Ask, round after round; until cancelled. Raises PermissionDeniedError."""
        try:
            while True:
                before = self._state.isolated
                self._round(self._clock.monotonic())
                self._tell(before=before)
                await self._clock.sleep(self._round_s)
        finally:
            self._segment.close()

    def _round(self, now: float) -> None:
        stood_still = now - self._began_at > _LATE * self._round_s
        self._began_at = now
        link, whom = self._interface.link, self._whom_to_ask(now)
        if link is not None and not link.announces:
            self._state.clear()  # such as lo
            return
        if link is None or whom is None or stood_still or now - self._failed_at < _LOOK_S:
            self._state.rest()
            return
        self._state.end_round(self._segment.answers())
        if self._state.missed:  # before that counts, whoever has come meanwhile is asked as well
            self._found_at = -inf
            whom = self._whom_to_ask(now) or whom
        questions = self._state.begin_round(whom)
        if questions:
            self._segment.open(link)
        asked = self._segment.ask(Question(ip, whom[ip], mac) for ip, mac in questions)
        self._state.asked(asked, now)
        if questions and not asked:
            self._failed_at = now
            self._log.warning("neighbours_not_asked", link=link.name, again_s=_LOOK_S)

    def _whom_to_ask(self, now: float) -> Mapping[IPAddress, IPAddress] | None:
        """Return whom to ask; None while nobody can be.

        That is without carrier, and while the node's own addresses are not there: which may be for
        the very reason that nobody answers.
        """
        link, own = self._interface.link, self._interface.own_addresses()
        if link is None or not link.carrier or not own:
            return None
        return self._neighbours(own, now)

    def _neighbours(
        self, own: Sequence[IPInterface], now: float
    ) -> Mapping[IPAddress, IPAddress] | None:
        if self._whom is None or own != self._asks_as or now - self._found_at >= _LOOK_S:
            self._whom, self._asks_as, self._found_at = self._find(own), own, now
        return self._whom

    def _tell(self, *, before: bool) -> None:
        isolated = self._state.isolated
        self._metrics.link_neighbours.set(self._state.known)
        if isolated == before:
            return
        self._metrics.link_isolated.set(isolated)
        if isolated:
            self._log.warning("link_isolated", reason="no other station answers any more")
        else:
            self._log.info("link_reached")
        self._changed()
