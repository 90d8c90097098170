"""Several selectors, of which one is enough → the one selector of a pool."""

import pytest

from extip.api.meta_v1 import LabelSelector, LabelSelectorRequirement
from extip.api.selector import selects
from extip.migrate.policy.result import Result
from extip.migrate.policy.selectors import any_of, named, one_selector, text_of


def labels(**values):
    return LabelSelector(match_labels=values)


def expression(key, operator, *values):
    part = LabelSelectorRequirement(key=key, operator=operator, values=values or None)
    return LabelSelector(match_expressions=(part,))


@pytest.mark.parametrize(
    ("selector", "text"),
    [
        (LabelSelector(), ""),
        (labels(app="web", tier="x"), "app=web,tier=x"),
        (expression("app", "In", "a", "b"), "app in (a,b)"),
        (expression("app", "NotIn", "a"), "app notin (a)"),
        (expression("app", "Exists"), "app"),
        (expression("app", "DoesNotExist"), "!app"),
    ],
)
def test_a_selector_is_written_as_kubectl_reads_it(selector, text):
    assert text_of(selector) == text


@pytest.mark.parametrize(
    ("selectors", "text"),
    [
        ([labels(app="a")], "app=a"),
        ([labels(app="a"), labels(app="a")], "app=a"),
        ([labels(app="a"), labels(app="b")], "app in (a,b)"),
        ([expression("app", "In", "a", "b"), labels(app="c")], "app in (a,b,c)"),
        ([labels(app="a"), LabelSelector()], ""),
        ([named(["x"]), named(["y", "z"])], "kubernetes.io/metadata.name in (x,y,z)"),
    ],
)
def test_selectors_that_one_can_say_become_one(selectors, text):
    joined = any_of(selectors)
    assert joined is not None
    assert text_of(joined) == text


@pytest.mark.parametrize(
    "selectors",
    [
        [labels(app="a"), labels(tier="b")],
        [labels(app="a", tier="b"), labels(app="c")],
        [labels(app="a"), expression("app", "Exists")],
    ],
)
def test_selectors_that_one_cannot_say_get_a_label_of_their_own(selectors):
    assert any_of(selectors) is None
    result = Result()
    found = one_selector(selectors, "nodes", "edge", "a pool", result)
    assert selects(found, {"pool.ipcontroller.ext/edge": "true"})
    assert not selects(found, {"app": "a"})  # nobody has the label before it is set
    (remark,) = result.remarks
    assert remark.lost
    for selector in selectors:
        command = f"kubectl label nodes -l '{text_of(selector)}' pool.ipcontroller.ext/edge=true"
        assert command in remark.do


def test_nothing_selected_and_everything_selected_need_no_selector():
    assert one_selector([], "nodes", "edge", "a pool", Result()) is None
    assert one_selector([LabelSelector()], "nodes", "edge", "a pool", Result()) is None
