"""Each object waits for its own failures, and for nothing else."""

from random import Random

import pytest

from extip.clock import LoopClock
from extip.writes.backoff import Failure, WriteBackoff

LONGEST_S = 15.0


class Hand(LoopClock):
    """A clock moved by hand."""

    now = 100.0

    def monotonic(self):
        return self.now


class Steady(Random):
    """Chance that takes nothing off a delay."""

    def random(self):
        return 0.0


@pytest.fixture
def clock():
    return Hand()


@pytest.fixture
def backoff(clock):
    return WriteBackoff(clock=clock, rng=Steady(), longest_s=LONGEST_S)


def test_a_failed_write_waits_and_no_other_object_does(backoff, clock):
    delay_s = backoff.failed("a", Failure.REFUSED, "no")
    assert delay_s > 0
    assert backoff.is_waiting("a")
    assert not backoff.is_waiting("b")
    assert backoff.names() == {"a"}
    clock.now += delay_s
    assert not backoff.is_waiting("a")
    assert backoff.names() == set()


@pytest.mark.parametrize("failure", Failure)
def test_each_failure_in_a_row_waits_longer_up_to_a_bound(backoff, failure):
    delays = [backoff.failed("a", failure, "no") for _ in range(20)]
    assert delays == sorted(delays)
    assert delays[0] < delays[1] < delays[2]
    assert delays[-1] == min(LONGEST_S, failure.value.cap_s)


def test_failures_of_other_kinds_and_of_other_objects_do_not_add_up(backoff):
    first_s = backoff.failed("a", Failure.REFUSED, "no")
    backoff.failed("b", Failure.REFUSED, "no")
    assert backoff.failed("b", Failure.UNANSWERED, "away") == Failure.UNANSWERED.value.initial_s
    backoff.done("a")
    assert backoff.failed("a", Failure.REFUSED, "no") == first_s


def test_a_row_of_other_objects_may_lengthen_a_delay(backoff):
    usual_s = backoff.failed("a", Failure.UNANSWERED, "away")
    assert backoff.failed("b", Failure.UNANSWERED, "away", at_least=4) > usual_s


def test_only_a_write_that_was_not_answered_is_suspect(backoff, clock):
    assert not backoff.is_suspect("a")
    backoff.failed("a", Failure.UNANSWERED, "away")
    clock.now += 2 * LONGEST_S  # also once it need not wait any more
    assert backoff.is_suspect("a")
    backoff.failed("a", Failure.REFUSED, "no")
    assert not backoff.is_suspect("a")


def test_an_answer_of_the_server_ends_the_wait_of_what_was_not_answered(backoff):
    backoff.failed("hung", Failure.UNANSWERED, "away")
    backoff.failed("refused", Failure.REFUSED, "no")
    backoff.hasten()
    assert backoff.names() == {"refused"}
    assert backoff.is_suspect("hung"), "it may hang again"


def test_only_the_first_failure_is_news_and_a_stale_decision_is_none(backoff):
    backoff.failed("a", Failure.REFUSED, "no")
    assert backoff.news("a") == "no"
    backoff.failed("a", Failure.REFUSED, "no")
    assert backoff.news("a") == ""
    backoff.failed("b", Failure.STALE)
    assert backoff.news("b") == ""
    assert backoff.problem() == (1, "no")


def test_what_is_done_or_cleared_fails_no_more(backoff):
    for name in ("a", "b", "c"):
        backoff.failed(name, Failure.REFUSED, name)
    backoff.done("a")
    assert backoff.problem() == (2, "b")
    backoff.clear()
    assert backoff.problem() == (0, "")
    assert backoff.names() == set()


def test_a_failure_that_nobody_tried_again_is_forgotten(backoff, clock):
    """The object is gone, or its write is not wanted any more: it must not fail for ever."""
    delay_s = backoff.failed("a", Failure.REFUSED, "no")
    clock.now += delay_s + 59
    backoff.names()
    assert backoff.problem() == (1, "no")
    clock.now += 2
    backoff.names()
    assert backoff.problem() == (0, "")
