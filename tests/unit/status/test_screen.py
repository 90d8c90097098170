"""A text is drawn over the one before: no flicker, and nothing of the old one stays."""

import asyncio
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
from fcntl import ioctl

import pytest

from extip.clock import LoopClock
from extip.errors import ApiUnavailableError
from extip.status.screen import Screen, frame
from tests.fakes.virtual_time import run_virtually


def test_lines_are_cut_and_cleared_to_their_end():
    assert frame("abcdef\nb\n", columns=3, lines=5) == "\x1b[Habc\x1b[K\r\nb\x1b[K\x1b[J"
    assert frame("", columns=3, lines=5) == "\x1b[H\x1b[J"


def test_colours_take_no_room_and_end():
    drawn = frame("\x1b[31mabcdef\x1b[0m", columns=3, lines=1)
    assert drawn == "\x1b[H\x1b[31mabc\x1b[0m\x1b[K\x1b[J"


def test_the_end_of_a_long_text_is_counted():
    drawn = frame("a\nb\nc\nd", columns=20, lines=3)
    assert [part.split("\x1b")[0] for part in drawn.removeprefix("\x1b[H").split("\r\n")] == [
        "a",
        "b",
        "... 2 more lines",
    ]


def test_while_the_server_is_away_the_last_text_stays(capsys):
    looks = iter(["first", ApiUnavailableError("does not answer", status=0), "second"])

    async def look():
        found = next(looks, None)
        if found is None:
            raise asyncio.CancelledError
        if isinstance(found, Exception):
            raise found
        return found

    with pytest.raises(asyncio.CancelledError):
        run_virtually(Screen(clock=LoopClock()).follow(look))
    drawn = capsys.readouterr().out.split("\x1b[H")
    assert [part.count("does not answer") for part in drawn] == [0, 0, 1, 0]
    assert [part.count("first") for part in drawn] == [0, 1, 1, 0]
    assert drawn[0] == "\x1b[?1049h\x1b[?25l"
    assert drawn[-1].endswith("\x1b[?25h\x1b[?1049l")


SCRIPT = """
import asyncio
from extip.clock import LoopClock
from extip.status.screen import Screen
async def look():
    return "x" * 200
asyncio.run(Screen(clock=LoopClock()).follow(look))
"""


def test_a_terminal_that_is_resized_is_drawn_anew_at_once():
    """Sooner than the next look is due: a real terminal of the kernel."""
    ours, theirs = pty.openpty()
    resize(theirs, 20)
    environment = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES")}
    with subprocess.Popen(
        [sys.executable, "-c", SCRIPT],
        stdout=theirs,
        stderr=subprocess.PIPE,
        env=environment,
        preexec_fn=interruptible,  # noqa: PLW1509 - no thread runs
    ) as process:
        try:
            drawn_until(ours, "x" * 20 + "\x1b")
            resize(theirs, 30)
            process.send_signal(signal.SIGWINCH)
            drawn_until(ours, "x" * 30 + "\x1b")
            process.send_signal(signal.SIGINT)
            drawn_until(ours, "\x1b[?1049l")
        finally:
            process.kill()
    os.close(ours)
    os.close(theirs)


def resize(terminal, columns):
    ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 10, columns, 0, 0))


def interruptible():
    """Let SIGINT end this process: what a shell runs in the background ignores it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def drawn_until(terminal, text):
    seen = ""
    while text not in seen:
        seen += os.read(terminal, 65536).decode()
