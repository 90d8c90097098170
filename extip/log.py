"""Structured logs: one past-tense event name per fact, keys from one vocabulary.

Levels: *info* a state changed, *warning* something is in the way and extip goes on, *error* a
person is needed, *debug* nothing changed. Keys: ``link``, ``address``, ``service``, ``claim``,
``node``, ``lease``, ``holder``, ``attempt``, ``reason``, ``error``, ``delay_s``, ``component``.

Logs of libraries pass through the same renderer. Everything goes to standard error, so that
standard output stays free for what a command prints. Tracebacks are written without the values of
variables: a header or a key may be among them. Whoever reads the log cannot keep this process
waiting: while nobody does, lines are lost, and counted.
"""

import json
import logging
import os
import select
import sys
from contextlib import suppress
from typing import Literal, TextIO

import msgspec
import structlog
import structlog.tracebacks
from structlog.typing import FilteringBoundLogger, Processor

from extip.terminal import has_colours

LogFormat = Literal["console", "json"]
LogLevel = Literal["debug", "info", "warning", "error"]

Logger = FilteringBoundLogger

_LIBRARY_LEVEL = logging.WARNING
"""Floor for libraries: kubernetes_asyncio logs whole bodies, Secrets among them, at DEBUG."""


class _Pipe:
    """A text stream, mostly a pipe, that never waits for its reader."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._torn = False
        self.lost = 0
        """How many texts nobody took, or not whole, since somebody reset this."""

    def write(self, text: str) -> None:
        """Write it, or as much as fits; raises OSError and ValueError when there is no stream.

        A pipe that polls as writable takes ``PIPE_BUF`` bytes at once (poll(2), pipe(7)).
        """
        fd = self._stream.fileno()
        room = select.poll()
        room.register(fd, select.POLLOUT)
        data = ("\n" * self._torn + text).encode(errors="backslashreplace")
        self._torn = False
        for start in range(0, len(data), select.PIPE_BUF):
            if not room.poll(0):
                self._torn = start > 0
                self.lost += 1
                return
            os.write(fd, data[start : start + select.PIPE_BUF])

    def flush(self) -> None:
        """Nothing is kept back."""


class _Lines(structlog.WriteLogger):
    """Writes lines while anybody takes them; nothing fails because nobody does any more."""

    def __init__(self, file: TextIO | _Pipe) -> None:
        super().__init__(file)  # type: ignore[arg-type]  # it calls `write` and `flush`
        self._pipe = file if isinstance(file, _Pipe) else None

    def msg(self, message: str) -> None:
        """Write one line."""
        pipe = self._pipe
        with suppress(OSError, ValueError):
            lost = pipe.lost if pipe else 0
            super().msg(message)
            if pipe and lost and pipe.lost == lost:
                pipe.lost = 0
                get_logger("log").warning("log_lines_lost", count=lost)

    log = debug = info = warn = warning = msg
    fatal = failure = err = error = critical = exception = msg


def _standard_error() -> TextIO | _Pipe:
    try:
        sys.stderr.fileno()
    except (OSError, ValueError):  # a test has put something else in its place
        return sys.stderr
    return _Pipe(sys.stderr)


def configure(log_format: LogFormat, level: LogLevel) -> None:
    """Set up logging for this process; call once, before the first event is logged.

    What extip itself says goes straight to standard error: the standard library's logging would
    look for the caller of each line, which takes longer than all the rest.
    """
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    render: list[Processor]
    if log_format == "json":
        render = [
            structlog.processors.ExceptionRenderer(
                structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
            ),
            structlog.processors.JSONRenderer(serializer=_json),
        ]
    else:
        render = [
            structlog.dev.ConsoleRenderer(
                colors=has_colours(sys.stderr),
                pad_event_to=28,
                exception_formatter=structlog.dev.plain_traceback,
            )
        ]
    stderr = _standard_error()
    handler = logging.StreamHandler(stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *render],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(_LIBRARY_LEVEL, _number(level)))
    structlog.configure(
        processors=[*shared, *render],
        wrapper_class=structlog.make_filtering_bound_logger(_number(level)),
        logger_factory=lambda *_: _Lines(stderr),
        cache_logger_on_first_use=True,
    )


def _json(event: object, **_: object) -> str:
    """Return the line, whatever is in it: what cannot be logged must not end what it is about."""
    try:
        return msgspec.json.encode(event, enc_hook=str).decode()
    except (TypeError, UnicodeEncodeError):  # half a surrogate pair is no UTF-8
        return json.dumps(event, default=str, skipkeys=True)


def get_logger(component: str) -> Logger:
    """Return a logger whose events carry ``component``."""
    logger: Logger = structlog.get_logger(component=component)
    return logger


def _number(level: LogLevel) -> int:
    return logging.getLevelNamesMapping()[level.upper()]
