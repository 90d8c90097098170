"""Rounds of questions on one interface, and the look at the answers.

It owns no task: `IsolationWatch` calls it.
"""

from collections.abc import Callable, Mapping, Sequence
from math import inf, nan
from typing import Protocol

from extip import log
from extip.net.interfaces import IPAddress, IPInterface, Link
from extip.net.neighbour_events import Question
from extip.uplink.policy.isolation import Isolation
from extip.uplink.policy.silence import Silence

_LOOK_S = 5.0
"""Maximum age, in seconds, of the list of neighbours while they answer. Also the time until a
socket that failed is opened again."""


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


class LinkRounds:
    """The questions on one interface."""

    def __init__(
        self, segment: Segment, *, neighbours: Neighbours, ring: Ring, state: Isolation
    ) -> None:
        """`state` is where others look whether the interface leads anywhere."""
        self._segment = segment
        self._find = neighbours
        self._find_ring = ring
        self.state = state
        self.silence = Silence()
        """The nodes that are watched here: none but on the first interface."""
        self.watches = False
        """Whether it is the first interface."""
        self.asked_for = nan
        """The heartbeat for which neighbours were asked last, by the time when it is due."""
        self.names: Mapping[IPAddress, str] = {}
        """The other nodes that may be watched."""
        self._due: Sequence[tuple[IPAddress, bytes]] = ()
        self._questions: Sequence[Question] = ()
        """Questions of the last round; most rounds have the same ones."""
        self._asked: Sequence[IPAddress] = ()
        self._whom: Mapping[IPAddress, IPAddress] | None = None
        self._asked_of: Mapping[IPAddress, IPAddress] = {}
        self._asks_as: Sequence[IPInterface] = ()
        self._found_at = self._failed_at = -inf
        self._was_unheard = False
        self._log = log.get_logger("isolation")

    @property
    def doubts(self) -> bool:
        """Whether somebody did not answer, and has to be asked again at once."""
        if self.state.doubts:
            return True
        # While nobody answers, no question of a watched node counts: its doubt would not end.
        return self.watches and self.silence.doubts and not self.state.isolated

    def begin(self, uplink: Uplink, now: float) -> None:
        """Ask neighbours. Raises PermissionDeniedError."""
        link, whom = uplink.link, self._whom_to_ask(uplink, now)
        if link is not None and not link.announces:
            self.state.clear()  # such as lo
            self.silence.clear()
            whom = None
        if link is None or whom is None or now - self._failed_at < _LOOK_S:
            self.rest()
            return
        if self.state.missed:  # before a miss counts, new neighbours are asked as well
            self._found_at = -inf
            whom = self._whom_to_ask(uplink, now) or whom
        due = self.state.begin_round(whom)
        if self.watches:
            due += self.silence.begin_round(self.names)
        if due != self._due or whom is not self._asked_of:
            self._due, self._asked_of = due, whom
            self._questions = tuple(
                Question(ip, whom[ip], mac) for ip, mac in dict(due).items() if ip in whom
            )
        if self._questions:
            self._segment.open(link)
        self._asked = self._segment.ask(self._questions)
        self.state.asked(self._asked, now)
        if self._questions and not self._asked:
            self._failed_at = now
            self._log.warning("neighbours_not_asked", link=link.name, again_s=_LOOK_S)

    def end(self, now: float) -> None:
        """Judge the answers."""
        answers = self._segment.answers()
        answered = {ip: answers[ip] for ip in self._asked if ip in answers}
        self.state.end_round(answered)
        if self.watches:
            self.silence.end_round(self._asked, answered)
        if self.state.unheard and not self._was_unheard:
            self.state.unheard_at = now
        self._was_unheard = self.state.unheard

    def rest(self) -> None:
        """Ask nobody, and judge nobody by what was asked before."""
        self.state.rest()
        self.silence.rest()
        self._asked = ()

    def close(self) -> None:
        """Close all sockets."""
        self._segment.close()

    def _whom_to_ask(self, uplink: Uplink, now: float) -> Mapping[IPAddress, IPAddress] | None:
        """Return the neighbours to ask; None while none can be asked.

        None can be asked without carrier, and without own addresses. The addresses may be missing
        for the very reason that no neighbour answers.
        """
        link, own = uplink.link, uplink.own
        if link is None or not link.carrier or not own:
            return None
        if self._whom is None or own != self._asks_as or now - self._found_at >= _LOOK_S:
            self._whom, self._asks_as, self._found_at = self._find(own), own, now
            self.names = {} if self._whom is None else self._find_ring(own)
        return self._whom
