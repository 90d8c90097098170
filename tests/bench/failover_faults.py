"""Faults of all kinds, with extip's defaults: what a client sees, and for how long two answer.

Those that can happen to keepalived happen to it as well, in the same run.

A probe goes out every 10 ms and an observer asks as often who has the IP. What is told is the worst
of a few times. The pods are on a node without faults. Each fault lasts for longer than it takes
extip to react, then it is over, and what happens at that moment counts, too.
"""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from tests.bench import failover_faults_keepalived
from tests.bench.failover_cluster import NAMESPACE, ClaimsCluster
from tests.bench.figure import Figure
from tests.bench.sampling import MS
from tests.lab.cluster import Lab
from tests.lab.network import Segment

_TIMES = int(os.environ.get("EXTIP_BENCH_FAULTS", "3"))
_LASTS_S = 10.0
_AFTERMATH_S = 8.0
_IP, _KEPT_IP = "10.88.9.1", "10.88.9.2"
_PAIR = ("n1", "n2")

Act = Callable[[ClaimsCluster, str], object]
"""Gets the node that holds the IP."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One thing that goes wrong, and how it ends."""

    name: str
    begin: Act
    end: Act


def _controller(cluster: ClaimsCluster, owner: str) -> None:
    cluster.controllers[owner].process.kill()


def _cut(segments: Sequence[Segment], cluster: ClaimsCluster, owner: str) -> None:
    cluster.lab.nodes[owner].cut(*segments)


def _leader(cluster: ClaimsCluster) -> int:
    """Return the index of the scheduler that leads."""
    leads = [s.events("leadership_acquired") for s in cluster.schedulers]
    latest = [events[-1]["timestamp"] if events else "" for events in leads]
    running = [
        t if s.process.running else "" for t, s in zip(latest, cluster.schedulers, strict=True)
    ]
    return running.index(max(running))


def _thaw_schedulers(cluster: ClaimsCluster, _owner: str) -> None:
    for scheduler in cluster.schedulers:
        scheduler.process.thaw()


_CUTS: tuple[tuple[str, tuple[Segment, ...]], ...] = (
    ("the clients' network", ("lan",)),
    ("the API server", ("management",)),
    ("both", ("lan", "management")),
)

FAULTS = (
    Fault(
        name="controller killed with -9, started again",
        begin=_controller,
        end=lambda cluster, owner: cluster.start_controller(owner),
    ),
    Fault(
        name="controller frozen and thawed",
        begin=lambda cluster, owner: cluster.controllers[owner].process.freeze(),
        end=lambda cluster, owner: cluster.controllers[owner].process.thaw(),
    ),
    *(
        Fault(
            name=f"node cut off from {name}, healed",
            begin=partial(_cut, segments),
            end=lambda cluster, owner: cluster.lab.nodes[owner].heal(),
        )
        for name, segments in _CUTS
    ),
    Fault(
        name="carrier lost, back",
        begin=lambda cluster, owner: cluster.lab.nodes[owner].carrier_down(),
        end=lambda cluster, owner: cluster.lab.nodes[owner].carrier_up(),
    ),
    Fault(
        name="leading scheduler frozen and thawed",
        begin=lambda cluster, _: cluster.schedulers[_leader(cluster)].process.freeze(),
        end=_thaw_schedulers,
    ),
    Fault(
        name="leading scheduler killed with -9",
        begin=lambda cluster, _: cluster.schedulers[_leader(cluster)].process.kill(),
        end=lambda cluster, _: cluster.start_scheduler(),
    ),
)


def measure_release() -> Iterator[Figure]:
    """Measure the same with controllers that let go without the API server."""
    return measure("--on-api-loss=release")


def measure(*controller: str) -> Iterator[Figure]:
    """Let each fault happen a few times; takes flags of the controllers."""
    with Lab(nodes=3) as lab:
        lab.create_namespace(NAMESPACE)
        lab.add_backends(NAMESPACE, ["n3"])
        cluster = ClaimsCluster(lab, controller=controller)
        cluster.start(*_PAIR)
        cluster.start_scheduler()
        lab.add_service("web", [_IP], namespace=NAMESPACE)
        for fault in FAULTS:
            found = [
                _seen(
                    lab,
                    _IP,
                    lambda: cluster.wait_settled([_IP])[_IP],
                    partial(fault.begin, cluster),
                    partial(fault.end, cluster),
                )
                for _ in range(_TIMES)
            ]
            yield _figure(fault.name, found)
        if not controller:
            cluster.end()
            yield from _keepalived(lab)


def _keepalived(lab: Lab) -> Iterator[Figure]:
    lab.add_service("kept", [_KEPT_IP], namespace=NAMESPACE)
    pair = failover_faults_keepalived.Pair(lab, _KEPT_IP, _PAIR)
    for fault in failover_faults_keepalived.FAULTS:
        pair.start()
        found = [
            _seen(
                lab,
                _KEPT_IP,
                pair.wait_settled,
                partial(fault.begin, pair),
                partial(fault.end, pair),
            )
            for _ in range(_TIMES)
        ]
        pair.end()
        yield _figure(f"keepalived {fault.name}", found)


def _figure(fault: str, found: Sequence[tuple[float, float]]) -> Figure:
    return Figure(
        what=f"{fault}: outage",
        measured=max(MS * outage_s for outage_s, _ in found),
        unit="ms",
        baseline=max(MS * double_s for _, double_s in found),
        baseline_name="two nodes answered",
        at_most=None,
        kind="value",
    )


def _seen(
    lab: Lab,
    ip: str,
    settled: Callable[[], str],
    begin: Callable[[str], object],
    end: Callable[[str], object],
) -> tuple[float, float]:
    """Return the longest outage, and for how long two answered, in seconds.

    `settled` waits until one node has the IP, which is where the fault happens.
    """
    owner = settled()
    lab.client.flush_neighbours()
    lab.wait_for_http(ip)
    with lab.observe(ip) as observer, lab.probe(ip) as probe:
        time.sleep(0.5)
        begin(owner)
        time.sleep(_LASTS_S)
        end(owner)
        time.sleep(_AFTERMATH_S)
    return probe.longest_outage_s(), observer.double_ownership_s(ip)
