"""Steps of a long job: nothing of an interrupted one lives on."""

import io
import os
import time
from pathlib import Path

import pytest

from tests.lab.progress import Progress, StepError, run_step


def _gone(pid: int) -> bool:
    """Tell whether the process ran its last instruction: a zombie nobody reaped yet counts."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except FileNotFoundError:
        return True


def test_an_interrupted_step_takes_its_grandchildren_along(tmp_path):
    pids = tmp_path / "pids"
    script = f"sleep 60 & echo $$ $! > {pids}.new; mv {pids}.new {pids}; wait"

    def interrupt() -> None:
        if pids.exists():
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_step(
            ("/bin/sh", "-c", script), tmp_path, os.environ, log=tmp_path / "log", tick=interrupt
        )
    deadline = time.monotonic() + 40
    for pid in map(int, pids.read_text().split()):
        while not _gone(pid):
            assert time.monotonic() < deadline
            time.sleep(0.01)


def test_a_failed_step_says_what_ran_and_how_it_ended(tmp_path):
    command = ("/bin/sh", "-c", "echo no such target; exit 3")
    with pytest.raises(StepError, match=r"exit code 3: no such target$"):
        run_step(command, tmp_path, {}, log=tmp_path / "log")
    assert "$ /bin/sh -c" in (tmp_path / "log").read_text()


def test_steps_are_lines_and_ticks_are_rare_without_a_terminal():
    stream = io.StringIO()
    progress = Progress(stream)
    progress.step("compile")
    for _ in range(100):
        progress.tick()
    assert [line.split(maxsplit=2)[2] for line in stream.getvalue().splitlines()] == ["compile"]
