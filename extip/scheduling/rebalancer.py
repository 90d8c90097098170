"""Moves a few claims at a time, in quiet times, to where the strategy wants them."""

from collections.abc import Set as AbstractSet
from math import inf

from extip.clock import Clock
from extip.scheduling.claim_writer import ClaimWriter
from extip.scheduling.inputs import SchedulerInputs
from extip.scheduling.policy.placement import Strategy
from extip.scheduling.policy.rebalancing import plan_rebalance
from extip.scheduling.policy.schedule import Write
from extip.scheduling.policy.state import ScheduleState
from extip.writes.lanes import Lane

_REBALANCED = 2
"""Claims that one step of rebalancing moves."""

REBALANCE_S = 0.5
"""Seconds between two such steps. Passes come more often: each move triggers one."""

SETTLED_S = 2.0
"""Seconds without a claim that comes or goes before the first step.

Whoever deletes many services makes loads uneven that are even in the end. A move breaks the open
connections of an IP."""

_PATIENCE_S = 15.0
"""Seconds after which the first step is made though claims come and go all the time."""

_REST = 20
"""The rest after a plan that moves nothing, as a multiple of its duration. It looks at all claims,
and in some clusters the load stays uneven for good reasons."""


class Rebalancer:
    """Plans a step when the last one is made, and no other one when there is nothing to move."""

    def __init__(
        self,
        strategy: Strategy,
        writer: ClaimWriter,
        *,
        moves: Lane[Write],
        changes: Lane[Write],
        clock: Clock,
    ) -> None:
        self._strategy = strategy
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

    def forget(self) -> None:
        """Forget the last plan, and how many claims there were."""
        self._balanced = self._number = None

    def step(self, state: ScheduleState, inputs: SchedulerInputs) -> float | None:
        """Move claims now if it is time; return the seconds until the next step, or None."""
        now = self._clock.monotonic()
        settled_at = self._settled(len(state.claims), now)
        if self._next_at > now:
            return self._next_at - now
        contested = self._writer.waiting()
        fixed = self._moves.unavailable() | self._changes.unavailable() | contested.keys()
        basis = state.version, inputs.steady, fixed
        if basis == self._balanced or state.is_balanced(inputs.steady):
            self._begun = False
            return min(contested.values(), default=None)
        if settled_at > now and not self._begun:
            return settled_at - now
        moves = plan_rebalance(
            state.claims.values(),
            inputs.cluster,
            steady=inputs.steady,
            limit=_REBALANCED,
            strategy=self._strategy,
            fixed=fixed,
        )
        for move in moves:
            self._changes.revise(move.claim.metadata.name, move, first=True)
        self._begun = bool(moves)
        if not moves:
            self._balanced = basis
            ended = self._clock.monotonic()
            self._next_at = ended + _REST * (ended - now)
            return min(contested.values(), default=None)
        self._next_at = now + REBALANCE_S
        return REBALANCE_S

    def _settled(self, number: int, now: float) -> float:
        """Return when claims have stopped coming and going, with this number of them now."""
        known, self._number = self._number, number
        if known is not None and known != number:
            if now >= self._settled_at:
                self._patient_until = now + _PATIENCE_S
            self._settled_at = min(now + SETTLED_S, self._patient_until)
        return self._settled_at
