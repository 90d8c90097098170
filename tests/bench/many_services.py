"""One more service, pods that restart, and a controller at rest, in a cluster of many services.

An empty cluster runs beside it, and each has its turn: so both have the same machine. The services
are kube-proxy's in neither, whose passes would hide the rest. Other stations are not asked first
(`--probe 0s`), which takes the same time in both. A service is up when its address is announced on
the wire. The many services have their IPs on nodes that only send heartbeats, so that the two real
nodes have equal work in both clusters.
"""

import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from statistics import mean

from tests.bench import program
from tests.bench.balancers import address
from tests.bench.controllers_at_rest import LONG_S, Spent, at_rest, start, totals
from tests.bench.failover_cluster import ClaimsCluster
from tests.bench.figure import Figure
from tests.bench.rest import _cpu_s, _processor_percent
from tests.bench.sampling import MS, alternate, median
from tests.lab.api import GROUP
from tests.lab.cluster import Lab
from tests.lab.network import external_v4
from tests.lab.wait import wait_until

_COUNT = int(os.environ.get("EXTIP_BENCH_SERVICES", "2000"))
_NODES = ("n1", "n2")
_SIMULATED, _HEARTBEAT_S = 20, 2.0
_ROUNDS = 10
"""Of each kind: with both, each node of the empty cluster gets as many IPs as `_HELD`."""
_AFTER_S = 4.0
"""Until all that follows from a service is written: its status, the standby, the report."""
_SETTLE_S = 45.0
"""Until the last IpNode tells how many claims it has got."""
_MOST = 2 * _COUNT
"""The addresses of the pool."""
_PATIENCE_S = 600.0
_CONTROLLERS, _HELD = 4, 10
_SPARED = {"service.kubernetes.io/service-proxy-name": "none"}

_BOUND, _BOUND_CPU, _BOUND_PERCENT = 1.2, 1.33, 2


@dataclass(frozen=True, slots=True)
class _Cost:
    """What one more service costs."""

    up_s: float
    cpu_s: float
    """Of the scheduler, without its share at rest."""


def measure() -> Iterator[Figure]:
    """Measure both clusters in turn."""
    with ExitStack() as stack:
        empty, full = (
            _Cluster(stack.enter_context(Lab(nodes=len(_NODES), node_grace_s=LONG_S)), count)
            for count in (0, _COUNT)
        )
        empty.rest, full.rest = _shares(empty, full)
        for balanced in (False, True):
            yield from _one_more(empty, full, balanced=balanced)
        with full.restarting_pods():
            shares = _shares(empty, full)
            yield Figure(
                what=f"the scheduler, {_COUNT:,} services, two pods restart a second: processor",
                measured=100 * shares[1],
                unit="%",
                baseline=100 * full.rest,
                baseline_name="none restarts",
                at_most=_BOUND_PERCENT,
                kind="value",
            )
            yield from _controllers(empty, full)


def _one_more(empty: "_Cluster", full: "_Cluster", *, balanced: bool) -> Iterator[Figure]:
    runs = alternate(
        _ROUNDS, lambda: empty.one_more(balanced=balanced), lambda: full.one_more(balanced=balanced)
    )
    without, among = (costs[1:] for costs in runs)  # the first of a kind costs more
    kind = "an address of a pool" if balanced else "an external IP"
    yield Figure(
        what=f"one more service than {_COUNT:,}, {kind}: up",
        measured=MS * median([cost.up_s for cost in among]),
        unit="ms",
        baseline=MS * median([cost.up_s for cost in without]),
        baseline_name="in an empty cluster",
        at_most=_BOUND,
    )
    yield Figure(
        what="the scheduler's processor for it, in all",
        measured=MS * mean(cost.cpu_s for cost in among),
        unit="ms",
        baseline=MS * mean(cost.cpu_s for cost in without),
        baseline_name="in an empty cluster",
        at_most=_BOUND_CPU,
    )


def _shares(empty: "_Cluster", full: "_Cluster") -> list[float]:
    """Return how much of a core each of the schedulers takes when no service comes."""
    schedulers = [cluster.scheduler for cluster in (empty, full)]
    return [percent / 100 for percent in _processor_percent(schedulers)]


def _controllers(empty: "_Cluster", full: "_Cluster") -> Iterator[Figure]:
    among, without = full.controllers(), empty.controllers()
    for name, unit, bound in (
        ("requests", "/s", 1.2),
        ("bytes received", "B/s", 1.5),
        ("processor", "ms/s", 1.5),
    ):
        yield Figure(
            what=f"a controller with {_HELD} of {_COUNT:,} IPs at rest: {name}",
            measured=among.each[name],
            unit=unit,
            baseline=without.each[name],
            baseline_name=f"with {_HELD} of few",
            at_most=bound,
        )


