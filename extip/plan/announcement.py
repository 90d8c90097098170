"""When to announce an address, and how fast many may go out.

A neighbour that missed the first frame (its port was just coming up, its queue was full) gets
three more within two seconds. After that, one a minute mends what nobody told us about, such as
a switch that lost its table, at a cost that stays below what ARP itself causes.
"""

from dataclasses import dataclass

BURST_S = (0.0, 0.1, 1.0, 2.0)
"""Seconds after an address came up at which it is announced."""

REPEAT_S = 60.0
"""Seconds between announcements once the burst is over."""

FRAMES_PER_S = 2000.0
"""Most frames a second in the long run: 10,000 addresses still fit into one `REPEAT_S` easily."""

BURST_FRAMES = 1000.0
"""Most frames at once after a quiet time: what a fail-over of that many addresses needs."""


_WORTHWHILE = 20.0
"""Frames to wait for when pacing: 10 ms of them."""


def announce_at(started: float, round_number: int) -> float:
    """Return when the announcement of a round is due, the first round being 0.

    `started` is when the address came up, in seconds on any clock; so is the result.
    """
    if round_number < len(BURST_S):
        return started + BURST_S[round_number]
    return started + BURST_S[-1] + REPEAT_S * (round_number - len(BURST_S) + 1)


def next_round(started: float, sent_round: int, now: float) -> int:
    """Return the round to send next, leaving out those that are overtaken already.

    When more is due than may be sent, each address is late, and none is sent twice in a row to
    make up for it.
    """
    following = sent_round + 1
    while announce_at(started, following + 1) <= now:
        if following >= len(BURST_S):
            late = now - announce_at(started, following)
            return following + int(late / REPEAT_S)
        following += 1
    return following


def is_reply(round_number: int) -> bool:
    """Return whether a round uses the reply form of gratuitous ARP; every other one does."""
    return round_number % 2 == 1


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
        return max(0.0, (_WORTHWHILE - self.tokens) / self.rate)
