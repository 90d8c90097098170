"""What the audience sees: titles, and a table that grows as things happen."""

import sys
import time
from collections.abc import Callable

from tests.lab.wait import wait_until


class Stage:
    """Prints; remembers whether everything that was announced was seen."""

    def __init__(self) -> None:
        self.all_seen = True

    def title(self, text: str) -> None:
        """Begin a section."""
        self.say(f"\n== {text}")

    def say(self, text: str) -> None:
        """Print a line now."""
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()

    def row(self, *cells: str) -> None:
        """Print a line of the table."""
        widths = (38, 12, 40)
        self.say(
            "   " + "".join(f"{cell:<{width}}" for cell, width in zip(cells, widths, strict=False))
        )

    def show(self, what: str, seen: bool, result: str) -> None:  # noqa: FBT001
        """Print a line for a check; one that fails makes the demo fail."""
        self.all_seen = self.all_seen and seen
        self.row(what, "ok" if seen else "NOT SEEN", result)

    def wait(self, what: str, condition: Callable[[], object], result: str = "") -> float:
        """Wait for a condition, print how long it took, and return the seconds."""
        started = time.monotonic()
        outcome = wait_until(condition, what, timeout=20)
        took_s = time.monotonic() - started
        self.row(what, f"{1000 * took_s:7.0f} ms", result or str(outcome))
        return took_s
