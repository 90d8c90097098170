"""What comes in a row holds back what can wait, for a while."""

from extip.writes.policy.burst import Burst


def burst() -> Burst:
    return Burst(few=3, quiet_s=1.0, longest_s=10.0)


def test_few_hold_nothing_back():
    few = burst()
    few.note(3, 5.0)
    assert not few.many(5.0)
    assert few.hold_s(5.0) == 0


def test_many_hold_the_rest_back_until_a_pause():
    many = burst()
    many.note(2, 5.0)
    many.note(2, 5.5)
    assert many.many(6.4)
    assert many.hold_s(5.5) == 1.0
    assert many.hold_s(6.25) == 0.25
    assert not many.many(6.5)
    assert many.hold_s(6.5) == 0


def test_after_a_pause_it_counts_anew():
    again = burst()
    again.note(4, 5.0)
    again.note(3, 6.5)
    assert not again.many(6.5)


def test_nothing_is_no_news():
    quiet = burst()
    quiet.note(4, 5.0)
    quiet.note(0, 5.9)
    assert not quiet.many(6.5)


def test_a_row_without_an_end_holds_nothing_back_for_ever():
    endless = burst()
    for number in range(30):
        endless.note(1, number / 2)
    assert endless.many(14.5)
    assert endless.hold_s(9.75) == 0.25
    assert endless.hold_s(14.5) <= 0
