"""A wait of a bench tells how far it is, and ends with an error that says what is missing."""

import pytest

from tests.bench.progress import EVERY_S, NEVER, STALLED_S, Progress
from tests.lab.errors import LabError


class Clock:
    """Time passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0
        self.told: list[str] = []

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def progress(self) -> Progress:
        return Progress("bench", tell=self.told.append, clock=lambda: self.now, sleep=self.sleep)


def test_it_ends_when_nothing_is_missing_and_says_how_far_it_is_until_then() -> None:
    clock = Clock()
    left = iter(range(100, -1, -1))
    took_s = clock.progress().wait("nodes", lambda: next(left), at_most_s=600, poll_s=1.0)
    assert took_s == 100
    assert len(clock.told) == 100 // EVERY_S
    assert clock.told[0] == "bench: nodes: missing after 10 s: 90"
    assert clock.told[-1] == "bench: nodes: all after 100.0 s"


def test_a_wait_in_which_nothing_goes_on_any_more_ends_long_before_its_time() -> None:
    clock = Clock()

    def missing() -> int:
        return max(40, 100 - round(clock.now))

    with pytest.raises(LabError, match="missing after 360 s: 40; no progress for 300 s"):
        clock.progress().wait("nodes", missing, at_most_s=6000, poll_s=1.0)
    assert clock.now == 60 + STALLED_S


def test_a_wait_with_progress_ends_all_the_same_when_its_time_is_over() -> None:
    clock = Clock()
    left = iter(range(1000, 0, -1))
    with pytest.raises(LabError, match=r"nodes: missing after 200 s: 800$"):
        clock.progress().wait("nodes", lambda: next(left), at_most_s=200, poll_s=1.0)


def test_a_question_that_fails_is_asked_again_and_told_at_the_end() -> None:
    def fails() -> int:
        raise LabError("nobody answers")

    clock = Clock()
    with pytest.raises(LabError, match="missing after 900 s: nobody answers"):
        clock.progress().wait("nodes", fails, at_most_s=900, stalled_s=NEVER, poll_s=1.0)
