"""Tells a person how far a long job is, and runs its steps as processes."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TextIO

QUIET_S = 30.0
"""Without a terminal, the longest silence within a step."""


class StepError(Exception):
    """A step's process failed; its text names the command and its last line of output."""


class Progress:
    """Writes each step with the time since the start; ticks within a step while it runs."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._started = time.monotonic()
        self._step = ""
        self._last = 0.0

    def say(self, text: str) -> None:
        """Write one line."""
        self._write(f"lab: {text}\n")

    def step(self, name: str) -> None:
        """Write that a step begins."""
        self._step = name
        self._write(f"{self._elapsed()}  {name}\n")

    def tick(self) -> None:
        """Show that the step still runs: on a terminal in place, else a line now and then."""
        if self._stream.isatty():
            self._stream.write(f"\r{self._elapsed()}  ...\r")
            self._stream.flush()
        elif time.monotonic() - self._last > QUIET_S:
            self._write(f"{self._elapsed()}  ... {self._step}\n")

    def _elapsed(self) -> str:
        return f"{time.monotonic() - self._started:6.0f} s"

    def _write(self, line: str) -> None:
        self._last = time.monotonic()
        self._stream.write(line)
        self._stream.flush()


def run_step(
    command: Sequence[str],
    folder: Path,
    environment: Mapping[str, str],
    *,
    log: Path,
    tick: Callable[[], None] | None = None,
) -> None:
    """Run a command in `folder`, its output appended to `log`; call `tick` twice a second.

    Raises `StepError` when it fails. Whatever interrupts the wait, the command and all its
    children in its process group are dead when this returns.
    """
    with log.open("ab") as output:
        output.write(f"\n$ {' '.join(command)}\n".encode())
        output.flush()
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        while not _ended(process):
            if tick is not None:
                tick()
    except BaseException:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise
    if process.returncode != 0:
        lines = log.read_text(errors="replace").strip().splitlines()
        ended = f"exit code {process.returncode}"
        raise StepError(f"`{' '.join(command)}` failed with {ended}: {lines[-1].strip()[:200]}")


def _ended(process: subprocess.Popen[bytes]) -> bool:
    try:
        process.wait(timeout=0.5)
    except subprocess.TimeoutExpired:
        return False
    return True
