"""Label selectors mean what they mean to Kubernetes."""

import pytest

from extip.api.meta_v1 import LabelSelector, LabelSelectorRequirement
from extip.api.selector import selects

LABELS = {"zone": "a", "edge": ""}


def expression(key, operator, *values):
    return LabelSelector(
        match_expressions=(LabelSelectorRequirement(key=key, operator=operator, values=values),)
    )


@pytest.mark.parametrize(
    "selector",
    [
        None,
        LabelSelector(),
        LabelSelector(match_labels={"zone": "a"}),
        expression("zone", "In", "a", "b"),
        expression("zone", "NotIn", "b"),
        expression("tier", "NotIn", "b"),
        expression("edge", "Exists"),
        expression("tier", "DoesNotExist"),
    ],
)
def test_it_selects(selector):
    assert selects(selector, LABELS)


@pytest.mark.parametrize(
    "selector",
    [
        LabelSelector(match_labels={"zone": "a", "tier": "x"}),
        expression("zone", "In", "b"),
        expression("tier", "In", ""),
        expression("zone", "NotIn", "a"),
        expression("tier", "Exists"),
        expression("edge", "DoesNotExist"),
        expression("zone", "Near", "a"),
        LabelSelector(
            match_labels={"zone": "a"},
            match_expressions=(LabelSelectorRequirement(key="edge", operator="DoesNotExist"),),
        ),
    ],
)
def test_it_does_not_select(selector):
    assert not selects(selector, LABELS)
