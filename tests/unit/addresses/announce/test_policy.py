"""When an address is announced, and how fast."""

from hypothesis import given
from hypothesis import strategies as st

from extip.addresses.announce.policy import (
    REPEAT_S,
    announce_at,
    is_reply,
    next_round,
)
from extip.token_bucket import TokenBucket

times = st.floats(0, 1e6)


def test_four_times_in_two_seconds_then_once_a_minute() -> None:
    due = [announce_at(5.0, n) for n in range(7)]
    assert due == [5.0, 5.1, 6.0, 7.0, 67.0, 127.0, 187.0]


def test_both_forms_of_gratuitous_arp_are_used() -> None:
    assert [is_reply(n) for n in range(4)] == [False, True, False, True]


@given(times, st.integers(0, 500))
def test_rounds_get_later(started: float, number: int) -> None:
    assert announce_at(started, number + 1) > announce_at(started, number)


@given(times, st.integers(0, 50))
def test_a_punctual_round_is_followed_by_the_next(started: float, number: int) -> None:
    now = announce_at(started, number)
    assert next_round(started, number, now) == number + 1


@given(times, st.integers(0, 50), st.floats(0, 10_000))
def test_a_late_round_leaves_out_what_is_overtaken(
    started: float, sent: int, late_s: float
) -> None:
    """At most one more round is due at once; the one after it lies ahead."""
    now = announce_at(started, sent) + late_s
    following = next_round(started, sent, now)
    assert following > sent
    assert announce_at(started, following + 1) > now
    rounding_s = 1e-6
    assert announce_at(started, following) <= max(now, announce_at(started, sent + 1)) + rounding_s


@given(st.lists(st.floats(0, 0.5), min_size=1, max_size=300))
def test_frames_never_exceed_burst_and_rate(steps: list[float]) -> None:
    bucket = TokenBucket(rate=20.0, burst=5.0, tokens=5.0)
    now, taken = 0.0, 0
    for step in steps:
        now += step
        taken += bucket.take(now)
        assert taken <= 5 + 20.0 * now + 1e-6


def test_waiting_as_long_as_the_bucket_says_gives_a_token() -> None:
    bucket = TokenBucket(tokens=0.0)
    now = 0.0
    for _ in range(1000):
        assert not bucket.take(now)
        assert 0 < bucket.wait_s() <= 0.02
        now += bucket.wait_s()
        assert bucket.take(now)
        while bucket.take(now):
            pass


def test_ten_thousand_addresses_fit_into_one_repetition() -> None:
    assert TokenBucket().rate * REPEAT_S > 10_000
