"""A service is created: how long until its IP answers, with claims and in simple mode.

As in `first_answer`, with both modes one after the other on the same node, and neither asking other
stations first (`--probe 0s`), which takes the same time in both.
"""

import os
from collections.abc import Iterator

from tests.bench.failover_cluster import ClaimsCluster
from tests.bench.figure import Figure
from tests.bench.first_answer import _hurry_kube_proxy, _pair
from tests.bench.sampling import MS, median
from tests.lab.cluster import Lab
from tests.lab.extip import Extip

_PAIRS = int(os.environ.get("EXTIP_BENCH_PAIRS", "50"))
_BLOCKS = 2
_BOUND = 1.5
_UNPROBED = "--probe=0s"


def measure() -> Iterator[Figure]:
    """Create services under one mode and the other in turn."""
    simple: list[tuple[float, float]] = []
    claims: list[tuple[float, float]] = []
    with Lab(nodes=1) as lab:
        node = lab.nodes["n1"]
        _hurry_kube_proxy(lab, node)
        numbers = iter(range(_PAIRS))
        for _ in range(_BLOCKS):
            extip = Extip(node, "simple", _UNPROBED, kubeconfig=lab.kubeconfig)
            extip.wait_for_event("reconcile_succeeded")
            block = [next(numbers) for _ in range(_PAIRS // 2 // _BLOCKS)]
            simple += [_pair(lab, node, number) for number in block]
            extip.process.terminate()
            _delete_services(lab, block)
            cluster = ClaimsCluster(lab, controller=[_UNPROBED])
            cluster.start("n1")
            block = [next(numbers) for _ in range(_PAIRS // 2 // _BLOCKS)]
            claims += [_pair(lab, node, number) for number in block]
            _delete_services(lab, block)
            cluster.stop()
    by_claims, by_simple = (MS * median([pair[0] for pair in pairs]) for pairs in (claims, simple))
    yield Figure(
        what="service created, first answer by its IP, p50",
        measured=by_claims,
        unit="ms",
        baseline=by_simple,
        baseline_name="extip simple",
        at_most=_BOUND,
    )
    yield Figure(
        what="the same, beyond an address that is there beforehand",
        measured=MS * median([a - b for a, b in claims]),
        unit="ms",
        baseline=MS * median([a - b for a, b in simple]),
        baseline_name="extip simple",
        at_most=None,
        kind="difference",
    )


def _delete_services(lab: Lab, numbers: list[int]) -> None:
    for number in numbers:
        lab.delete_service(f"web-{number}")
