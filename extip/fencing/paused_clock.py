"""Notices that the clock of this machine stood still: that of a paused virtual machine may.

Then the process itself sees no pause, and the kernel's lifetimes of addresses did not run either.
So the times are compared that the API server gives with its answers (`Date`, RFC 9110 section
6.6.1, in whole seconds). They go on while a machine is paused.

The clocks of several API servers may differ. A step back, which no pause makes, tells by how much.
For an hour after it only a longer step forward counts.
"""

from math import inf

_ROUNDING_S = 1.0
_REMEMBERED_S = 3600.0


class PausedClock:
    """Compares the API server's clock with this machine's."""

    def __init__(self, limit_s: float) -> None:
        """Compose; a pause of at most `limit_s` seconds does not count."""
        self._limit_s = limit_s
        self._ahead_s: float | None = None
        """Seconds by which the server's clock is ahead, by its last answer."""
        self._differ_s = 0.0
        """Seconds by which the clocks of servers differ."""
        self._differed_at = -inf

    def stood_still_s(self, server_s: float | None, now: float) -> float:
        """Return for how long the clock stood still since the last call, in seconds; 0 if it ran.

        `server_s` is the time of an answer that has just come, in seconds since the epoch, or None
        where it has none. `now` is the monotonic time.
        """
        if server_s is None:
            return 0.0
        before_s, self._ahead_s = self._ahead_s, server_s - now
        step_s = 0.0 if before_s is None else self._ahead_s - before_s
        if step_s < -_ROUNDING_S:
            self._differ_s, self._differed_at = max(self._differ_s, -step_s), now
        if now - self._differed_at > _REMEMBERED_S:
            self._differ_s = 0.0
        return step_s if step_s > self._limit_s + _ROUNDING_S + self._differ_s else 0.0
