"""The standard streams of a command: closed, full, or left by their reader.

A daemon goes on without them. A command that prints its answer ends with a code that says that the
answer was not delivered.
"""

import errno
import os
import sys
from typing import TextIO, cast

from extip.errors import FatalError, OutputError


class ReaderGoneError(FatalError):
    """The reader of standard output has left, as `head` does: nothing is said about it."""

    exit_code = 141  # what a shell shows for a process that SIGPIPE ended: 128 + 13


class _Output:
    """Standard output whose failures are errors of this program, and of no library in between."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write it; raises OutputError or ReaderGoneError."""
        if text == "":  # click asks in this way which type a stream takes
            return 0
        try:
            return self._stream.write(text)
        except OSError as error:
            raise _undelivered(error) from error

    def flush(self) -> None:
        """Deliver all that was written; raises OutputError or ReaderGoneError."""
        try:
            self._stream.flush()
        except OSError as error:
            raise _undelivered(error) from error

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)


def _undelivered(error: OSError) -> FatalError:
    # What is left in the buffer would fail once more at the exit of the interpreter.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    if error.errno == errno.EPIPE:
        return ReaderGoneError("")
    return OutputError(f"cannot write to standard output: {os.strerror(error.errno or 0)}")


def open_standard_streams() -> None:
    """Open the null device for each closed descriptor from 0 to 2, and watch standard output.

    Otherwise the next file or socket would get that number, and a log line would go into it.
    """
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free number: this one
    if sys.stderr is None:
        sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115 - as long as the process
    if sys.stdout is None:
        sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
    sys.stdout = cast("TextIO", _Output(sys.stdout))
