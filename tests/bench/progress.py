"""Waits of a bench that may take minutes: each says how far it is, and ends when it is in vain."""

import sys
import time
from collections.abc import Callable
from math import inf

from tests.lab.errors import LabError

EVERY_S = 10.0
"""Seconds between two lines about one wait."""

STALLED_S = 300.0
"""Seconds without any progress after which a wait is in vain."""

NEVER = inf
"""For a wait that cannot count its progress: it is in vain when its whole time is over."""


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


class Progress:
    """Tells what a bench waits for. The table is on stdout, and this is on stderr."""

    def __init__(
        self,
        name: str,
        *,
        tell: Callable[[str], None] = _tell,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """`name` begins each line."""
        self._name = name
        self._tell = tell
        self._clock = clock
        self._sleep = sleep

    def note(self, text: str) -> None:
        """Tell what happens now."""
        self._tell(f"{self._name}: {text}")

    def wait(
        self,
        what: str,
        missing: Callable[[], int],
        *,
        at_most_s: float,
        stalled_s: float = STALLED_S,
        poll_s: float = 0.2,
    ) -> float:
        """Wait until nothing is missing; return the seconds that it took.

        Raises LabError after `at_most_s`, and when as much is missing for `stalled_s`. OSError and
        LabError of `missing` count as no progress.
        """
        began = changed_at = told_at = self._clock()
        last: object = None
        while True:
            now = self._clock()
            try:
                found: object = missing()
            except (OSError, LabError) as error:
                found = str(error)
            if found == 0:
                self.note(f"{what}: all after {now - began:.1f} s")
                return now - began
            if found != last:
                last, changed_at = found, now
            if now - began >= at_most_s or now - changed_at >= stalled_s:
                idle = f"; no progress for {now - changed_at:.0f} s" if now > changed_at else ""
                raise LabError(f"{what}: missing after {now - began:.0f} s: {found}{idle}")
            if now - told_at >= EVERY_S:
                told_at = now
                self.note(f"{what}: missing after {now - began:.0f} s: {found}")
            self._sleep(poll_s)
