"""Moves a few claims at a time, in quiet times, to where the strategy wants them."""

from collections import deque
from collections.abc import Set as AbstractSet
from math import inf

from extip.clock import Clock
from extip.scheduling.claim_writer import ClaimWriter
from extip.scheduling.inputs import SchedulerInputs
from extip.scheduling.policy.placement import Move
from extip.scheduling.policy.rebalance_steps import RebalanceSteps
from extip.scheduling.policy.rebalancing import assignment
from extip.scheduling.policy.schedule import Write
from extip.scheduling.policy.state import ScheduleState
from extip.writes.lanes import Lane

_REBALANCED = 2
"""Claims that one step of rebalancing moves."""

_PLANNED = 64
"""Moves that one plan has: each is made later, if it still holds then. A plan may look at all
claims."""

_STEP = 64
"""IPs that one step of a plan looks at: a few milliseconds, for which nothing else runs."""

REBALANCE_S = 0.5
"""Seconds between two such steps. Passes come more often: each move triggers one."""

SETTLED_S = 2.0
"""Seconds without a claim that comes or goes before the first step.

Whoever deletes many services makes loads uneven that are even in the end. A move breaks the open
connections of an IP."""

_PATIENCE_S = 15.0
"""Seconds after which the first step is made though claims come and go all the time."""

_REST = 20
"""The rest after a plan that moves nothing, as a multiple of the duration of its steps. It looks at
all claims, and in some clusters the load stays uneven for good reasons."""


class Rebalancer:
    """Moves the next claims when the last ones are moved, and plans while none is left to move."""

    def __init__(
        self,
        writer: ClaimWriter,
        *,
        moves: Lane[Write],
        changes: Lane[Write],
        clock: Clock,
    ) -> None:
        self._writer = writer
        self._moves = moves
        self._changes = changes
        self._clock = clock
        self._next_at = -inf
        self._number: int | None = None
        """Claims that were there at the last look."""
        self._settled_at = -inf
        self._begun = False
        """Whether steps are made: then none waits for quiet times before the load is even."""
        self._patient_until = -inf
        self._balanced: tuple[int, frozenset[str], AbstractSet[str]] | None = None
        """The basis of the last plan that had no moves."""
        self._plan: RebalanceSteps | None = None
        self._planned_on: tuple[int, frozenset[str], AbstractSet[str]] | None = None
        """The basis at the first step of the plan."""
        self._spent_s = 0.0
        """The duration of the steps of the plan."""
        self._left: deque[Move] = deque()
        """Its moves that are not made."""

    def forget(self) -> None:
        """Forget the last plan, and how many claims there were."""
        self._balanced = self._number = self._plan = None
        self._left.clear()

    def step(self, state: ScheduleState, inputs: SchedulerInputs) -> float | None:
        """Move claims now if it is time; return the seconds until the next step, or None."""
        now = self._clock.monotonic()
        settled_at = self._settled(len(state.claims), now)
        if self._next_at > now:
            return self._next_at - now
        contested = self._writer.waiting()
        fixed = self._moves.unavailable() | self._changes.unavailable() | contested.keys()
        basis = state.version, inputs.steady, fixed
        standing = state.standing
        if standing is None or basis == self._balanced or state.is_balanced(inputs.steady):
            self._begun, self._plan = False, None
            self._left.clear()
            return min(contested.values(), default=None)
        if settled_at > now and not self._begun:
            return settled_at - now
        plan = self._plan
        if plan is None:
            self._planned_on, self._spent_s = basis, 0.0
            plan = self._plan = RebalanceSteps(
                state, standing, steady=inputs.steady, limit=_PLANNED, most=_STEP, fixed=fixed
            )
        if not self._left:
            if not self._take_step(plan):
                return 0.0
            if not self._left:
                self._begun = False
                return min(contested.values(), default=None)
        self._move(plan, state, inputs.steady, fixed)
        self._next_at = now + REBALANCE_S
        return REBALANCE_S

    def _take_step(self, plan: RebalanceSteps) -> bool:
        """Take the next step of the plan; return whether it was the last one."""
        began = self._clock.monotonic()
        moves = plan.step()
        ended = self._clock.monotonic()
        self._spent_s += ended - began
        if moves is None:
            return False
        self._left.extend(moves)
        if not moves:
            self._plan, self._balanced = None, self._planned_on
            self._next_at = ended + _REST * self._spent_s
        return True

    def _move(
        self,
        plan: RebalanceSteps,
        state: ScheduleState,
        steady: frozenset[str],
        fixed: AbstractSet[str],
    ) -> None:
        """Offer the next moves; the state may have changed since they were planned."""
        made = 0
        while self._left and made < _REBALANCED:
            move = self._left.popleft()
            if not plan.holds(move, steady, fixed):
                self._left.clear()
                break
            write = assignment(state.claims[move.claim], move, plan.strategy)
            self._changes.revise(move.claim, write, first=True)
            made += 1
        self._begun = bool(made)
        if not self._left:
            self._plan = None

    def _settled(self, number: int, now: float) -> float:
        """Return when claims have stopped coming and going, with this number of them now."""
        known, self._number = self._number, number
        if known is not None and known != number:
            if now >= self._settled_at:
                self._patient_until = now + _PATIENCE_S
            self._settled_at = min(now + SETTLED_S, self._patient_until)
        return self._settled_at
