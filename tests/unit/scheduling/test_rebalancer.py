"""Where loads stay uneven for good reasons, most changes cost no look at all claims."""

from types import SimpleNamespace
from typing import Any, cast

from extip.clock import LoopClock
from extip.scheduling import rebalancer
from extip.scheduling.rebalancer import Rebalancer

STEADY = frozenset({"n1", "n2"})
TOOK_S = 0.3


class Rig(LoopClock):
    """A cluster that changes all the time, and in which a plan takes long and moves nothing."""

    def __init__(self, monkeypatch):
        self.now = 1000.0
        self.plans = 0
        self.state: Any = SimpleNamespace(
            version=1, claims={}, is_balanced=lambda _steady: False, standing=object()
        )
        monkeypatch.setattr(rebalancer, "RebalanceSteps", self._plan)
        lane: Any = SimpleNamespace(unavailable=frozenset)
        writer: Any = SimpleNamespace(waiting=dict)
        self.rebalancer = Rebalancer(writer, moves=lane, changes=lane, clock=self)

    def monotonic(self):
        return self.now

    def _plan(self, *_args, **_kwargs):
        self.plans += 1
        steps = iter([None, ()])

        def step():
            self.now += TOOK_S / 2
            return next(steps)

        return SimpleNamespace(step=step)

    def step(self):
        inputs = cast("Any", SimpleNamespace(steady=STEADY, cluster=None))
        while (again_s := self.rebalancer.step(self.state, inputs)) == 0:
            pass
        return again_s


def test_a_plan_that_moves_nothing_is_followed_by_a_rest(monkeypatch):
    rig = Rig(monkeypatch)
    for _ in range(1000):  # a change each 60 ms, for a minute
        rig.state.version += 1
        rig.step()
        rig.now += 0.06
    assert 5 <= rig.plans <= 11


def test_a_change_in_the_rest_is_looked_at_after_it(monkeypatch):
    rig = Rig(monkeypatch)
    rig.step()
    rig.state.version += 1
    left_s = rig.step()
    assert rig.plans == 1
    rig.now += left_s
    assert rig.step() is None
    assert rig.plans == 2


def test_nothing_is_planned_again_without_a_change(monkeypatch):
    rig = Rig(monkeypatch)
    rig.step()
    rig.now += 1000
    assert rig.step() is None
    assert rig.plans == 1
