"""Lets a plan happen: each fault in a thread of its own, changes one after another."""

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial

from tests.lab.api import ApiStatusError
from tests.lab.errors import LabError
from tests.lab.wait import wait_until
from tests.soak.changes import CHANGES
from tests.soak.cluster import SoakCluster
from tests.soak.faults import Fault
from tests.soak.policy import plan
from tests.soak.policy.plan import Change, Planned

_PATIENCE_S = 60.0
"""A person goes on trying for so long when the API server does not answer."""


class Chaos:
    """Runs from `start` until `join`; what went wrong in doing it is the harness's own fault."""

    def __init__(
        self, cluster: SoakCluster, faults: Sequence[Planned], changes: Sequence[Change]
    ) -> None:
        self.faults: list[Fault] = []
        """Those that have begun."""
        self.changed: list[tuple[float, float, Change]] = []
        """With the begin and the end of each."""
        self.troubles: list[str] = []
        self._cluster = cluster
        self._began_s = 0.0
        self._over = threading.Event()
        self._there: set[str] = set()
        self._threads = [self._thread(self._suffer, fault) for fault in faults]
        self._threads.append(self._thread(self._change_all, changes))

    def _thread(self, target: Callable[..., None], about: object) -> threading.Thread:
        return threading.Thread(target=target, args=(about,), daemon=True)

    def start(self) -> None:
        self._began_s = time.monotonic()
        for thread in self._threads:
            thread.start()

    def join(self) -> None:
        """Wait until all that was planned is over, and every fault undone."""
        for thread in self._threads:
            thread.join()

    def _wait(self, at_s: float) -> None:
        self._over.wait(max(0.0, self._began_s + at_s - time.monotonic()))

    def _suffer(self, planned: Planned) -> None:
        self._wait(planned.begin_s)
        fault = Fault(planned=planned)
        self.faults.append(fault)
        try:
            fault.begin(self._cluster)
            self._wait(planned.end_s)
            fault.end(self._cluster)
        except (LabError, OSError, AssertionError) as error:
            self.troubles.append(f"{planned.kind.name} of {planned.target}: {error}")

    def _change_all(self, changes: Sequence[Change]) -> None:
        for change in changes:
            self._wait(change.at_s)
            try:
                wait_until(partial(self._change, change), str(change), timeout=_PATIENCE_S)
            except LabError as error:
                self.troubles.append(str(error))
        with suppress(LabError):
            self._restore()

    def _restore(self) -> None:
        """Let nothing be missing for good: all pods ready, the pool whole."""
        for subject in sorted(self._there & {*plan.NODES, plan.POOLED[-1]}):
            what = "pool" if subject == plan.POOLED[-1] else "endpoint"
            change = Change(at_s=0.0, what=what, subject=subject)
            wait_until(partial(self._change, change), "the end", timeout=_PATIENCE_S)

    def _change(self, change: Change) -> bool:
        """Do it once; returns True."""
        there, began_s = change.subject in self._there, time.monotonic()
        try:
            CHANGES[change.what](self._cluster, change.subject, there)
        except ApiStatusError as error:
            if error.status not in (404, 409):  # an earlier attempt took effect
                raise
        self.changed.append((began_s, time.monotonic(), change))
        self._there ^= {change.subject}
        return True
