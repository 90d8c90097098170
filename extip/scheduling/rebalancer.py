"""Moves a few claims at a time, in quiet times, to where the strategy wants them.

A move that its new node cannot carry out is taken back.
"""

from collections import deque
from collections.abc import Set as AbstractSet
from math import inf

from extip import log
from extip.claims.policy.claims import is_pinned
from extip.clock import Clock
from extip.scheduling.claim_writer import ClaimWriter
from extip.scheduling.inputs import SchedulerInputs
from extip.scheduling.policy.moves_on_trial import MovesOnTrial
from extip.scheduling.policy.placement import Move
from extip.scheduling.policy.rebalance_steps import RebalanceSteps
from extip.scheduling.policy.rebalancing import assignment
from extip.scheduling.policy.schedule import AssignClaim, Write
from extip.scheduling.policy.snapshot import needs_of
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
        self._trials = MovesOnTrial()
        self._log = log.get_logger("scheduling")

    def forget(self) -> None:
        """Forget the last plan, and how many claims there were."""
        self._balanced = self._number = self._plan = None
        self._left.clear()
        self._trials.forget()

    def step(self, state: ScheduleState, inputs: SchedulerInputs) -> float | None:
        """Move claims now if it is time; return the seconds until the next step, or None."""
        now = self._clock.monotonic()
        self._take_back(state, inputs.steady, now)
        again_s = self._balance(state, self._trials.trusted(inputs.steady, now), now)
        if not self._trials.under_way:
            return again_s
        return REBALANCE_S if again_s is None else min(again_s, REBALANCE_S)

    def again_s(self) -> float | None:
        """Return the seconds until a node may have IPs again that did not bring one up, or None."""
        return self._trials.again_s(self._clock.monotonic())

    def _take_back(self, state: ScheduleState, steady: frozenset[str], now: float) -> None:
        """Give IPs back to the nodes that had them up, where the new ones report that they cannot.

        A write that is lost is offered again. The plan of the moves counted on those nodes.
        """
        standing = state.standing
        for move, report in self._trials.failed(state.claims, steady, now):
            claim = state.claims[move.claim]
            needs = None if standing is None else needs_of(claim, standing.snapshot)
            underway = self._changes.has(move.claim)
            if standing is None or needs is None or is_pinned(claim) or underway:
                continue
            if move.source not in standing.filters.filter_nodes(needs).nodes:
                continue
            why = f"it did not come up on {move.target}"
            write = AssignClaim(claim=claim, node=move.source, why=why)
            if self._changes.revise(move.claim, write, first=True):
                self._plan = None
                self._left.clear()
                self._log.warning(
                    "move_taken_back", claim=move.claim, node=move.target, reason=report
                )

    def _balance(self, state: ScheduleState, steady: frozenset[str], now: float) -> float | None:
        """Take the next step towards balance between these nodes."""
        settled_at = self._settled(len(state.claims), now)
        if self._next_at > now:
            return self._next_at - now
        contested, staying = self._writer.waiting(), self._trials.staying(now)
        fixed = self._moves.unavailable() | self._changes.unavailable() | contested.keys() | staying
        basis = state.version, steady, fixed
        standing = state.standing
        if standing is None or basis == self._balanced or state.is_balanced(steady):
            self._begun, self._plan = False, None
            self._left.clear()
            return min(contested.values(), default=None)
        if settled_at > now and not self._begun:
            return settled_at - now
        plan = self._plan
        if plan is None:
            self._planned_on, self._spent_s = basis, 0.0
            plan = self._plan = RebalanceSteps(
                state, standing, steady=steady, limit=_PLANNED, most=_STEP, fixed=fixed
            )
        if not self._left:
            if not self._take_step(plan):
                return 0.0
            if not self._left:
                self._begun = False
                return min(contested.values(), default=None)
        self._move(plan, state, steady, fixed)
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
            claim = state.claims[move.claim]
            write = assignment(claim, move, plan.strategy)
            if self._changes.revise(move.claim, write, first=True):
                self._trials.begin(move, claim, self._clock.monotonic())
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
