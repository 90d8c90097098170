"""The interfaces of this node that lead nowhere, and its report about each of them. Pure.

Each interface is judged by itself (`isolation`). The first one is the one that is preferred. By it
alone neighbours find out whether the node is dead, and older schedulers know no other.
"""

from collections.abc import Mapping, Sequence
from math import inf

from extip.uplink.policy.isolation import Isolation, Reachability

_MISSING = 16
"""Interfaces that are selected no more and whose state is kept: they may be back soon, and their
network need not be mended by then."""

FIRST = ""
"""Stands for the first interface in reports that name none."""


class Isolations:
    """The state of each interface; a plain value that is told what happens."""

    def __init__(self, round_s: float, *, named: bool = True) -> None:
        """`named`: reports name the interfaces, since there may be several."""
        self.round_s = round_s
        self._named = named
        self._states: dict[str, Isolation] = {}
        """The missing ones come first, the one that left first before all others."""
        self._present: tuple[str, ...] = ()
        self._begun = False
        """Whether any interface was known yet."""
        self._said: Mapping[str, Reachability] = {}
        """The report of the process before this one."""

    def take(self, links: Sequence[str]) -> tuple[str, ...]:
        """Take the selected interfaces, the first one first; return those that are forgotten."""
        self._present = tuple(links)
        self._begun |= bool(links)
        for name in links:
            known = self._states.pop(name, None)
            self._states[name] = self._new(name) if known is None else known
        missing = [name for name in self._states if name not in self._present]
        forgotten = tuple(missing[:-_MISSING])
        for name in forgotten:
            del self._states[name]
        return forgotten

    def of(self, link: str) -> Isolation:
        """Return the state of an interface that was taken."""
        return self._states[link]

    @property
    def isolated(self) -> frozenset[str]:
        """The interfaces on which no other station answers any more."""
        return frozenset(name for name in self._present if self._states[name].isolated)

    @property
    def unheard_at(self) -> float:
        """When nobody answered on the first interface for a moment; see `Isolation`."""
        return self._states[self._present[0]].unheard_at if self._present else -inf

    def restore(self, said: Mapping[str, Reachability]) -> None:
        """Go on from the report of the process before this one: a restart mends no network."""
        self._said = said
        for name in self._present:
            self._states[name].restore(self._word(name))

    def reachability(self, now: float) -> Reachability:
        """Return what the node may report of its first interface."""
        if self._present:
            return self._states[self._present[0]].reachability(now)
        before = next(iter(self._said.values()), None)
        isolated = before is Reachability.ISOLATED and not self._begun
        return Reachability.ISOLATED if isolated else Reachability.UNSURE

    def reports(self, now: float) -> dict[str, Reachability]:
        """Return what it may report of each, the first one first; nothing where there is but one.

        Before any interface is known, it is that the process before this one found them isolated.
        """
        if not self._named:
            return {}
        if not self._begun:
            found = self._said.items()
            return {name: word for name, word in found if name and word is Reachability.ISOLATED}
        return {name: self._states[name].reachability(now) for name in self._present}

    def _new(self, name: str) -> Isolation:
        state = Isolation(self.round_s)
        state.restore(self._word(name))
        return state

    def _word(self, name: str) -> Reachability:
        unnamed = self._said.get(FIRST) if name == self._present[0] else None
        return self._said.get(name, unnamed or Reachability.UNSURE)
