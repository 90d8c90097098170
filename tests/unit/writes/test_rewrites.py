"""A slip is put right at once; a program that undoes each write is written to ever more rarely."""

from itertools import pairwise

import pytest

from extip.writes.policy.rewrites import Rewrites

MANY = 1000
"""Writes that nobody makes in an hour who waits ever longer."""

ALWAYS = 0.0
"""The chance that takes nothing off a delay."""


def fight(rewrites, seconds, *, content="ours"):
    """Have each write undone at once, and written again as soon as it may be; return when."""
    now = 0.0
    written: list[float] = []
    while now < seconds and len(written) < MANY:
        rewrites.wrote("a", content, now=now, chance=ALWAYS)
        written.append(now)
        now = max(now, rewrites.due_s("a", content)) + 0.001
    return written


def test_the_first_write_and_the_one_that_puts_a_slip_right_do_not_wait():
    rewrites = Rewrites()
    assert rewrites.due_s("a", "ours") == 0.0
    rewrites.wrote("a", "ours", now=10.0, chance=ALWAYS)
    assert rewrites.due_s("a", "ours") == 0.0
    assert not rewrites.is_fight("a", "ours")
    assert rewrites.waiting(10.0) == {}


def test_who_undoes_each_write_is_written_to_ever_more_rarely():
    written = fight(Rewrites(), 3600.0)
    gaps = [b - a for a, b in pairwise(written[1:])]
    assert written[1] < 0.01
    assert gaps[0] == pytest.approx(1.0, abs=0.01)
    assert gaps == sorted(gaps)
    assert gaps[-1] == pytest.approx(300.0, abs=0.01)


def test_the_longest_delay_can_be_shorter():
    written = fight(Rewrites(15.0), 600.0)
    assert written[-1] - written[-2] == pytest.approx(15.0, abs=0.01)


def test_another_content_or_another_object_does_not_wait():
    rewrites = Rewrites()
    for _ in range(5):
        rewrites.wrote("a", "ours", now=0.0, chance=ALWAYS)
    assert rewrites.due_s("a", "ours") > 0
    assert rewrites.is_fight("a", "ours")
    assert rewrites.due_s("a", "news") == rewrites.due_s("b", "ours") == 0.0
    assert not rewrites.is_fight("a", "news")
    rewrites.wrote("a", "news", now=0.0, chance=ALWAYS)
    assert not rewrites.is_fight("a", "ours"), "what was in between ends the row"


def test_what_waits_is_told_with_its_time():
    rewrites = Rewrites()
    rewrites.wrote("a", "ours", now=0.0, chance=ALWAYS)
    rewrites.wrote("a", "ours", now=0.0, chance=ALWAYS)
    assert rewrites.waiting(0.25) == {"a": pytest.approx(0.75)}
    assert rewrites.waiting(1.0) == {}


def test_what_has_another_content_now_or_is_forgotten_does_not_wait():
    rewrites = Rewrites()
    for name in ("a", "b"):
        rewrites.wrote(name, "ours", now=0.0, chance=ALWAYS)
        rewrites.wrote(name, "ours", now=0.0, chance=ALWAYS)
    rewrites.wrote("a", "news", now=0.0, chance=ALWAYS)
    assert rewrites.waiting(0.25) == {"b": pytest.approx(0.75)}
    rewrites.forget(601.0)
    assert rewrites.waiting(0.25) == {}
    rewrites.wrote("b", "ours", now=601.0, chance=ALWAYS)
    assert rewrites.waiting(601.0) == {}


def test_after_a_calm_time_a_write_counts_as_the_first():
    rewrites = Rewrites()
    for _ in range(5):
        rewrites.wrote("a", "ours", now=0.0, chance=ALWAYS)
    rewrites.forget(599.0)
    assert rewrites.is_fight("a", "ours")
    rewrites.forget(601.0)
    assert not rewrites.is_fight("a", "ours")
    assert rewrites.due_s("a", "ours") == 0.0


def test_those_that_are_written_again_are_not_forgotten_with_the_old_ones():
    rewrites = Rewrites()
    for name in ("old", "new"):
        rewrites.wrote(name, "ours", now=0.0, chance=ALWAYS)
        rewrites.wrote(name, "ours", now=0.0, chance=ALWAYS)
    rewrites.wrote("new", "ours", now=500.0, chance=ALWAYS)
    rewrites.forget(700.0)
    assert rewrites.is_fight("new", "ours")
    assert not rewrites.is_fight("old", "ours")
