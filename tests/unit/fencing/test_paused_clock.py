"""A clock that stood still is told from servers whose clocks differ, and from slow answers."""

import pytest

from extip.fencing.paused_clock import PausedClock

LIMIT_S = 4.0
BEGIN = 1_790_000_000


def told(steps, clock=None):
    """Return what it says to answers: seconds of this machine, and seconds of the server."""
    clock = clock or PausedClock(LIMIT_S)
    own_s, server_s, said = 0.0, 0.0, []
    for own, server in steps:
        own_s, server_s = own_s + own, server_s + server
        said.append(clock.stood_still_s(float(int(BEGIN + server_s)), own_s))
    return said


def test_a_machine_that_was_paused_has_stood_still_for_as_long():
    assert told([(2.0, 2.0)] * 3 + [(2.0, 62.0)] + [(2.0, 2.0)] * 3) == [0, 0, 0, 60, 0, 0, 0]


@pytest.mark.parametrize("away_s", [0.5, 10.0, 86_400.0])
def test_an_api_server_that_was_away_is_no_pause(away_s):
    assert not any(told([(2.0, 2.0), (away_s, away_s), (2.0, 2.0)]))


def test_a_short_pause_moves_no_ip():
    assert not any(told([(0.7, 0.7)] * 20 + [(0.7, 0.7 + LIMIT_S)] + [(0.7, 0.7)] * 20))


def test_servers_whose_clocks_differ_are_not_taken_for_pauses_again_and_again():
    between = [(2.0, 32.0), (2.0, -28.0)]
    assert [still > 0 for still in told([(2.0, 2.0), *between * 5])] == [
        False,
        True,
        *[False] * 9,
    ]
    assert told([(2.0, 2.0), *between, (2.0, 102.0)])[-1] == 100, "a longer pause counts"
    hours = [(2.0, 2.0)] * 2000
    assert told([(2.0, 2.0), *between, *hours, (2.0, 32.0)])[-1] == 30, "an hour later all count"


def test_an_answer_that_came_late_is_no_pause():
    assert not any(told([(2.0, 2.0), (12.0, 2.0), (2.0, 12.0), (2.0, 2.0)]))


def test_a_server_that_gives_no_time_tells_nothing():
    clock = PausedClock(LIMIT_S)
    assert [clock.stood_still_s(None, float(now)) for now in range(3)] == [0, 0, 0]
    assert clock.stood_still_s(BEGIN, 3.0) == 0
    assert clock.stood_still_s(None, 4.0) == 0
    assert clock.stood_still_s(BEGIN + 31.0, 4.0) == 30
