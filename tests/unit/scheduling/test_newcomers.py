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
    assert newcomers.over() == []
    assert newcomers.next_s() == 0.25
    newcomers.reported("a")
    assert newcomers.next_s() == 0
    assert newcomers.over() == ["a"]
    assert newcomers.next_s() is None


def test_it_is_new_for_half_a_second_in_any_case(newcomers, time):
    newcomers.created("a", node="n1")
    time.now += 0.25
    newcomers.reported("a")
    assert newcomers.next_s() == 0.25
    assert newcomers.over() == []
    assert newcomers.is_new("a")


def test_nobody_reports_of_a_claim_without_a_node(newcomers):
    newcomers.created("a", node="")
    assert newcomers.next_s() == 0.5


def test_a_node_that_does_not_report_is_not_waited_for_for_ever(newcomers, time):
    newcomers.created("a", node="n1")
    time.now += 1
    assert newcomers.over() == ["a"]


def test_a_claim_that_is_moved_or_deleted_is_new_no_more(newcomers):
    newcomers.created("a", node="n1")
    newcomers.drop("a")
    assert not newcomers.is_new("a")
    assert newcomers.next_s() is None


def test_while_many_are_created_all_are_new_though_reported(newcomers, time):
    for number in range(40):
        newcomers.created(f"c{number}", node="n1")
        newcomers.reported(f"c{number}")
        time.now += 0.5
    assert newcomers.over() == []
    assert newcomers.next_s() == 0.5
    time.now += 0.5
    assert len(newcomers.over()) == 40
    assert newcomers.names() == set()


def test_after_many_the_reports_of_all_are_waited_for_while_some_come(newcomers, time):
    for number in range(40):
        newcomers.created(f"c{number}", node="n1")
    for number in range(24):
        time.now += 0.5
        newcomers.reported(f"c{number}")
        newcomers.over()
        assert newcomers.is_new("c39")
    time.now += 3
    assert "c39" in newcomers.over()
    assert not newcomers.is_new("c0")


def test_no_claim_is_new_for_ever(newcomers, time):
    over: dict[str, float] = {}
    for number in range(240):
        newcomers.created(f"c{number}", node="n1")
        newcomers.reported("c20")
        over |= dict.fromkeys(newcomers.over(), time.now - 100.0)
        time.now += 0.5
    assert over["c20"] == 60, "a minute after the first one chores go on"
    assert over["c30"] == 15 + 90
    assert newcomers.is_new("c239")
