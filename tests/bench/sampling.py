"""Alternating runs and what is made of them."""

import statistics
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

MS = 1000.0


def alternate(rounds: int, *arms: Callable[[], T], pause_s: float = 0.0) -> tuple[list[T], ...]:
    """Run the arms in turn, `rounds` times; return each arm's results.

    Every other round goes backwards, so that no arm always profits from what the one before left
    behind; `pause_s` follows each run.
    """
    results: tuple[list[T], ...] = tuple([] for _ in arms)
    numbered = list(zip(arms, results, strict=True))
    for number in range(rounds):
        for arm, found in numbered if number % 2 == 0 else reversed(numbered):
            found.append(arm())
            time.sleep(pause_s)
    return results


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


def percentile(values: Sequence[float], percent: int) -> float:
    """Return the smallest value that `percent` of all values do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)]


def run_time_s(argv: Sequence[str | Path]) -> float:
    """Run a program to its end and return how long that took, in seconds; its output is dropped."""
    started = time.perf_counter()
    subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started
