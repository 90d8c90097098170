"""An IP that its new node cannot have up goes back, though the write has to wait or is lost."""

from random import Random
from types import SimpleNamespace
from typing import Any

import pytest
from msgspec.structs import replace

from extip.api.ipcontroller_v1 import ACCEPTED, UP, IpClaim
from extip.api.names import PLACEMENT_ANNOTATION, PLACEMENT_AUTOMATIC
from extip.clock import LoopClock
from extip.scheduling import rebalancer
from extip.scheduling.policy.node_filters import NodeFilters
from extip.scheduling.policy.placement import Move, Strategy
from extip.scheduling.policy.schedule import AssignClaim, Write
from extip.scheduling.rebalancer import REBALANCE_S, Rebalancer
from extip.writes.backoff import Failure
from extip.writes.lanes import Lane, LaneContext, ServerContact
from tests.unit.scheduling.test_moves_on_trial import MOVE, claim, told
from tests.unit.scheduling.test_planner import NODES, cluster

STEADY = frozenset(NODES)


AUTOMATIC = {PLACEMENT_ANNOTATION: PLACEMENT_AUTOMATIC}
"""The scheduler chooses the node, not a person."""


def annotated(found: IpClaim, annotations: dict[str, str]) -> IpClaim:
    """Return the claim with other annotations."""
    return replace(found, metadata=replace(found.metadata, annotations=annotations))


def before(*, generation: int = 1) -> IpClaim:
    """Return the claim on its former node."""
    return annotated(claim("n1", told(UP, "True"), generation=generation), AUTOMATIC)


def refused() -> IpClaim:
    """Return the claim on its new node, which has refused it."""
    report = told(ACCEPTED, "False", generation=2)
    return annotated(claim("n2", report, told(UP, "True"), generation=2), AUTOMATIC)


async def never(_write: Write) -> None:
    raise AssertionError


class Rig(LoopClock):
    """A claim that was moved, and a lane that makes no writes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        self.plans = 0
        contact = ServerContact(lambda: None, LoopClock())
        chance = Random(0)  # noqa: S311 - a test's chance
        context = LaneContext(contact=contact, again=lambda _s: None, clock=self, rng=chance)
        self.lane = Lane[Write]("c", never, context, places=4, longest_s=60.0, made=lambda: None)
        nodes = cluster(NODES)
        self.standing = SimpleNamespace(snapshot=nodes, filters=NodeFilters(nodes))
        self.state: Any = SimpleNamespace(
            version=1, claims={}, is_balanced=lambda _steady: False, standing=self.standing
        )
        monkeypatch.setattr(rebalancer, "RebalanceSteps", self._plan)
        writer: Any = SimpleNamespace(waiting=dict)
        self.rebalancer = Rebalancer(writer, moves=self.lane, changes=self.lane, clock=self)
        self.look_at(before())
        assert self.taken() == "n2"
        self.look_at(refused())

    def monotonic(self) -> float:
        return self.now

    def look_at(self, found: IpClaim, *, after_s: float = 1.0) -> float | None:
        """Have a step look at the claim, a second later; return the seconds until the next one."""
        self.now += after_s
        self.state.claims["a"] = found
        inputs: Any = SimpleNamespace(steady=STEADY)
        return self.rebalancer.step(self.state, inputs)

    def taken(self) -> str:
        """Take the write that waits as one that ended; return its node."""
        write = self.lane._fresh.pop("a", None)
        return write.node if isinstance(write, AssignClaim) else ""

    def _plan(self, *_args: object, **_kwargs: object) -> SimpleNamespace:
        self.plans += 1
        moves: list[list[Move]] = [[MOVE] if self.plans == 1 else []]
        return SimpleNamespace(step=moves.pop, holds=lambda *_: True, strategy=Strategy.FAIR)


def test_a_write_that_is_lost_is_offered_again(monkeypatch):
    rig = Rig(monkeypatch)
    for _ in range(3):
        assert rig.look_at(refused()) == REBALANCE_S
        assert rig.taken() == "n1"
    rig.look_at(before(generation=3))
    assert rig.taken() == ""


def test_a_write_that_has_to_wait_is_offered_later(monkeypatch):
    rig = Rig(monkeypatch)
    rig.lane.backoff.failed("a", Failure.UNANSWERED, at_least=9)
    rig.look_at(refused())
    assert rig.taken() == ""
    rig.look_at(refused(), after_s=200.0)
    assert list(rig.lane._suspect) == ["a"]


def test_a_write_that_waits_for_a_place_is_not_offered_anew(monkeypatch):
    rig = Rig(monkeypatch)
    rig.look_at(refused())
    waits = rig.lane._fresh["a"]
    rig.look_at(refused())
    assert rig.lane._fresh["a"] is waits


def test_a_claim_goes_back_once_its_former_node_may_have_it(monkeypatch):
    rig = Rig(monkeypatch)
    nodes = cluster(NODES, draining=["n1"])
    rig.state.standing = SimpleNamespace(snapshot=nodes, filters=NodeFilters(nodes))
    rig.look_at(refused())
    assert rig.taken() == ""
    rig.state.standing = rig.standing
    rig.look_at(refused())
    assert rig.taken() == "n1"


def test_a_claim_that_somebody_pins_meanwhile_stays(monkeypatch):
    rig = Rig(monkeypatch)
    rig.look_at(annotated(refused(), {}))
    assert rig.taken() == ""


def test_a_former_node_that_is_avoided_gets_its_own_ip_back(monkeypatch):
    """Another IP did not come up there. This one was up."""
    rig = Rig(monkeypatch)
    rig.rebalancer._trials._avoided["n1"] = rig.now + 100.0
    rig.look_at(refused())
    assert rig.taken() == "n1"
