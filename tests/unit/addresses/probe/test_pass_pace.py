"""A pass is asked for when IPs are free; where thousands are asked for, many come up in one."""

import pytest

from extip.addresses.probe.policy.pass_pace import PassPace


def test_nothing_is_asked_for_until_an_ip_is_free_and_then_it_is_at_once():
    pace = PassPace()
    assert pace.due_s(10.0, lambda: 0) is None
    pace.found_free(10.0)
    assert pace.due_s(10.0, lambda: 0) == 0
    pace.asked(10.0)
    assert pace.due_s(10.0, lambda: 0) is None


def test_two_requests_are_a_moment_apart():
    pace = PassPace()
    pace.found_free(10.0)
    pace.asked(10.0)
    pace.found_free(10.005)
    assert pace.due_s(10.005, lambda: 0) == pytest.approx(0.015)
    assert pace.due_s(10.03, lambda: 0) == 0


@pytest.mark.parametrize(("asking", "wait_s"), [(10, 0.0005), (1_000, 0.05), (9_000, 0.1)])
def test_it_waits_for_those_that_are_still_asked_for_but_not_for_long(asking, wait_s):
    pace = PassPace()
    pace.found_free(10.0)
    pace.found_free(10.04)
    assert pace.due_s(10.0, lambda: asking) == pytest.approx(wait_s)
    assert pace.due_s(10.0, lambda: 0) == 0
    assert pace.due_s(10.1, lambda: asking) == 0


def test_a_pass_that_is_under_way_lets_them_through():
    pace = PassPace()
    pace.found_free(10.0)
    pace.forget()
    assert pace.due_s(10.0, lambda: 0) is None
