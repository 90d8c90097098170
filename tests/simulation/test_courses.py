"""A node fails over by one write, while its standby is drained, unfit or dead, or two lead.

Each course is played with many timings, and all invariants hold.
"""

import pytest

from tests.simulation.courses import Course, When
from tests.simulation.upsets import (
    BothDie,
    Drained,
    Excluded,
    NotSelected,
    OffSubnet,
    TwoLeaders,
    Unplugged,
)

SEEDS = range(1, 11)

pytestmark = pytest.mark.timeout(600)


def play(course: Course) -> None:
    assert [str(one) for one in course.play()] == []


def play_upset(kind: type[Course], seed: int) -> None:
    """Play it, and see that it came in time: before the verdict, then, or when the IPs are up."""
    course = kind(seed, tuple(When)[seed % len(When)])
    play(course)
    assert course.upset_s is not None
    assert course.declared or course.when is When.UNDECIDED
    assert course.had is (course.when is When.TAKEN)
    assert course.under_way


@pytest.mark.parametrize("seed", SEEDS)
def test_a_standby_is_drained(seed: int) -> None:
    play_upset(Drained, seed)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_standby_loses_its_carrier(seed: int) -> None:
    play_upset(Unplugged, seed)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_kubernetes_node_of_a_standby_is_excluded(seed: int) -> None:
    play_upset(Excluded, seed)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_standby_is_no_node_of_the_pool_any_more(seed: int) -> None:
    play_upset(NotSelected, seed)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_standby_loses_the_subnet(seed: int) -> None:
    play_upset(OffSubnet, seed)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("first", ["node", "standby"])
def test_a_standby_dies_with_the_node(first: str, seed: int) -> None:
    course = BothDie(seed, standby_first=first == "standby", refused=seed % 2 == 0)
    play(course)
    assert course.declared


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("what", ["both-declare-it", "the-second-assigns"])
def test_two_schedulers_lead(what: str, seed: int) -> None:
    course = TwoLeaders(seed, both=what == "both-declare-it")
    play(course)
    assert course.thawed_s is not None
    assert course.next not in ("", course.leader)
    declared = {course.leader, course.next} if course.both and course.after_s else {course.leader}
    assert course.declared.keys() >= declared
