"""What the size of a cluster costs each of its controllers at rest, on a real API server.

A few whole controllers run. Of the other nodes there is what a controller can watch: a Node that a
kubelet keeps, and an IpNode.
"""

import os
from collections.abc import Iterator

from tests.bench import program
from tests.bench.controllers_at_rest import LONG_S, Spent, at_rest, start, totals
from tests.bench.figure import Figure
from tests.lab.cluster import Lab
from tests.lab.wait import wait_until

_SIZES = tuple(map(int, os.environ.get("EXTIP_BENCH_SIZES", "20,200,1000").split(",")))
_CONTROLLERS = 10
_PATIENCE_S = 600.0


def measure() -> Iterator[Figure]:
    """Measure clusters of several sizes, each against the smallest."""
    first: _Cluster | None = None
    for size in _SIZES:
        cluster = _Cluster(size)
        if first is None:
            first = cluster
            continue
        for name, unit, bound in (
            ("requests", "/s", 1.2),
            ("bytes received", "B/s", 1.5),
            ("processor", "ms/s", 1.5),
        ):
            yield Figure(
                what=f"a controller at rest, one of {size}: {name}",
                measured=cluster.rest.each[name],
                unit=unit,
                at_most=bound,
                baseline=first.rest.each[name],
                baseline_name=f"of {_SIZES[0]}",
            )
        yield Figure(
            what=f"its start, one of {size}: received",
            measured=cluster.start_mb,
            unit="MB",
            at_most=None,
            baseline=first.start_mb,
            baseline_name=f"of {_SIZES[0]}",
        )
        yield Figure(
            what=f"its resident memory ({_CONTROLLERS} in one process), one of {size}",
            measured=cluster.resident_mb,
            unit="MB",
            at_most=None,
            kind="difference",
            baseline=first.resident_mb,
            baseline_name=f"of {_SIZES[0]}",
        )


class _Cluster:
    """Controllers in a cluster of that many nodes."""

    rest: Spent

    def __init__(self, size: int) -> None:
        with Lab(nodes=0, node_grace_s=LONG_S) as lab:
            lab.install_definitions()
            program.run(lab.switch, "registered", lab.kubeconfig, _CONTROLLERS + 1, size)
            kubelets = start(lab, "kubelets", size)
            kubelets.wait_for_output("^ready$", timeout=_PATIENCE_S)
            controllers = start(lab, "controllers", _CONTROLLERS)
            wait_until(
                lambda: totals(controllers).get("patch ipnodes/status", 0) >= _CONTROLLERS,
                "all controllers to have registered",
                timeout=_PATIENCE_S,
            )
            self.start_mb = totals(controllers)["received"] / 1e6 / _CONTROLLERS
            self.rest = at_rest(controllers, _CONTROLLERS)
            self.resident_mb = totals(controllers)["resident_mb"] / _CONTROLLERS
            for process in (controllers, kubelets):
                process.terminate(timeout=60)
