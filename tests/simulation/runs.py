"""Many histories on all cores, each in a process whose hashes are the same every time."""

import ctypes
import gc
import logging
import os
import signal
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from ipaddress import IPv6Address
from multiprocessing import get_context

import structlog

from tests.simulation.faults import FAULTS
from tests.simulation.history import END_S, History, Violation, play
from tests.simulation.shrink import shrink

_PR_SET_PDEATHSIG = 1  # linux/prctl.h

STATES = ("steady", "moving", "two-holders", "scheduler-gone", "node-gone")


@dataclass(frozen=True)
class Run:
    """What one seed showed."""

    seed: int
    violations: tuple[Violation, ...]
    pairs: Counter[tuple[str, str]]
    requests: str
    shortest: str = ""
    """The shortest history that still fails, as it is written in a test."""


@dataclass
class Report:
    """What all of them showed."""

    runs: int = 0
    failed: list[Run] = field(default_factory=list)
    pairs: Counter[tuple[str, str]] = field(default_factory=Counter)

    def add(self, run: Run) -> None:
        self.runs += 1
        self.pairs += run.pairs
        if run.violations:
            self.failed.append(run)

    @property
    def cluster_hours(self) -> float:
        return self.runs * END_S / 3600

    def coverage(self) -> str:
        """Say which faults began in which state of the cluster, other faults included."""
        harmful = [name for name, kind in FAULTS.items() if not kind.harmless]
        possible = {(kind, state) for kind in FAULTS for state in (*STATES, *harmful)}
        missing = sorted(possible - self.pairs.keys())
        few = ", ".join(f"{kind} in {state}" for kind, state in missing[:5])
        reached = len(possible) - len(missing)
        text = f"{reached} of {len(possible)} pairs of fault and state"
        return f"{text}; never: {few}{', ...' if len(missing) > 5 else ''}" if few else text


def run_seed(seed: int) -> Run:
    """Play the history of a seed, and shrink it when it fails."""
    prepare()
    history = History.draw(seed)
    outcome = play(history)
    shortest = ""
    if outcome.violations:
        shortest = str(shrink(history, outcome.violations[0].invariant))
    return Run(seed, tuple(outcome.violations), outcome.pairs, outcome.requests, shortest)


def run_seeds(seeds: Iterable[int], *, workers: int) -> Iterator[Run]:
    """Yield what seeds show, as soon as they do."""
    os.environ["PYTHONHASHSEED"] = "0"  # of the workers, which begin with a new interpreter
    pool = ProcessPoolExecutor(
        workers,
        mp_context=get_context("spawn"),
        initializer=_end_with_parent,
        initargs=(os.getpid(),),
    )
    try:
        for done in as_completed([pool.submit(run_seed, seed) for seed in seeds]):
            yield done.result()
    finally:
        pool.shutdown(cancel_futures=True)


def _end_with_parent(parent: int) -> None:
    """Have the kernel end this process when the one that started it is killed."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it was killed before
        os._exit(1)


def hash_alike() -> None:
    """Have IPv6 addresses in sets come in the same order in each process.

    Before Python 3.12 their hash has that of None in it, which is a place in memory.
    """
    IPv6Address.__hash__ = _hash_of_number  # type: ignore[assignment, method-assign]


def _hash_of_number(address: IPv6Address) -> int:
    return hash(int(address))


def prepare() -> None:
    """Let no process of a simulation log, and the collector pass over what was imported."""
    hash_alike()
    if gc.get_freeze_count() == 0:
        gc.collect()
        gc.freeze()
    quiet = structlog.make_filtering_bound_logger(logging.CRITICAL)
    structlog.configure(wrapper_class=quiet)
