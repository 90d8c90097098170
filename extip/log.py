"""Structured logs: one past-tense event name per fact, keys from one vocabulary.

Levels: *info* a state changed, *warning* something is in the way and extip goes on, *error* a
person is needed, *debug* nothing changed. Keys: ``link``, ``address``, ``service``, ``claim``,
``node``, ``lease``, ``holder``, ``attempt``, ``reason``, ``error``, ``delay_s``, ``component``.

Logs of libraries pass through the same renderer. Everything goes to standard error, so that
standard output stays free for what a command prints. Tracebacks are written without the values of
variables: a header or a key may be among them.
"""

import json
import logging
import sys
from contextlib import suppress
from typing import Literal

import orjson
import structlog
import structlog.tracebacks
from structlog.typing import FilteringBoundLogger, Processor

LogFormat = Literal["console", "json"]
LogLevel = Literal["debug", "info", "warning", "error"]

Logger = FilteringBoundLogger

_LIBRARY_LEVEL = logging.WARNING
"""Floor for libraries: kubernetes_asyncio logs whole bodies, Secrets among them, at DEBUG."""


class _Lines(structlog.WriteLogger):
    """Writes lines while anybody takes them; nothing fails because nobody does any more."""

    def msg(self, message: str) -> None:
        """Write one line."""
        with suppress(OSError, ValueError):
            super().msg(message)

    log = debug = info = warn = warning = msg
    fatal = failure = err = error = critical = exception = msg


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
                colors=sys.stderr.isatty(),
                pad_event_to=28,
                exception_formatter=structlog.dev.plain_traceback,
            )
        ]
    handler = logging.StreamHandler(sys.stderr)
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
        logger_factory=lambda *_: _Lines(sys.stderr),
        cache_logger_on_first_use=True,
    )


def _json(event: object, **_: object) -> str:
    """Return the line, whatever is in it: what cannot be logged must not end what it is about."""
    try:
        return orjson.dumps(event, default=str).decode()
    except TypeError:  # half a surrogate pair, a number of more than 64 bits, a key that is no text
        return json.dumps(event, default=str, skipkeys=True)


def get_logger(component: str) -> Logger:
    """Return a logger whose events carry ``component``."""
    logger: Logger = structlog.get_logger(component=component)
    return logger


def _number(level: LogLevel) -> int:
    return logging.getLevelNamesMapping()[level.upper()]
