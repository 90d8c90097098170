"""What a person waits for: the start of the program itself, and its largest answer."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.bench import program
from tests.bench.figure import Figure
from tests.bench.sampling import MS, alternate, median, run_time_s

_ROUNDS, _STATUS_ROUNDS = 15, 5
_COUNT = 10_000


def measure() -> Iterator[Figure]:
    """Ask for help, against an interpreter that does nothing; then for the status of many IPs."""
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
    with _lists() as kubeconfig:
        command: list[str | Path] = [extip, "status", "--kubeconfig", kubeconfig]
        waited, processor = zip(*(_status_s(command) for _ in range(_STATUS_ROUNDS)), strict=True)
        what = f"extip status of {_COUNT:,} IPs, whose lists are there"
        for name, seconds in ((what, waited), ("the same: processor time", processor)):
            yield Figure(
                what=name,
                measured=MS * median(seconds),
                unit="ms",
                at_most=2000,
                kind="value",
            )


@contextmanager
def _lists() -> Iterator[Path]:
    """Yield the kubeconfig of a server that has the lists ready."""
    command = program.argv("lists", _COUNT)
    environment = {**os.environ, **program.environment()}
    with (
        TemporaryDirectory() as folder,
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as server,
    ):
        try:
            assert server.stdout is not None
            port = int(server.stdout.readline())
            kubeconfig = Path(folder) / "kubeconfig"
            kubeconfig.write_text(_kubeconfig(port))
            yield kubeconfig
        finally:
            server.terminate()


def _kubeconfig(port: int) -> str:
    cluster = {"name": "c", "cluster": {"server": f"http://127.0.0.1:{port}"}}
    context = {"name": "x", "context": {"cluster": "c", "user": "u"}}
    return json.dumps(
        {
            "clusters": [cluster],
            "users": [{"name": "u", "user": {"token": "t"}}],
            "contexts": [context],
            "current-context": "x",
        }
    )


def _status_s(command: list[str | Path]) -> tuple[float, float]:
    """Run `extip status`; return the time until its end, and its own processor time."""
    before = os.times()
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    after = os.times()
    rows = sum(line.startswith("10.99.") for line in done.stdout.splitlines())
    assert rows == _COUNT, f"{rows} rows; {done.stderr}"
    used, had = (one.children_user + one.children_system for one in (after, before))
    return after.elapsed - before.elapsed, used - had
