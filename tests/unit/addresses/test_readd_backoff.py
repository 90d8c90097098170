"""A single removal is repaired at once; a fight is fought ever more slowly, and is forgotten."""

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extip.addresses.policy.readd_backoff import AT_ONCE, CALM_S, ReaddBackoff

IP, OTHER = ip_address("10.0.0.1"), ip_address("fd00::1")
SLOWEST_S = 20.0


def delays(backoff: ReaddBackoff, *, up_s: float, times: int) -> list[float]:
    """Remove an address again and again, each time when it has been up for `up_s`."""
    now, found = 0.0, []
    for _ in range(times):
        backoff.on_removed([IP], now)
        back_at = backoff.next_at(now) or now
        assert (IP in backoff.waiting(now)) is (back_at > now)
        assert IP not in backoff.waiting(back_at)
        found.append(back_at - now)
        now = back_at + up_s
    return found


def test_the_first_few_are_repaired_at_once_then_ever_more_slowly() -> None:
    found = delays(ReaddBackoff(SLOWEST_S), up_s=1.0, times=AT_ONCE + 7)
    assert found == [0.0] * AT_ONCE + [1.0, 2.0, 4.0, 8.0, 16.0, 20.0, 20.0]


def test_who_removes_it_now_and_then_is_not_fought_with() -> None:
    assert set(delays(ReaddBackoff(SLOWEST_S), up_s=CALM_S, times=50)) == {0.0}


def test_after_a_calm_time_all_is_as_at_first() -> None:
    backoff = ReaddBackoff(SLOWEST_S)
    for _ in range(AT_ONCE + 3):
        backoff.on_removed([IP], 0.0)
    assert backoff.contested(0.0) == [IP]
    calm = (backoff.next_at(0.0) or 0.0) + CALM_S
    assert backoff.contested(calm - 0.1) == [IP]
    assert backoff.contested(calm) == []
    assert backoff.on_removed([IP], calm) == [IP]
    assert backoff._removals.keys() == {IP}


def test_each_address_has_a_fight_of_its_own() -> None:
    backoff = ReaddBackoff(SLOWEST_S)
    for _ in range(AT_ONCE):
        assert backoff.on_removed([IP], 0.0) == [IP]
    assert backoff.on_removed([IP, OTHER], 0.0) == [OTHER]
    assert backoff.waiting(0.0) == {IP}


@given(st.lists(st.floats(0, 100), max_size=60), st.floats(0.1, 1000))
def test_never_longer_than_the_slowest(gaps: list[float], slowest_s: float) -> None:
    backoff, now = ReaddBackoff(slowest_s), 0.0
    for gap in gaps:
        now += gap
        backoff.on_removed([IP], now)
        assert (backoff.next_at(now) or now) - now <= slowest_s * (1 + 1e-9) + 1e-9
    if gaps:
        assert backoff.waiting(now + slowest_s + 1e-3) == frozenset()


@pytest.mark.parametrize("count", [2000])
def test_it_does_not_blow_up_after_thousands(count: int) -> None:
    assert max(delays(ReaddBackoff(SLOWEST_S), up_s=0.0, times=count)) == SLOWEST_S
