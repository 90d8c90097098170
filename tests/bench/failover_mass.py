"""A node with many claims dies: how long until the last one is announced elsewhere.

One write names all claims, and the standbys take them. The claims themselves are assigned later.

From the scheduler's verdict on, as its log has it: what comes before it does not depend on how many
claims there are. The last announcement is that on the wire.

The baseline is what aiohttp alone needs for the same thousand patches of claims that a plain client
has made, when nobody watches and nobody else writes. Beside it stands what it needs for those of
extip, whose field owners the API server does not book: that brings them back to the node that is to
die next, as extip would write it. The API server is started anew for each death: it keeps the
connections of a node that has died for minutes, and writes to them.

A plain client gives each claim a standby, since extip writes 32 of them a second. What extip would
have otherwise it changes before the death.
"""

import os
import time
from collections.abc import Iterator
from datetime import datetime

from extip.scheduling.failovers import ACTS_AFTER_S
from tests.bench import program
from tests.bench.failover_cluster import CLAIMS, ClaimsCluster
from tests.bench.figure import Figure
from tests.bench.sampling import MS, median
from tests.lab.cluster import Lab
from tests.lab.network import external_v4

_COUNT = int(os.environ.get("EXTIP_BENCH_MASS_CLAIMS", "1000"))
_ROUNDS = int(os.environ.get("EXTIP_BENCH_MASS_ROUNDS", "5"))
_CONNECTIONS = 16
"""As many as extip's scheduler uses; more make it no faster."""

_PATIENCE_S = max(600.0, 0.3 * _COUNT)
_BOUND = 0.6
_VICTIM, _SURVIVORS = "n1", ("n2", "n3")
_SCHEDULER = ("--rebalance-after=0s",)
_BY_HAND = "bench"
"""Label of claims that a plain client has made."""


def measure() -> Iterator[Figure]:
    """Let the node die, bring it and its claims back, again and again."""
    ips = [external_v4(number) for number in range(_COUNT)]
    moved: list[float] = []
    announced: list[float] = []
    bare: list[float] = []
    bare_of_ours: list[float] = []
    with Lab(nodes=3) as lab:
        cluster = ClaimsCluster(lab, scheduler=_SCHEDULER)
        cluster.start(_VICTIM)
        program.run(lab.switch, "fill", lab.kubeconfig, _COUNT, 1, timeout_s=_PATIENCE_S)
        cluster.wait_settled(ips, timeout=_PATIENCE_S)
        for number in range(_ROUNDS):
            if number:
                lab.api_server.restart()
                lab.nodes[_VICTIM].revive()
                cluster.start(_VICTIM)
            for node in _SURVIVORS:
                cluster.start_controller(node)
            _patched_s(lab, f"!{_BY_HAND}", *_SURVIVORS)
            cluster.wait_quiet(timeout=_PATIENCE_S)
            time.sleep(ACTS_AFTER_S)  # new controllers trust their watches
            times = _death(cluster, ips)
            moved.append(times[0])
            announced.append(times[1])
            cluster.end()
            bare.append(_of_a_plain_client(lab))
            bare_of_ours.append(_patched_s(lab, f"!{_BY_HAND}"))
    for what, runs, bound in (
        ("up and announced", announced, _BOUND),
        ("named by their claims", moved, None),
        ("patches of extip's own claims by aiohttp", bare_of_ours, None),
    ):
        yield Figure(
            what=f"{_COUNT:,} claims of a dead node: {what}",
            measured=MS * median(runs),
            unit="ms",
            baseline=MS * median(bare),
            baseline_name="aiohttp, the patches",
            at_most=bound,
        )


def _of_a_plain_client(lab: Lab) -> float:
    """Return the seconds that aiohttp needs for as many claims that are no extip's."""
    about = _COUNT, _SURVIVORS[0], _BY_HAND
    program.run(lab.switch, "claims", lab.kubeconfig, *about, timeout_s=_PATIENCE_S)
    try:
        return _patched_s(lab, _BY_HAND)
    finally:
        lab.api.discard_all(CLAIMS, label=_BY_HAND)


def _patched_s(lab: Lab, selector: str, *standbys: str) -> float:
    how = _VICTIM, _CONNECTIONS, selector, *standbys
    taken_s: float = program.run(lab.switch, "patch", lab.kubeconfig, *how, timeout_s=_PATIENCE_S)
    return taken_s


def _death(cluster: ClaimsCluster, ips: list[str]) -> tuple[float, float]:
    """Kill the node; return the seconds from the verdict to the last write and announcement."""
    (scheduler,) = [s for s in cluster.schedulers if s.process.running]
    with cluster.lab.observe(ips, interval_s=0) as observer:
        died = time.monotonic()
        cluster.lab.nodes[_VICTIM].die()
        first = [observer.wait_for_announcement(ip, after_s=died).time_s for ip in ips]
    verdict = scheduler.wait_for_event("node_liveness_changed", node=_VICTIM, state="dead")
    scheduler.wait_for_event("failover_over", node=_VICTIM, timeout=_PATIENCE_S)
    written = [_logged(event["timestamp"]) for event in scheduler.events("claim_assigned")]
    by_then = time.monotonic() - time.time()
    on_admission = _logged(verdict["timestamp"])
    return max(written) - on_admission, max(first) - (on_admission + by_then)


def _logged(timestamp: str) -> float:
    return datetime.fromisoformat(timestamp).timestamp()
