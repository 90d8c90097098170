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
        self._balanced: tuple[int, frozenset[str], AbstractSet[str]] | None = None
        """The basis of the last plan that had no moves."""

    def forget(self) -> None:
        """Forget the last plan."""
        self._balanced = None

    def step(self, state: ScheduleState, inputs: SchedulerInputs) -> float | None:
        """Move claims now if it is time; return the seconds until the next step, or None."""
        wait_s = self._next_at - self._clock.monotonic()
        if wait_s > 0:
            return wait_s
        contested = self._writer.waiting()
        fixed = self._moves.unavailable() | self._changes.unavailable() | contested.keys()
        basis = state.version, inputs.steady, fixed
        if basis == self._balanced or state.is_balanced(inputs.steady):
            return min(contested.values(), default=None)
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
        if not moves:
            self._balanced = basis
            return min(contested.values(), default=None)
        self._next_at = self._clock.monotonic() + REBALANCE_S
        return REBALANCE_S
