"""Looks at the cluster every second: who wants which IP, where claims are, what programs take."""

import os
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Self

from tests.lab.api import ApiStatusError
from tests.soak.cluster import SoakCluster
from tests.soak.policy import plan
from tests.soak.policy.resources import Sample
from tests.soak.policy.state import by_ip, twice
from tests.soak.policy.windows import Holding, Presence, Span

_TICK_S = 0.05
_STALL_S = 0.2
"""A tick that comes so late is the machine's fault."""

_SLOW_S = 0.3
"""An API server without a fault that takes so long for an answer has no processor."""

_LOOK_S = 1.0
_TAKES_S = 5.0


class Sampler:
    """Two threads: one looks, the other one finds out when nothing here is scheduled."""

    def __init__(self, cluster: SoakCluster) -> None:
        self.stalls: list[Span] = []
        self.samples: dict[str, list[Sample]] = {}
        """By program: name and pid."""
        self.given_twice: set[str] = set()
        self._wanted = Presence()
        self._cluster = cluster
        self._placed = Presence()
        self._over = threading.Event()
        self._threads = [
            threading.Thread(target=self._look, name="sampler", daemon=True),
            threading.Thread(target=self._tick, name="ticker", daemon=True),
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def wanted(self) -> dict[str, list[Span]]:
        """Return the times in which services had each IP, each service's on its own."""
        found: dict[str, list[Span]] = {}
        for key, spans in self._wanted.spans().items():
            found.setdefault(key.partition(" ")[0], []).extend(spans)
        return found

    def placed(self) -> dict[str, list[Holding]]:
        """Return the nodes that each IP was claimed for."""
        found: dict[str, list[Holding]] = {}
        for key, spans in self._placed.spans().items():
            ip, _, node = key.partition(" ")
            found.setdefault(ip, []).extend(
                Holding(node=node, begin_s=span.begin_s, end_s=span.end_s) for span in spans
            )
        return found

    def _look(self) -> None:
        usage_due_s = 0.0
        while not self._over.wait(_LOOK_S):
            with suppress(OSError, ApiStatusError):  # the API server is away
                self._look_once()
            if time.monotonic() >= usage_due_s:
                usage_due_s = time.monotonic() + _TAKES_S
                self._measure()

    def _look_once(self) -> None:
        began_s = time.monotonic()
        services = self._cluster.services()
        now_s = time.monotonic()
        if now_s - began_s > _SLOW_S:
            self.stalls.append(Span(begin_s=began_s, end_s=now_s))
        self._wanted.see(now_s, [f"{ip} {one.uid}" for one in services for ip in one.ips])
        self.given_twice.update(twice(by_ip(services), set(plan.STEADY[:1])))
        placed = self._cluster.placed()
        self._placed.see(time.monotonic(), [f"{ip} {node}" for ip, node in placed.items()])

    def _measure(self) -> None:
        for name, one in list(self._cluster.running.items()):
            with suppress(OSError):  # it has just ended
                sample = taken(one.process.pid)
                self.samples.setdefault(f"{name} {one.process.pid}", []).append(sample)

    def _tick(self) -> None:
        last_s = time.monotonic()
        while not self._over.wait(_TICK_S):
            now_s = time.monotonic()
            if now_s - last_s > _STALL_S:
                self.stalls.append(Span(begin_s=last_s, end_s=now_s))
            last_s = now_s


def taken(pid: int) -> Sample:
    """Return what a process takes now; OSError when it has ended."""
    folder = Path(f"/proc/{pid}")
    pages = int((folder / "statm").read_text().split()[1])
    files = len(list((folder / "fd").iterdir()))
    memory_mib = pages * os.sysconf("SC_PAGE_SIZE") / 2**20
    return Sample(at_s=time.monotonic(), memory_mib=memory_mib, files=files)
