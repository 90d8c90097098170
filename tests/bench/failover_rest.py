"""What claims mode takes when nothing happens, in a cluster of many claims and nodes.

A hundred simulated controllers only send heartbeats. Ten thousand claims are spread over them.
Three real controllers come later, watch each other on the segment, and get the next ten each, since
they have none. Nothing is balanced meanwhile: a controller would come to hold a hundred claims.
"""

import time
from collections.abc import Callable, Iterator

from extip.uplink.policy.silence import WATCHED
from tests.bench import program
from tests.bench.failover_cluster import CLAIMS, NAMESPACE, ClaimsCluster
from tests.bench.figure import Figure
from tests.bench.rest import _cpu_s, _processor_percent, _resident_mb
from tests.lab.cluster import Lab
from tests.lab.wait import wait_until

_SERVICES, _NODES, _HELD = 10_000, 100, 10
_HEARTBEAT_S = 2.0
_WINDOW_S = 30.0
_PATIENCE_S = 900.0
_REAL = ("n1", "n2", "n3")
_IPS = [f"10.88.200.{n}" for n in range(1, len(_REAL) * _HELD + 1)]


def measure() -> Iterator[Figure]:
    """Measure heartbeats first, then fill the cluster and leave it alone."""
    with Lab(nodes=len(_REAL)) as lab:
        lab.create_namespace(NAMESPACE)
        cluster = ClaimsCluster(lab, scheduler=("--rebalance-after=1h",))
        cluster.start()
        yield _heartbeats(lab)
        program.run(lab.switch, "fill", lab.kubeconfig, _SERVICES, 1)
        wait_until(
            lambda: _count(cluster) == _SERVICES, "all claims", timeout=_PATIENCE_S, poll_s=5.0
        )
        for node in _REAL:
            cluster.start_controller(node)
        lab.add_service("web", _IPS, namespace=NAMESPACE)
        wait_until(
            lambda: all(len(cluster.up_on(node)) == _HELD for node in _REAL),
            "their claims to be up",
        )
        cluster.wait_quiet(timeout=_PATIENCE_S)
        controller, scheduler = cluster.controllers["n1"], cluster.schedulers[0]
        wait_until(
            lambda: controller.metric("extip_link_watched") == WATCHED, "it to watch both others"
        )
        shares = _processor_percent((controller, scheduler))
        for who, process, percent, bounds in (
            (f"controller, {_HELD} of {_SERVICES:,} claims", controller, shares[0], (65, 0.5)),
            (
                f"scheduler, {_SERVICES:,} services, {_NODES} nodes",
                scheduler,
                shares[1],
                (None, None),
            ),
        ):
            yield Figure(
                what=f"{who}: resident memory",
                measured=_resident_mb(process.process.pid),
                unit="MB",
                at_most=bounds[0],
                kind="value",
            )
            yield Figure(
                what=f"{who}: processor",
                measured=percent,
                unit="%",
                at_most=bounds[1],
                kind="value",
            )


def _heartbeats(lab: Lab) -> Figure:
    """Compare the API server's processor time with and without; the heartbeats go on after it."""

    def cores() -> float:
        pid = lab.api_server.process.pid
        return _share(lambda: _cpu_s(pid))

    without = cores()
    command = program.argv("heartbeats", lab.kubeconfig, _NODES, _HEARTBEAT_S)
    lab.switch.start(command, env=program.environment(), name="heartbeats")
    leases = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases"
    wait_until(lambda: len(lab.api.get(leases)["items"]) > _NODES, "all heartbeats")
    return Figure(
        what=f"{_NODES} controllers' heartbeats: the API server's processor, cores",
        measured=cores() - without,
        unit="",
        at_most=0.15,
        kind="value",
    )


def _share(cpu_s: Callable[[], float]) -> float:
    before, started = cpu_s(), time.monotonic()
    time.sleep(_WINDOW_S)
    return (cpu_s() - before) / (time.monotonic() - started)


def _count(cluster: ClaimsCluster) -> int:
    return len(cluster.lab.api.get(CLAIMS)["items"])
