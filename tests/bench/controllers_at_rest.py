"""What whole controllers in one process spend and receive, on a real API server."""

import json
import os
import time
from dataclasses import dataclass
from typing import Any

from tests.bench import program
from tests.lab.cluster import Lab
from tests.lab.process import Process

WINDOW_S = float(os.environ.get("EXTIP_BENCH_WINDOW_S", "60"))
LONG_S = 3600.0
"""The grace period of nodes: the kubelets of a bench write their Nodes, and renew no Leases."""
_WINDOWS = 5
"""More windows that are tried until there is one in which nothing but heartbeats is written."""
_TOTALS = ("at", "up", "cpu_s", "resident_mb")
_RECEIVED = "received"


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """What one controller spends and receives in a second."""

    each: dict[str, float]
    """Requests, bytes received, and milliseconds of a processor."""
    watched: dict[str, float]
    """The bytes that watches bring, by kind."""


def start(lab: Lab, name: str, *arguments: object) -> Process:
    """Start one of the programs beside the API server."""
    command = program.argv(name, lab.kubeconfig, *arguments)
    return lab.switch.start(command, env=program.environment(), name=name)


def totals(process: Process) -> dict[str, Any]:
    """Return what the controllers said last; nothing before they said anything."""
    lines = [line for line in process.lines().splitlines() if line.startswith("{")]
    said = [line for line in lines if '"up"' in line]
    found: dict[str, Any] = json.loads(said[-1]) if said else {}
    return found


def at_rest(process: Process, count: int) -> Spent:
    """Measure for a while in which nothing happens, as far as there is such a while."""
    spent = _window(process)
    for _ in range(_WINDOWS):
        if not any(spent[name] for name in spent if name.startswith("patch ")):
            break
        spent = _window(process)  # the machine was too busy for heartbeats
    share = spent["at"] * count
    requests = (n for name, n in spent.items() if name not in _TOTALS and _RECEIVED not in name)
    return Spent(
        each={
            "requests": sum(requests) / share,
            "bytes received": spent[_RECEIVED] / share,
            "processor": 1000 * spent["cpu_s"] / share,
        },
        watched={
            name.partition(" ")[2]: spent[name] / share
            for name in spent
            if name.startswith(f"{_RECEIVED} ")
        },
    )


def _window(process: Process) -> dict[str, float]:
    before = totals(process)
    time.sleep(WINDOW_S)
    after = totals(process)
    return {name: after[name] - before.get(name, 0.0) for name in after}
