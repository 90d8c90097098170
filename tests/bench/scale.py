"""What each controller of a large cluster takes, on a real API server.

The controllers run in one process, each with its own connection, over kernels in memory. Each has
25 claims, so the cluster grows and a node's own work does not. What it waits for is told on stderr.
"""

import os
import signal
import time
from collections.abc import Iterator

from tests.bench import program
from tests.bench.controllers_at_rest import LONG_S, Spent, at_rest, start, totals
from tests.bench.failover_cluster import ClaimsCluster
from tests.bench.figure import Figure
from tests.bench.progress import NEVER, Progress
from tests.lab.api import GROUP
from tests.lab.cluster import Lab
from tests.lab.errors import LabError
from tests.lab.process import Process

_SMALL, _LARGE = map(int, os.environ.get("EXTIP_BENCH_NODES", "20,200").split(","))
_CLAIMS_EACH = int(os.environ.get("EXTIP_BENCH_CLAIMS_EACH", "25"))
_SETTLE_S = 45.0
"""Seconds until the last IpNode tells how many claims it has got."""
_PATIENCE_S = 1200.0
"""Seconds for one wait; it ends before when nothing goes on."""


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
        self.claims = count * _CLAIMS_EACH
        self.events: list[Figure] = []
        self.rest: Spent
        self.last: dict[str, float] = {}
        self.start_mb = 0.0
        """Megabytes that each controller received in a cold start of all."""
        self._progress = Progress(f"scale, {count} nodes")
        with Lab(nodes=0, node_grace_s=LONG_S) as lab:
            self._run(lab)

    def _run(self, lab: Lab) -> None:
        lab.install_definitions()
        self._progress.note(f"creating {self.claims} services and {self.count} nodes")
        program.run(lab.switch, "fill", lab.kubeconfig, self.claims, 1)
        kubelets = start(lab, "kubelets", self.count)
        kubelets.wait_for_output("^ready$", timeout=_PATIENCE_S)
        cluster = ClaimsCluster(lab, scheduler=("--rebalance-after=0s",))
        controllers = self._started(lab)
        began = time.monotonic()
        cluster.start_scheduler().wait_for_event("leadership_acquired")
        self._wait_up(controllers)
        self._note("the scheduler starts, until all IPs are up", time.monotonic() - began)
        self.start_mb = totals(controllers)["received"] / 1e6 / self.count
        self._wait_quiet(cluster)
        before = self._found_dead(cluster)
        self._progress.note("measuring while nothing happens")
        self.rest = at_rest(controllers, self.count)
        self.last = totals(controllers)
        if self._found_dead(cluster) > before:
            raise LabError(f"IPs moved meanwhile: the machine is too busy for {self.count} nodes")
        began = time.monotonic()
        controllers.kill(signal.SIGUSR1)
        time.sleep(1.5)  # until the process has said that it has fewer
        self._wait_up(controllers)
        self._note("a node dies, until its IPs are up elsewhere", time.monotonic() - began)
        began = time.monotonic()
        cluster.start_scheduler()
        cluster.schedulers[0].process.kill()
        cluster.schedulers[1].wait_for_event("leadership_acquired")
        self._note("the leader dies, until another leads", time.monotonic() - began)
        for process in (controllers, kubelets):
            process.terminate(timeout=60)

    def _started(self, lab: Lab) -> Process:
        """Start all controllers, and wait for their IpNodes: no scheduler runs yet.

        One that runs meanwhile gives all claims to the first few nodes. Their moves are then more
        work than the start, and on a busy machine heartbeats are late for it: more claims move.
        """
        controllers = start(lab, "controllers", self.count)
        took_s = self._progress.wait(
            f"{self.count} controllers to register",
            lambda: self.count - _registered(lab, controllers),
            at_most_s=_PATIENCE_S,
            poll_s=1.0,
        )
        self._note("cold start of the controllers", took_s)
        return controllers

    def _wait_up(self, controllers: Process) -> None:
        def missing() -> int:
            assert controllers.running, controllers.tail(50)
            return abs(self.claims - int(totals(controllers).get("up", 0)))

        self._progress.wait(f"{self.claims} IPs to be up", missing, at_most_s=_PATIENCE_S)

    def _wait_quiet(self, cluster: ClaimsCluster) -> None:
        """Wait until claims are not written any more, and IpNodes have told of their claims."""
        before: dict[str, str] = {}

        def written() -> int:
            nonlocal before
            last, before = before, cluster.versions()
            return len(before.items() - last.items())

        self._progress.wait(
            "claims that are written", written, at_most_s=_PATIENCE_S, stalled_s=NEVER, poll_s=2.0
        )
        time.sleep(_SETTLE_S)

    def _found_dead(self, cluster: ClaimsCluster) -> int:
        """Return how often a node was found dead, though all live: the machine is slow, or busy."""
        (scheduler,) = cluster.schedulers
        count = len(scheduler.events("node_liveness_changed", state="dead"))
        if count:
            self._progress.note(f"so far {count} times a node was found dead that lives")
        return count

    def _note(self, what: str, seconds: float) -> None:
        self.events.append(
            Figure(
                what=f"{self.count} nodes, {self.claims:,} IPs: {what}",
                measured=seconds,
                unit="s",
                at_most=None,
                kind="value",
            )
        )


def _registered(lab: Lab, controllers: Process) -> int:
    """Return how many nodes have told of themselves."""
    assert controllers.running, controllers.tail(50)
    nodes = lab.api.get(f"{GROUP}/ipnodes")["items"]
    return sum("links" in node.get("status", {}) for node in nodes)
