"""What a person waits for: the start of the program itself."""

import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from tests.bench.figure import Figure
from tests.bench.sampling import MS, alternate, median, run_time_s

_ROUNDS = 15


def measure() -> Iterator[Figure]:
    """Ask for help, against an interpreter that does nothing."""
    extip = Path(sys.executable).with_name("extip")
    by_extip, by_python = alternate(
        _ROUNDS,
        partial(run_time_s, [extip, "--help"]),
        partial(run_time_s, [sys.executable, "-c", "pass"]),
    )
    yield Figure(
        what="extip --help",
        measured=MS * median(by_extip),
        unit="ms",
        baseline=MS * median(by_python),
        baseline_name="python -c pass",
        at_most=4,
    )
