"""Histories drawn from seeds keep every promise; so do the ones that once did not."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_interface
from random import SystemRandom

import pytest

from tests.simulation.faults import Fault
from tests.simulation.faults.kernel import Down
from tests.simulation.faults.processes import Freeze, Kill, Limp, Restart
from tests.simulation.faults.programs import Fought
from tests.simulation.faults.server import (
    Deaf,
    EtcdDown,
    HangingNamespace,
    Overtaken,
    Refusing,
    Restored,
    Silent,
    Slow,
    Throttled,
)
from tests.simulation.faults.users import BalancerAdded, PoolGone, ServiceAdded
from tests.simulation.faults.wire import Lossy, Split
from tests.simulation.history import History, play
from tests.simulation.runs import Report, run_seeds
from tests.simulation.shrink import shrink
from tests.simulation.world import World

Say = Callable[[str], None]

FIXED, FRESH = 16, 8
CORES = len(os.sched_getaffinity(0))

pytestmark = pytest.mark.timeout(1200)  # a minute on idle processors, and much more on busy ones


FOUND = {
    "clients-of-an-ipv6-ip-are-fetched-back-from-a-frozen-holder": History(
        12, (Freeze(12.71, 8.72, ("n3",), 0.078),)
    ),
    "the-last-refresh-is-later-than-the-last-heartbeat": History(1, (Kill(15.0, 14.0, ("n1",)),)),
    "an-ip-moves-on-while-its-new-holder-has-no-carrier-and-a-dead-watch": History(
        50252,
        (
            Freeze(17.19, 9.23, ("n3", "n4", "s2"), 0.049),
            Down(23.96, 1.61, ("n2",), 0.927),
            Deaf(24.34, 8.58, ("n2", "n3", "s3"), 0.178),
        ),
    ),
    "calls-are-slow-while-heartbeats-are-due-and-quick-when-the-leases-are-read": History(
        50464, (Slow(59.37, 2.48, (), 0.981),)
    ),
    "writes-fail-while-reads-go-on": History(50611, (EtcdDown(59.39, 4.9, (), 0.568),)),
    "simple-mode-rests-while-a-service-waits-for-an-address": History(
        1,
        (PoolGone(20.0, 20.0), BalancerAdded(25.0, 10.0, ("pooled-20",))),
        (("simple", True),),
    ),
    "a-node-that-is-back-is-told-of-the-past": History(
        60682, (Silent(13.63, 8.93, ("n1", "n5"), 0.013),)
    ),
    "etcd-is-restored-to-a-state-in-which-a-claim-had-not-moved": History(
        28792691,
        (Restart(20.6, 4.35, ("n1",), 0.148), Restored(25.71, 1.08, (), 0.497)),
        (("rebalance_after_s", 5.0),),
    ),
    "a-frozen-holder-thaws-just-when-it-is-to-announce": History(
        51023,
        (
            Split(13.26, 9.0, ("n2", "n3", "n4", "n5"), 0.067),
            HangingNamespace(36.4, 0.26, (), 0.344),
            Freeze(59.91, 9.0, ("n2", "n3"), 0.57),
        ),
    ),
    "a-node-asks-for-an-ip-that-its-own-kernel-has": History(
        500072,
        (
            Refusing(13.21, 8.28, (), 0.421),
            Limp(36.82, 1.28, ("n5",), 0.439),
            Kill(59.59, 5.73, ("n3",), 0.522),
        ),
    ),
    "nodes-that-live-are-found-dead-one-after-another": History(
        610007, (Overtaken(59.88, 9.0, ("leases",), 0.93),)
    ),
    "a-program-clears-the-conditions-of-claims-eight-times-a-second": History(
        106, (Fought(15.0, 7.04, ("ipclaims",), 0.017),)
    ),
    "refused-heartbeats-are-repeated-in-time": History(4, (Throttled(20.0, 9.0, (), 0.5),)),
}
"""Histories that broke a promise once, each with the reason in its name."""


@dataclass(frozen=True)
class Forgotten(Fault):
    """An address that nobody refreshes, nor the kernel ends: what no TTL would look like."""

    def begin(self, world: World) -> None:
        kernel = world.nodes["n1"].kernel
        kernel.insert(1, ip_interface("10.99.0.1/32"), valid_s=10**6, ours=True)


def report_of(seeds: range, say: Say) -> Report:
    say(f"sim: seeds {seeds[0]} to {seeds[-1]}")
    report = Report()
    for run in run_seeds(seeds, workers=CORES):
        report.add(run)
    say(f"sim: {report.runs} histories, {report.cluster_hours:.1f} cluster-hours")
    return report


def text_of(report: Report) -> str:
    return "\n".join(f"SEED={run.seed}\n{run.violations}\n{run.shortest}" for run in report.failed)


def test_every_promise_is_kept_in_histories_that_are_always_the_same(say: Say) -> None:
    report = report_of(range(1, FIXED + 1), say)
    assert report.runs == FIXED
    assert not report.failed, text_of(report)
    assert report.pairs


@pytest.mark.parametrize("name", FOUND)
def test_what_was_broken_once_is_not_again(name: str) -> None:
    assert play(FOUND[name]).violations == []


def test_every_promise_is_kept_in_fresh_histories(say: Say) -> None:
    first = SystemRandom().randrange(10**9)
    report = report_of(range(first, first + FRESH), say)
    assert not report.failed, text_of(report)


def test_a_promise_that_is_broken_is_reported_with_the_shortest_history() -> None:
    freeze = Freeze(15.0, 12.0, ("n1",), 0.5)
    forgotten = Forgotten(20.0, 1.0)
    others = (Lossy(14.0, 3.0, (), 0.1), ServiceAdded(40.0, 3.0, ("shop", "x", "10.88.1.40")))
    history = History(1, (others[0], freeze, forgotten, others[1]))
    (violation,) = play(history).violations
    assert violation.invariant == "NothingOutlivesItsTtl"
    assert shrink(history, violation.invariant).faults == (freeze, forgotten)


def test_a_history_replays_in_another_process_to_the_last_request() -> None:
    (first,) = run_seeds([3], workers=1)
    (second,) = run_seeds([3], workers=1)
    assert first.requests == second.requests