class _Cluster:
    """Two real nodes, and others for so many services."""

    rest = 0.0
    """How much of a core the scheduler takes when nothing happens."""

    def __init__(self, lab: Lab, services: int) -> None:
        self._lab, self._services = lab, services
        self._cluster = ClaimsCluster(
            lab, controller=["--probe=0s"], scheduler=["--rebalance-after=0s"]
        )
        self._cluster.start()
        self.scheduler = self._cluster.schedulers[0]
        lab.apply(
            {
                "apiVersion": "ipcontroller.ext/v1",
                "kind": "IpClaimPool",
                "metadata": {"name": "bench"},
                "spec": {"cidr": "10.88.64.0/18", "ranges": [[address(0), address(_MOST - 1)]]},
            }
        )
        path = f"{GROUP}/ipclaimpools/bench"
        wait_until(lambda: lab.api.get(path).get("status", {}).get("size"), "the pool")
        if services:
            self._fill()
        for node in _NODES:
            self._cluster.start_controller(node)
        self._next = {False: services, True: services}
        """The numbers of the next service with an external IP, and of the next one of the pool."""

    def one_more(self, *, balanced: bool) -> _Cost:
        """Create one; return what it costs."""
        number = self._next[balanced]
        ips = [address(n) for n in range(_MOST)] if balanced else [external_v4(number)]
        with self._lab.observe(ips, interval_s=0) as observer:
            created, before = time.monotonic(), _cpu_s(self.scheduler.process.pid)
            name = self._create(balanced=balanced)
            time.sleep(_AFTER_S)
            spent_s = _cpu_s(self.scheduler.process.pid) - before
            spent_s -= self.rest * (time.monotonic() - created)
            ip = self._address_of(name) if balanced else ips[0]
            up = observer.wait_for_announcement(ip, after_s=created).time_s
            return _Cost(up - created, spent_s)

    def _create(self, *, balanced: bool) -> str:
        number = self._next[balanced]
        self._next[balanced] += 1
        name = f"more-{int(balanced)}-{number}"
        kind = {"type": "LoadBalancer", "ipFamilyPolicy": "SingleStack"} if balanced else {}
        self._lab.add_service(
            name,
            [] if balanced else [external_v4(number)],
            spec=kind,
            metadata={"labels": _SPARED},
        )
        return name

    def _address_of(self, name: str) -> str:
        path = f"/api/v1/namespaces/default/services/{name}"
        ways = wait_until(
            lambda: self._lab.api.get(path)["status"]["loadBalancer"].get("ingress"),
            f"an address of {name}",
        )
        return str(ways[0]["ip"])

    @contextmanager
    def restarting_pods(self) -> Iterator[None]:
        """Let two pods of the services restart each second."""
        command = program.argv("many_services", self._lab.kubeconfig, self._services, "restart")
        running = self._lab.switch.start(command, env=program.environment(), name="restart")
        yield
        assert running.running, running.output()
        running.terminate()

    def controllers(self) -> Spent:
        """Start some more controllers, and let them rest with the next IPs."""
        controllers = start(self._lab, "controllers", _CONTROLLERS)
        wait_until(
            lambda: totals(controllers).get("patch ipnodes/status", 0) >= _CONTROLLERS,
            "all controllers to have registered",
        )
        for _ in range(_CONTROLLERS * _HELD):
            self._create(balanced=True)
        wait_until(
            lambda: totals(controllers).get("up") == _CONTROLLERS * _HELD, "their IPs to be up"
        )
        time.sleep(_SETTLE_S)
        try:
            return at_rest(controllers, _CONTROLLERS)
        finally:
            controllers.terminate(timeout=60)

    def _fill(self) -> None:
        heartbeats = program.argv("heartbeats", self._lab.kubeconfig, _SIMULATED, _HEARTBEAT_S)
        self._lab.switch.start(heartbeats, env=program.environment(), name="heartbeats")
        program.run(self._lab.switch, "many_services", self._lab.kubeconfig, self._services, "fill")
        wait_until(
            lambda: sum(map(bool, self._cluster.placed().values())) == self._services,
            "all claims to have nodes",
            timeout=_PATIENCE_S,
            poll_s=2.0,
        )
        self._cluster.wait_quiet(timeout=_PATIENCE_S)
