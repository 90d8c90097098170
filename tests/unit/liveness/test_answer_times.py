"""How long answers took of late."""

from extip.liveness.answer_times import AnswerTimes


def test_the_slowest_answer_of_late_counts():
    times = AnswerTimes()
    for sent_at, over_at in ((0.0, 2.0), (3.0, 3.5), (4.0, 4.1)):
        times.began(sent_at)
        times.ended(sent_at, over_at, answered=True)
    assert times.slowest_s(5.0, within_s=10.0) == 2.0
    assert times.slowest_s(5.0, within_s=2.0) == 0.5
    assert times.slowest_s(60.0, within_s=2.0) == 0.0


def test_a_call_without_an_answer_counts_while_it_waits():
    times = AnswerTimes()
    times.began(1.0)
    times.began(2.0)
    assert times.slowest_s(4.0, within_s=1.0) == 3.0
    times.ended(1.0, 4.5, answered=False)
    assert times.slowest_s(5.0, within_s=1.0) == 3.0
    times.ended(2.0, 6.0, answered=False)
    assert times.slowest_s(6.0, within_s=1.0) == 0.0
