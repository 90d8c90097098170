"""Conditions that a test expects to be there."""

from collections.abc import Sequence

from extip.api.conditions import find_condition
from extip.api.meta_v1 import Condition


def condition_of(conditions: Sequence[Condition] | None, kind: str) -> Condition:
    """Return the condition of that type; an AssertionError when there is none."""
    found = find_condition(conditions, kind)
    assert found is not None, f"no condition {kind} in {conditions}"
    return found
