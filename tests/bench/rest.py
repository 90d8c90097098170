"""What extip takes when nothing happens: memory and processor."""

import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.bench import program
from tests.bench.figure import Figure
from tests.lab.cluster import Lab
from tests.lab.extip import Extip
from tests.lab.wait import wait_until

_COUNT = 1000
_SETTLE_S = 5.0
"""Until the last announcement of the burst is out."""

_WINDOW_S = 62.0
"""Covers three resyncs, four refreshes and one repeated announcement of every address."""

_NO_SERVICE = "--service-selector=app.kubernetes.io/name=none"


def measure() -> Iterator[Figure]:
    """Let extip be on two nodes at the same time, one without and one with a thousand addresses."""
    with Lab(nodes=2) as lab:
        program.run(lab.switch, "fill", lab.kubeconfig, _COUNT, 1)
        idle = Extip(lab.nodes["n1"], "simple", _NO_SERVICE, kubeconfig=lab.kubeconfig)
        busy = Extip(lab.nodes["n2"], "simple", kubeconfig=lab.kubeconfig)
        idle.wait_for_event("reconcile_succeeded")
        wait_until(lambda: len(busy.addresses()) == _COUNT, f"{_COUNT} addresses")
        time.sleep(_SETTLE_S)
        extips = (idle, busy)
        shares = _processor_percent(extips)
        for extip, count, percent in zip(extips, (0, _COUNT), shares, strict=True):
            yield Figure(
                what=f"at rest with {count:,} addresses: resident memory",
                measured=_resident_mb(extip.process.pid),
                unit="MB",
                at_most=65,
                kind="value",
            )
            yield Figure(
                what=f"at rest with {count:,} addresses: processor",
                measured=percent,
                unit="%",
                at_most=0.5,
                kind="value",
            )


def _processor_percent(extips: Sequence[Extip]) -> list[float]:
    """Return what share of one core each of them takes over a time in which nothing happens."""
    before, started = [_cpu_s(extip.process.pid) for extip in extips], time.monotonic()
    time.sleep(_WINDOW_S)
    after, elapsed = [_cpu_s(extip.process.pid) for extip in extips], time.monotonic() - started
    return [100 * (b - a) / elapsed for a, b in zip(before, after, strict=True)]


def _cpu_s(pid: int) -> float:
    """Return the processor time of all threads, as the scheduler counts it, in nanoseconds."""
    threads = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((thread / "schedstat").read_text().split()[0]) for thread in threads) / 1e9


def _resident_mb(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20
