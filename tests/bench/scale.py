"""What each controller of a large cluster takes, on a real API server.

The controllers run in one process, each with its own connection, over kernels in memory. Each has
25 claims, so the cluster grows and a node's own work does not.
"""

import os
import signal
import time
from collections.abc import Iterator

from tests.bench import program
from tests.bench.controllers_at_rest import LONG_S, Spent, at_rest, start, totals
from tests.bench.failover_cluster import ClaimsCluster
from tests.bench.figure import Figure
from tests.lab.cluster import Lab
from tests.lab.process import Process
from tests.lab.wait import wait_until

_SMALL, _LARGE = map(int, os.environ.get("EXTIP_BENCH_NODES", "20,200").split(","))
_CLAIMS_EACH = int(os.environ.get("EXTIP_BENCH_CLAIMS_EACH", "25"))
_SETTLE_S = 45.0
"""Seconds until the last IpNode tells how many claims it has got."""
_PATIENCE_S = 600.0


def measure() -> Iterator[Figure]:
    """Measure a small cluster, then a large one."""
    few = _Rest(_SMALL)
    yield from few.events
    many = _Rest(_LARGE)
    yield from many.events
    for name, unit, bound in (
        ("requests", "/s", 1.5),
        ("bytes received", "B/s", 1.5),
        ("processor", "ms/s", 1.5),
    ):
        yield Figure(
            what=f"at rest, of {_LARGE} controllers each: {name}",
            measured=many.rest.each[name],
            unit=unit,
            at_most=bound,
            baseline=few.rest.each[name],
            baseline_name=f"of {_SMALL}",
        )
    for kind, received in sorted(many.rest.watched.items()):
        yield Figure(
            what=f"of these bytes, by watches of {kind}",
            measured=received,
            unit="B/s",
            at_most=None,
            kind="difference",
            baseline=few.rest.watched.get(kind, 0.0),
            baseline_name=f"of {_SMALL}",
        )
    yield Figure(
        what=f"cold start of {_LARGE} controllers: received by each",
        measured=many.start_mb,
        unit="MB",
        at_most=None,
        baseline=few.start_mb,
        baseline_name=f"of {_SMALL}",
    )
    yield Figure(
        what=f"{_LARGE} controllers in one process: resident memory of each",
        measured=many.last["resident_mb"] / _LARGE,
        unit="MB",
        at_most=None,
        kind="value",
    )


class _Rest:
    """A cluster of `count` nodes, from its cold start to the death of a node."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.events: list[Figure] = []
        self.rest: Spent
        self.last: dict[str, float] = {}
        self.start_mb = 0.0
        """Megabytes that each controller received in a cold start of all."""
        with Lab(nodes=0, node_grace_s=LONG_S) as lab:
            self._run(lab)

    def _run(self, lab: Lab) -> None:
        claims = self.count * _CLAIMS_EACH
        program.run(lab.switch, "fill", lab.kubeconfig, claims, 1)
        kubelets = start(lab, "kubelets", self.count)
        kubelets.wait_for_output("^ready$", timeout=_PATIENCE_S)
        cluster = ClaimsCluster(lab, scheduler=("--rebalance-after=0s",))
        cluster.start()
        began = time.monotonic()
        controllers = start(lab, "controllers", self.count)
        self._wait_up(controllers, claims)
        self._note("cold start until all IPs are up", time.monotonic() - began)
        self.start_mb = totals(controllers)["received"] / 1e6 / self.count
        cluster.wait_quiet(timeout=_PATIENCE_S)
        time.sleep(_SETTLE_S)
        self.rest = at_rest(controllers, self.count)
        self.last = totals(controllers)
        began = time.monotonic()
        controllers.kill(signal.SIGUSR1)
        time.sleep(1.5)  # until the process has said that it has fewer
        self._wait_up(controllers, claims)
        self._note("a node dies, until its IPs are up elsewhere", time.monotonic() - began)
        began = time.monotonic()
        cluster.start_scheduler()
        cluster.schedulers[0].process.kill()
        cluster.schedulers[1].wait_for_event("leadership_acquired")
        self._note("the leader dies, until another leads", time.monotonic() - began)
        for process in (controllers, kubelets):
            process.terminate(timeout=60)

    def _wait_up(self, controllers: Process, claims: int) -> None:
        wait_until(
            lambda: totals(controllers).get("up") == claims,
            f"{claims} IPs to be up",
            timeout=_PATIENCE_S,
            poll_s=0.2,
        )

    def _note(self, what: str, seconds: float) -> None:
        self.events.append(
            Figure(
                what=f"{self.count} nodes, {self.count * _CLAIMS_EACH:,} IPs: {what}",
                measured=seconds,
                unit="s",
                at_most=None,
                kind="value",
            )
        )
