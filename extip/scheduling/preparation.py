"""Chooses standbys a few at a time, in quiet times, and hands them to the lane of chores."""

from collections.abc import Set as AbstractSet
from math import inf

from extip.clock import Clock
from extip.scheduling.claim_writer import Chore, ClaimWriter, ClearFieldOwners
from extip.scheduling.policy.standbys import SetStandby
from extip.scheduling.policy.standing import Standing
from extip.scheduling.policy.state import ScheduleState
from extip.writes.lanes import Lane

_CHOSEN = 16
"""Standbys that one step chooses for claims that have none: a few milliseconds with many nodes."""

STEP_S = 0.5
"""Seconds between two steps. Passes come more often."""

_PRUNED_S = 600.0
"""Seconds after which a server is tried again that does not know the field."""


class Preparation:
    """Plans a step when the last one is made, and none while no claim lacks anything.

    Claims without a standby come first. Then one standby a step changes for a better spread.
    """

    def __init__(self, writer: ClaimWriter, *, chores: Lane[Chore], clock: Clock) -> None:
        self._writer = writer
        self._chores = chores
        self._clock = clock
        self._next_at = -inf
        self._even: tuple[int, frozenset[str]] | None = None
        """The basis of the last whole round over all nodes that changed nothing."""
        self._round_on: tuple[int, frozenset[str]] | None = None
        """The basis at the end of the last round, so at the begin of this one."""

    def forget(self) -> None:
        """Forget the last rounds."""
        self._even = self._round_on = None

    def step(self, state: ScheduleState, *, steady: frozenset[str], balanced: bool) -> float | None:
        """Choose standbys if it is time; return the seconds until the next step, or None.

        Standbys change for a better spread only while the claims are `balanced`, and only to
        `steady` nodes.
        """
        now = self._clock.monotonic()
        next_at = max(self._next_at, self._writer.pruned_at + _PRUNED_S)
        if now < next_at and steady:
            return next_at - now
        waiting = self._writer.unprepared()
        new = self._writer.newcomers.names()
        fixed = self._chores.unavailable() | waiting.keys() | new
        if now < next_at:
            lacking = state.standbys.are_lacking(fixed)
            return next_at - now if lacking else min(waiting.values(), default=None)
        if state.standing is None:
            return None
        self._expect_those_on_their_way(state)
        chosen = state.standbys.choose(state.claims, state.standing, most=_CHOSEN, fixed=fixed)
        for one in chosen:
            self._offer(one)
        basis = state.version, steady
        if not chosen and not state.standbys.are_lacking(fixed):
            if not balanced or not steady or basis == self._even:
                return min(waiting.values(), default=None)
            self._even_out(state, state.standing, basis, fixed)
        self._next_at = now + STEP_S
        return STEP_S

    def _expect_those_on_their_way(self, state: ScheduleState) -> None:
        for begun in self._chores.in_flight.values():
            if isinstance(begun, SetStandby):
                state.standbys.expect(begun, state.claims)

    def _even_out(
        self,
        state: ScheduleState,
        standing: Standing,
        basis: tuple[int, frozenset[str]],
        fixed: AbstractSet[str],
    ) -> None:
        better = state.standbys.even_out(state.claims, standing, steady=basis[1], fixed=fixed)
        if better is not None:
            self._offer(better)
            self._round_on = None
        elif state.standbys.is_round_over:
            self._even = basis if self._round_on == basis else None
            self._round_on = basis

    def _offer(self, one: SetStandby) -> None:
        chore: Chore = one
        if one.node == one.claim.spec.standby:
            if not self._writer.is_to_be_cleared(one.claim):
                return
            chore = ClearFieldOwners(one.claim)
        self._chores.revise(one.claim.metadata.name, chore, first=True)
