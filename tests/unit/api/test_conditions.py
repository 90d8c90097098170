"""Times of conditions say when the status changed, not when somebody looked."""

from extip.api.conditions import find_condition, is_true, with_condition
from extip.api.meta_v1 import Condition

UP = Condition(type="Up", status="True", reason="AddressUp", last_transition_time="t1")


def test_a_first_observation_is_added_with_the_time():
    (only,) = with_condition(None, Condition(type="Up", status="Unknown", reason="New"), now="t0")
    assert only.last_transition_time == "t0"


def test_the_time_stays_while_the_status_stays():
    again = Condition(type="Up", status="True", reason="Announced", observed_generation=3)
    (only,) = with_condition([UP], again, now="t2")
    assert (only.reason, only.last_transition_time, only.observed_generation) == (
        "Announced",
        "t1",
        3,
    )


def test_the_time_changes_with_the_status():
    (only,) = with_condition([UP], Condition(type="Up", status="False", reason="Gone"), now="t2")
    assert only.last_transition_time == "t2"


def test_the_same_observation_again_is_the_same_value():
    other = Condition(type="Accepted", status="True", reason="Valid", last_transition_time="t0")
    assert with_condition([other, UP], UP, now="t9") == (other, UP)


def test_absence_is_not_true():
    assert not is_true(None, "Up")
    assert not is_true([Condition(type="Up", status="False")], "Up")
    assert is_true([UP], "Up")
    assert find_condition([UP], "Accepted") is None
