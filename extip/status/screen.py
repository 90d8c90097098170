"""A text on the terminal that is drawn again and again, without flicker.

It is drawn over the one before, line by line, on the terminal's alternate screen: what was there
before comes back at the end. A line that does not fit is cut, and so is the end of the text.
"""

import asyncio
import re
import shutil
import signal
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress

from extip.clock import Clock
from extip.errors import ApiUnavailableError

INTERVAL_S = 2.0
"""Between the end of one look and the begin of the next."""

_BEGIN, _END = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"
"""Alternate screen without a cursor; the opposite (xterm)."""
_HOME, _REST_OF_LINE, _REST_OF_SCREEN = "\x1b[H", "\x1b[K", "\x1b[J"
_PLAIN = "\x1b[0m"
_SEQUENCE = re.compile(r"(\x1b\[[0-9;]*m)")


class Screen:
    """The terminal, while it shows a text that changes."""

    def __init__(self, *, clock: Clock) -> None:
        self._clock = clock

    async def follow(self, look: Callable[[], Awaitable[str]]) -> None:
        """Draw what `look` returns, until it is cancelled; anew at once when the size changes.

        While the API server does not answer, the last text stays, below a line that says so.
        """
        resized = asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGWINCH, resized.set)
        text, problem = "", ""
        sys.stdout.write(_BEGIN)
        try:
            while True:
                try:
                    text, problem = await look(), ""
                except ApiUnavailableError as error:
                    problem = f"extip: {error}\n"
                until = self._clock.monotonic() + INTERVAL_S
                while (left_s := until - self._clock.monotonic()) > 0:
                    self._draw(problem + text)
                    resized.clear()
                    with suppress(TimeoutError):
                        async with asyncio.timeout(left_s):
                            await resized.wait()
        finally:
            loop.remove_signal_handler(signal.SIGWINCH)
            sys.stdout.write(_END)
            sys.stdout.flush()

    def _draw(self, text: str) -> None:
        size = shutil.get_terminal_size()
        sys.stdout.write(frame(text, columns=size.columns, lines=size.lines))
        sys.stdout.flush()


def frame(text: str, *, columns: int, lines: int) -> str:
    """Return what draws the text over the one before, on a terminal of that size."""
    every = text.splitlines()
    shown = every[:lines]
    if len(every) > lines:
        shown[-1] = f"... {len(every) - lines + 1} more lines"
    drawn = "\r\n".join(_cut(line, columns) + _REST_OF_LINE for line in shown)
    return f"{_HOME}{drawn}{_REST_OF_SCREEN}"


def _cut(line: str, columns: int) -> str:
    """Return the begin of a line; colours take no room, and end with it."""
    parts: list[str] = []
    for part in _SEQUENCE.split(line):
        if _SEQUENCE.fullmatch(part):
            parts.append(part)
            continue
        parts.append(part[:columns])
        columns -= len(parts[-1])
    return "".join(parts)
