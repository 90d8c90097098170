"""A process in a host that reports line by line, and the thread that reads it."""

import os
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from tests.lab.errors import LabError
from tests.lab.host import Host

T = TypeVar("T")


class LineStream:
    """Starts a process and hands each line that it writes to `on_line`, in a thread of its own.

    `on_line` runs under the stream's lock, as does what `read` is given. The process says `r` when
    it is ready; construction waits for it.
    """

    def __init__(
        self, host: Host, argv: Sequence[str | Path], name: str, on_line: Callable[[str], None]
    ) -> None:
        self._on_line = on_line
        self._changed = threading.Condition()
        self._ready = False
        read_end, write_end = os.pipe()
        try:
            self._process = host.start(argv, name=name, stdout=write_end)
        except BaseException:
            os.close(read_end)
            raise
        finally:
            os.close(write_end)
        self._thread = threading.Thread(target=self._read, args=(read_end,), name=name, daemon=True)
        self._thread.start()
        self.wait_for(lambda: self._ready, f"{name} to start", 60.0)

    def _read(self, read_end: int) -> None:
        with os.fdopen(read_end) as pipe:
            for line in pipe:
                with self._changed:
                    if line == "r\n":
                        self._ready = True
                    else:
                        self._on_line(line.rstrip("\n"))
                    self._changed.notify_all()
        with self._changed:
            self._changed.notify_all()

    def read(self, function: Callable[[], T]) -> T:
        """Evaluate under the lock."""
        with self._changed:
            return function()

    def wait_for(self, condition: Callable[[], T | None], what: str, timeout: float) -> T:
        """Return the condition's first true value; LabError in time, or when the process ends."""
        deadline = time.monotonic() + timeout
        with self._changed:
            while not (value := condition()):
                left = deadline - time.monotonic()
                if left <= 0:
                    raise LabError(f"waited {timeout} s for {what}")
                if not self._thread.is_alive():
                    raise LabError(f"no {what}: its process ended\n{self._process.tail()}")
                self._changed.wait(min(left, 0.5))
            return value

    def stop(self) -> None:
        """End the process in order and read everything that it had to say."""
        if self._process.running:
            self._process.terminate()
        self._thread.join()
