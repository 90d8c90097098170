"""`make sim SEEDS=n`: n histories on all cores; `make sim SEED=k`: one, with its log."""

import logging
import os
import sys
import time
from collections.abc import Mapping, MutableMapping
from random import SystemRandom
from typing import Any

import structlog

from tests.fakes.hosts import LIFE, hosts_loop
from tests.simulation.history import END_S, SCENE, History, play
from tests.simulation.runs import Report, hash_alike, run_seeds

DEFAULT_SEEDS = 100


def main() -> int:
    """Return the exit code: 1 when a promise was broken."""
    if one := os.environ.get("SEED"):
        return replay(int(one))
    count = int(os.environ.get("SEEDS") or DEFAULT_SEEDS)
    first = int(os.environ.get("FIRST") or SystemRandom().randrange(10**9))
    cores = len(os.sched_getaffinity(0))
    print(
        f"sim: {count} histories of {END_S:.0f} s, {len(SCENE.nodes)} nodes and "
        f"{len(SCENE.schedulers)} schedulers each, on {cores} cores; FIRST={first}",
        flush=True,
    )
    began, report = time.monotonic(), Report()
    for run in run_seeds(range(first, first + count), workers=cores):
        report.add(run)
        if run.violations:
            print(f"\nSEED={run.seed}", *run.violations, run.shortest, sep="\n", flush=True)
    took_s = time.monotonic() - began
    print(
        f"\nsim: {report.runs} histories, {report.cluster_hours:.1f} cluster-hours in "
        f"{took_s:.0f} s ({report.runs / took_s:.1f} a second); {len(report.failed)} failed",
        f"sim: {report.coverage()}",
        sep="\n",
    )
    return 1 if report.failed else 0


def replay(seed: int) -> int:
    """Play one seed, with the log of its processes when `LOG` is set."""
    if os.environ.get("PYTHONHASHSEED") != "0":  # sets of strings have another order otherwise
        os.environ["PYTHONHASHSEED"] = "0"
        os.execv(sys.executable, [sys.executable, "-m", "tests.simulation"])  # noqa: S606
    level = logging.DEBUG if os.environ.get("LOG") == "debug" else logging.INFO
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(
            level if os.environ.get("LOG") else logging.CRITICAL
        ),
        processors=[_stamped, structlog.processors.KeyValueRenderer(key_order=["s", "who"])],
    )
    hash_alike()
    history = History.draw(seed)
    print(history)
    outcome = play(history)
    print(*outcome.violations or ("every promise was kept",), sep="\n")
    return 1 if outcome.violations else 0


def _stamped(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> Mapping[str, Any]:
    life = LIFE.get()
    return dict(event) | {"s": round(hosts_loop().now, 2), "who": life.name if life else ""}


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("sim: interrupted")
