"""`--rebalance-after`: in quiet times the load becomes even, by no move that does not help."""

from collections import Counter
from collections.abc import Iterable

from extip.scheduling.policy.placement import Strategy
from tests.simulation.invariants import CONVERGED_S, Invariant
from tests.simulation.world import MOVED_S, World


class LoadIsEven(Invariant):
    """In quiet times no node has two claims more than another for long.

    With `first-alive` all claims are on one node, but for those that may not be there.
    """

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self._even_s = 0.0

    def look(self) -> Iterable[str]:
        world = self.world
        loads = world.moves.loads()
        patience_s = world.rebalance_after_s + MOVED_S
        if not world.rebalance_after_s or world.quiet_for_s < CONVERGED_S or self._is_even(loads):
            self._even_s = world.now
        elif world.now - self._even_s > patience_s:
            yield f"the load is uneven since {self._even_s:.1f}: {dict(loads)}"

    def _is_even(self, loads: Counter[str]) -> bool:
        if self.world.strategy is Strategy.FIRST_ALIVE:
            return len(+loads) <= 1 + len(self.world.local_ips)
        counts = [loads[name] for name in self.world.nodes]
        return max(counts) - min(counts) <= 1
