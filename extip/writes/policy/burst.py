"""Many things that come in a row, and how long whatever can wait is held back meanwhile. Pure."""


class Burst:
    """Counts what comes. Times are monotonic, in seconds."""

    def __init__(self, *, few: int, quiet_s: float, longest_s: float) -> None:
        """More than `few` in a row are many. A pause of `quiet_s` ends the row.

        Nothing is held back for longer than `longest_s` after the row began.
        """
        self._few = few
        self._quiet_s = quiet_s
        self._longest_s = longest_s
        self._count = 0
        self._began_at = 0.0
        self._last_at = float("-inf")

    def note(self, count: int, now: float) -> None:
        """Count what has come now; nothing at all is no news."""
        if not count:
            return
        if now - self._last_at > self._quiet_s:
            self._began_at, self._count = now, 0
        self._count += count
        self._last_at = now

    def hold_s(self, now: float) -> float:
        """Return the seconds that the rest should wait now; 0 or less for no wait."""
        if not self.many(now):
            return 0.0
        return min(self._last_at + self._quiet_s, self._began_at + self._longest_s) - now

    def many(self, now: float) -> bool:
        """Return whether many things are coming."""
        return self._count > self._few and now - self._last_at < self._quiet_s
