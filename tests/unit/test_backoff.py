"""Delays grow, stay under the cap, and leave a share to chance."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extip.backoff import Backoff

BACKOFF = Backoff(initial_s=0.8, cap_s=30.0)

CHANCE = st.floats(0, 1, exclude_max=True)


@pytest.mark.parametrize(
    ("failures", "delay_s"), [(1, 0.8), (2, 1.6), (3, 3.2), (6, 25.6), (7, 30.0), (10_000, 30.0)]
)
def test_it_doubles_up_to_the_cap(failures, delay_s):
    assert BACKOFF.delay_s(failures, 0.0) == pytest.approx(delay_s)


@given(failures=st.integers(1, 10_000), chance=CHANCE)
def test_jitter_only_shortens_and_never_by_more_than_its_share(failures, chance):
    full = BACKOFF.delay_s(failures, 0.0)
    assert 0.5 * full <= BACKOFF.delay_s(failures, chance) <= full <= 30.0


@given(failures=st.integers(1, 100), chance=CHANCE)
def test_it_never_shrinks_as_failures_go_on(failures, chance):
    assert BACKOFF.delay_s(failures, chance) <= BACKOFF.delay_s(failures + 1, chance)


def test_an_initial_delay_above_the_cap_is_cut():
    assert Backoff(initial_s=5.0, cap_s=2.0).delay_s(1, 0.0) == 2.0
