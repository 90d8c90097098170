"""How long a claim is new: until its node has reported, and while many are created."""

import pytest

from extip.scheduling.newcomers import Newcomers


class Time:
    now = 100.0

    def monotonic(self):
        return self.now


@pytest.fixture
def time():
    return Time()


@pytest.fixture
def newcomers(time):
    return Newcomers(time)


def test_a_claim_is_new_until_its_node_has_reported(newcomers, time):
    newcomers.created("a", node="n1")
    time.now += 0.75
    assert newcomers.waiting() == {"a": 0.25}
    newcomers.reported("a")
    assert newcomers.wait_s("a") == 0
    assert newcomers.waiting() == {}


def test_it_is_new_for_half_a_second_in_any_case(newcomers, time):
    newcomers.created("a", node="n1")
    time.now += 0.25
    newcomers.reported("a")
    assert newcomers.wait_s("a") == 0.25


def test_nobody_reports_of_a_claim_without_a_node(newcomers):
    newcomers.created("a", node="")
    assert newcomers.wait_s("a") == 0.5


def test_a_node_that_does_not_report_is_not_waited_for_for_ever(newcomers, time):
    newcomers.created("a", node="n1")
    time.now += 1
    assert newcomers.wait_s("a") == 0


def test_a_claim_that_is_moved_or_deleted_is_new_no_more(newcomers):
    newcomers.created("a", node="n1")
    newcomers.drop("a")
    assert newcomers.wait_s("a") == 0


def test_while_many_are_created_all_are_new_though_reported(newcomers, time):
    for number in range(40):
        newcomers.created(f"c{number}", node="n1")
        newcomers.reported(f"c{number}")
        time.now += 0.5
    assert newcomers.many
    assert newcomers.wait_s("c0") == 0.5
    time.now += 0.5
    assert not newcomers.many
    assert newcomers.waiting() == {}


def test_after_many_the_reports_of_all_are_waited_for_while_some_come(newcomers, time):
    for number in range(40):
        newcomers.created(f"c{number}", node="n1")
    for number in range(30):
        time.now += 0.5
        newcomers.reported(f"c{number}")
        assert newcomers.wait_s("c39") == 3.0 if number < 23 else newcomers.wait_s("c39") > 0
    assert newcomers.wait_s("c0") == 0


def test_no_claim_is_new_for_ever(newcomers, time):
    for number in range(200):
        newcomers.created(f"c{number}", node="n1")
        newcomers.reported("c0")
        if number == 100:
            assert newcomers.wait_s("c0") > 0
        if number == 140:
            assert newcomers.wait_s("c0") == 0, "a minute after the first one chores go on"
        time.now += 0.5
    assert newcomers.wait_s("c10") == 0
    assert newcomers.wait_s("c199") > 0
