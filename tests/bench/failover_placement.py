"""A hundred thousand claims over a thousand nodes: decisions alone, nothing is written."""

import time
from collections import Counter
from collections.abc import Callable, Iterator

from extip.scheduling.policy.placement import Candidate, Move, Placement, Strategy, assign
from tests.bench.figure import Figure
from tests.bench.sampling import alternate, median
from tests.unit.scheduling.rebalance_reference import rebalance

_CLAIMS, _NODES = 100_000, 1_000
_ROUNDS = 5
_AT_LEAST = 200_000
"""Decisions a second."""


def measure() -> Iterator[Figure]:
    """Place all, then lose a node; what comes out is checked on the way."""
    nodes = frozenset(f"node-{number:04}" for number in range(_NODES))
    claims = [Candidate(claim=f"claim-{n:06}", eligible=nodes) for n in range(_CLAIMS)]
    moves = assign(claims, Placement(Strategy.FAIR))
    _check_even(moves)
    lost = "node-0500"
    left = nodes - {lost}
    held = [Candidate(claim=m.claim, node=m.target, eligible=left) for m in moves]
    homeless = {m.claim for m in moves if m.target == lost}
    again = assign(held, Placement(Strategy.FAIR))
    assert {m.claim for m in again} == homeless, "claims of other nodes were moved"
    assert rebalance(held, limit=1) == ()
    placing, losing = alternate(
        _ROUNDS,
        lambda: _time_s(lambda: assign(claims, Placement(Strategy.FAIR))),
        lambda: _time_s(lambda: assign(held, Placement(Strategy.FAIR))),
    )
    yield Figure(
        what=f"{_CLAIMS:,} claims over {_NODES:,} nodes: a decision",
        measured=1e6 * median(placing) / _CLAIMS,
        unit="µs",
        at_most=1e6 / _AT_LEAST,
        kind="value",
    )
    yield Figure(
        what="a node of these is lost: all are looked at, its own move",
        measured=1e3 * median(losing),
        unit="ms",
        at_most=None,
        kind="value",
    )


def _check_even(moves: tuple[Move, ...]) -> None:
    loads = Counter(move.target for move in moves)
    assert len(moves) == _CLAIMS
    assert len(loads) == _NODES
    assert max(loads.values()) - min(loads.values()) <= 1


def _time_s(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started
