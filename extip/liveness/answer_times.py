"""The time that the API server took for its answers of late; a plain value that takes the time.

Heartbeats may be late, or be refused, for the same reason as other calls.
"""

from collections import deque


class AnswerTimes:
    """The calls of a while, also those without an answer yet."""

    def __init__(self) -> None:
        self._under_way: list[float] = []
        self._over: deque[tuple[float, float]] = deque(maxlen=64)
        self.failing = False
        """The server refused the last call, or could not be reached."""

    def began(self, now: float) -> None:
        """Record the sending of a call."""
        self._under_way.append(now)

    def ended(self, sent_at: float, now: float, *, answered: bool) -> None:
        """Record the end of a call that was sent at that time.

        One that was given up tells nothing: its connection may be dead.
        """
        self._under_way.remove(sent_at)
        if answered:
            self._over.append((now, now - sent_at))

    def slowest_s(self, now: float, *, within_s: float) -> float:
        """Return the longest time that an answer took, or is taking, in that time; in seconds."""
        took = [took_s for at, took_s in self._over if now - at <= within_s]
        return max([*took, *(now - sent_at for sent_at in self._under_way)], default=0.0)
