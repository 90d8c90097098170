"""When to announce an address.

A neighbour may miss the first frame: its port was just coming up, or its queue was full. It gets
three more within two seconds. After that, one a minute repairs losses that nothing reports, such as
a switch that lost its table. Its cost stays below that of ARP itself.
"""

BURST_S = (0.0, 0.1, 1.0, 2.0)
"""Seconds after an address came up at which it is announced."""

REPEAT_S = 60.0
"""Seconds between announcements after the burst."""


def announce_at(started: float, round_number: int) -> float:
    """Return when the announcement of a round is due; the first round is 0.

    `started` is when the address came up, in seconds on any clock. The result is on the same clock.
    """
    if round_number < len(BURST_S):
        return started + BURST_S[round_number]
    return started + BURST_S[-1] + REPEAT_S * (round_number - len(BURST_S) + 1)


def next_round(started: float, sent_round: int, now: float) -> int:
    """Return the round to send next, without those whose time has passed.

    When more frames are due than the pace allows, each address is late. None is then sent twice in
    a row.
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
