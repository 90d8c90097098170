"""A bound on how often something is done: so many at once, and so many a second in the long run.

Pure: it takes the time.
"""

from dataclasses import dataclass

FRAMES_PER_S = 2000.0
"""Most frames a second in the long run: 10,000 addresses fit into a minute easily."""

BURST_FRAMES = 1000.0
"""Most frames at once after a quiet time: what a fail-over of that many addresses needs."""

FIRST_FRAMES_PER_S = 10_000.0
"""The same for first announcements: traffic waits for them, and a dead node may leave thousands."""

PROBES_PER_S = 20_000.0
"""The same for questions before an address comes up, two for each."""

_WORTHWHILE, _WORTHWHILE_S = 20.0, 0.01
"""Frames to wait for when pacing, or as many as this time brings."""


@dataclass(slots=True)
class TokenBucket:
    """Allows `burst` frames at once and `rate` a second; a plain value that takes the time."""

    rate: float = FRAMES_PER_S
    burst: float = BURST_FRAMES
    tokens: float = BURST_FRAMES
    updated: float = 0.0

    def take(self, now: float) -> bool:
        """Take one token; False when there is none."""
        self.tokens = min(self.burst, self.tokens + max(0.0, now - self.updated) * self.rate)
        self.updated = now
        if self.tokens < 1.0:
            return False
        self.tokens -= 1.0
        return True

    def wait_s(self) -> float:
        """Return the seconds from the last `take` until it is worth while to go on.

        That is a few tokens later, so that a long queue is not worked off by a timer per frame.
        """
        worthwhile = max(_WORTHWHILE, _WORTHWHILE_S * self.rate)
        return max(0.0, (worthwhile - self.tokens) / self.rate)
