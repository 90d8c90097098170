"""A process in a host of the lab: its log, its signals, its end."""

import os
import re
import signal
import time
from pathlib import Path

from tests.lab.anchor import Anchor, Spawned, wait_for_exit
from tests.lab.errors import LabError
from tests.lab.wait import PATIENCE_S

POLL_S = 0.005


class Process:
    """A running or ended process. `pid` is valid in this process's pid namespace."""

    def __init__(self, anchor: Anchor, spawned: Spawned, *, name: str, log: Path) -> None:
        self._anchor = anchor
        self._spawned = spawned
        self._status: int | None = None
        self.name = name
        self.log = log
        self.pid = spawned.pid
        self.inner_pid = spawned.inner_pid

    def __repr__(self) -> str:
        return f"<Process {self.name} pid={self.pid} status={self.status}>"

    def __del__(self) -> None:
        os.close(self._spawned.pidfd)

    @property
    def status(self) -> int | None:
        """Exit status, negative for a signal; None while it runs."""
        if self._status is None and wait_for_exit(self._spawned.pidfd, 0):
            self._status = self._anchor.exit_status(self._spawned.number)
        return self._status

    @property
    def running(self) -> bool:
        return not wait_for_exit(self._spawned.pidfd, 0)

    def kill(self, sig: signal.Signals = signal.SIGKILL) -> None:
        """Send a signal; a process that has ended already is no error."""
        try:
            signal.pidfd_send_signal(self._spawned.pidfd, sig)
        except ProcessLookupError:
            return

    def freeze(self, timeout: float = PATIENCE_S) -> None:
        """Stop it (SIGSTOP); returns when it has stopped."""
        self.kill(signal.SIGSTOP)
        deadline = time.monotonic() + timeout
        while self._state() not in ("T", "Z", ""):
            if time.monotonic() > deadline:
                raise LabError(f"{self.name} did not stop within {timeout} s")
            time.sleep(POLL_S)

    def thaw(self) -> None:
        self.kill(signal.SIGCONT)

    def _state(self) -> str:
        try:
            return Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return ""

    def terminate(self, timeout: float = PATIENCE_S) -> int:
        """Ask it to end (SIGTERM) and return its exit status; kills it when it does not."""
        self.kill(signal.SIGTERM)
        if not wait_for_exit(self._spawned.pidfd, timeout):
            self.kill()
            self.wait()
            raise LabError(f"{self.name} did not end within {timeout} s of SIGTERM\n{self.tail()}")
        return self.wait()

    def wait(self, timeout: float = PATIENCE_S) -> int:
        """Wait for its end and return the exit status (negative: the signal)."""
        if not wait_for_exit(self._spawned.pidfd, timeout):
            raise LabError(f"{self.name} still runs after {timeout} s\n{self.tail()}")
        status = self.status
        if status is None:
            raise LabError(f"{self.name}: the anchor does not know how it ended")
        return status

    def output(self) -> str:
        """Everything that it wrote to stdout and stderr so far."""
        return self.log.read_text(errors="replace")

    def lines(self) -> str:
        """Return its output but for a line at the end that it may be writing just now."""
        written = self.output()
        return written[: written.rfind("\n") + 1]

    def tail(self, lines: int = 20) -> str:
        """Return the last lines of its output, for a message."""
        return "\n".join(self.output().splitlines()[-lines:])

    def wait_for_output(
        self, pattern: str, timeout: float = PATIENCE_S, *, start: int = 0
    ) -> re.Match[str]:
        """Wait until a regular expression (multi-line mode) matches whole lines of its output.

        `start` skips that many characters of the output. Raises LabError with the end of the output
        when the time is over, or when it ended without a match.
        """
        compiled = re.compile(pattern, re.MULTILINE)
        deadline = time.monotonic() + timeout
        while True:
            ended = not self.running
            match = compiled.search(self.lines(), start)
            if match is not None:
                return match
            if ended or time.monotonic() > deadline:
                how = "ended" if ended else f"ran {timeout} s"
                raise LabError(f"{self.name} {how} without {pattern!r} in:\n{self.tail(50)}")
            time.sleep(POLL_S)


def pss_kib(pid: int) -> int:
    """Return the proportional set size of a process in KiB, 0 when it is gone."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    return next(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:"))
