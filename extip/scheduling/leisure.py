"""Does what is for quiet times: claims are balanced, and standbys are chosen, a few at a time."""

from collections.abc import Callable

from extip.clock import Clock
from extip.scheduling.claim_writer import Chore, ClaimWriter
from extip.scheduling.inputs import SchedulerInputs
from extip.scheduling.policy.schedule import Write
from extip.scheduling.policy.state import ScheduleState
from extip.scheduling.preparation import STEP_S, Preparation
from extip.scheduling.rebalancer import Rebalancer
from extip.writes.lanes import Lane


class Leisure:
    """Takes a step of each while nothing is due and no write is made."""

    def __init__(
        self,
        writer: ClaimWriter,
        *,
        moves: Lane[Write],
        changes: Lane[Write],
        chores: Lane[Chore],
        busy: Callable[[], bool],
        clock: Clock,
    ) -> None:
        """`busy` tells whether writes are made."""
        self._busy = busy
        self._rebalancer = Rebalancer(writer, moves=moves, changes=changes, clock=clock)
        self._preparation = Preparation(writer, chores=chores, clock=clock)

    def forget(self) -> None:
        """Forget what was found to be in order."""
        self._rebalancer.forget()
        self._preparation.forget()

    def step(self, state: ScheduleState, inputs: SchedulerInputs) -> float | None:
        """Offer a few writes if it is time; return the seconds until the next step, or None.

        While writes are made it is tried again, a step later.
        """
        if state.pending or self._busy():
            return STEP_S
        rebalance_s = self._rebalancer.step(state, inputs) if inputs.steady else None
        prepare_s = self._preparation.step(
            state, steady=inputs.steady, balanced=rebalance_s is None
        )
        waits_s = rebalance_s, prepare_s, self._rebalancer.again_s()
        return min((s for s in waits_s if s is not None), default=None)
