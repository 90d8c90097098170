"""A long-running program of the lab itself that tests stop, freeze and start again."""

import signal
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.lab.errors import LabError
from tests.lab.host import Host
from tests.lab.process import Process
from tests.lab.wait import PATIENCE_S, wait_until


class Daemon:
    """A program of the lab, with what it takes to start it and to know that it is ready.

    `ready` returns something true when the program serves; OSError and LabError mean not yet.
    """

    def __init__(
        self,
        host: Host,
        name: str,
        argv: Sequence[str | Path],
        *,
        ready: Callable[[], object] | None = None,
        pass_fds: Sequence[int] = (),
    ) -> None:
        self._host = host
        self._argv = list(argv)
        self._ready = ready
        self._pass_fds = pass_fds
        self._process: Process | None = None
        self.name = name

    @property
    def process(self) -> Process:
        if self._process is None:
            raise LabError(f"{self.name} was never started")
        return self._process

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.running

    def launch(self) -> None:
        """Start the program without waiting for it; does nothing when it runs."""
        if not self.running:
            self._process = self._host.start(self._argv, name=self.name, pass_fds=self._pass_fds)

    def wait_ready(self, timeout: float = PATIENCE_S) -> None:
        """Wait until it serves; LabError with the end of its log when it dies or takes too long."""
        try:
            wait_until(self._is_ready, f"{self.name} to be ready", timeout=timeout, poll_s=0.02)
        except LabError as error:
            raise LabError(f"{error}\n{self.process.tail(40)}") from error
        if not self.running:
            raise LabError(
                f"{self.name} ended with {self.process.status}:\n{self.process.tail(40)}"
            )

    def _is_ready(self) -> bool:
        if not self.running:
            return True  # wait_ready tells it; waiting longer would not help
        return self._ready is None or bool(self._ready())

    def start(self, timeout: float = PATIENCE_S) -> None:
        """Start the program and wait until it serves."""
        self.launch()
        self.wait_ready(timeout)

    def stop(self) -> None:
        """Kill the program, frozen or not, and wait until it is gone."""
        self.process.kill()
        self.process.kill(signal.SIGCONT)
        self.process.wait()

    def restart(self, timeout: float = PATIENCE_S) -> None:
        self.stop()
        self.start(timeout)

    def freeze(self) -> None:
        """SIGSTOP: connections stay open and nothing answers."""
        self.process.freeze()

    def thaw(self) -> None:
        self.process.thaw()
