"""Runs the programs of `tests.bench.inside` in hosts of a lab."""

import json
import sys
from pathlib import Path
from typing import Any

from tests.lab.host import Host

_ROOT = Path(__file__).parents[2]

TIMEOUT_S = 300.0


def argv(name: str, *arguments: object) -> list[str]:
    """Return the command line of one of the programs."""
    return [sys.executable, "-m", f"tests.bench.inside.{name}", *map(str, arguments)]


def environment() -> dict[str, str]:
    """Return what lets them find this package, wherever they are started."""
    return {"PYTHONPATH": str(_ROOT)}


def run(host: Host, name: str, *arguments: object, timeout_s: float = TIMEOUT_S) -> Any:
    """Run a program to its end; return the JSON that it printed. Raises LabError."""
    command = argv(name, *arguments)
    return json.loads(host.run(command, env=environment(), timeout=timeout_s).stdout)
