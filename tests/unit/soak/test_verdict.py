"""Outages and doubled IPs are explained by faults, or they are not."""

from dataclasses import replace

import pytest

from tests.soak.policy import bounds
from tests.soak.policy.verdict import Block, Cause, History, judge_doubled, judge_outage
from tests.soak.policy.windows import Doubled, Holding, Outage, Span

IP = "10.88.3.1"
HELD = {IP: [Holding(node="n1", begin_s=0.0, end_s=100.0)]}


def cause(begin_s, bound_s, *, node="n1", until_s=None, **more):
    return Cause(
        what=more.get("what", "fault"),
        begin_s=begin_s,
        until_s=begin_s if until_s is None else until_s,
        bound_s=bound_s,
        nodes=frozenset({node} if node else ()),
        ips=frozenset(more.get("ips", ())),
        errors=frozenset(more.get("errors", ())),
    )


def history(*causes, blocks=(), stalls=(), held=HELD):
    return History(causes=causes, blocks=blocks, stalls=stalls, held=held)


def outage(begin_s, end_s, *errors, blind_s=0.0):
    told = errors or ("timeout",)
    return Outage(ip=IP, begin_s=begin_s, end_s=end_s, errors=told, blind_s=blind_s)


def explained(one, happened):
    return judge_outage(one, happened).because


def test_an_outage_without_any_fault_is_not_explained():
    assert explained(outage(50, 51), history()) == ""


def test_an_outage_within_the_bound_of_a_fault_of_its_node_is_explained():
    assert explained(outage(50, 53), history(cause(50, 3))) == "fault"


def test_it_is_told_how_long_an_outage_might_have_been():
    judged = judge_outage(outage(50.5, 52), history(cause(50, 3)))
    assert judged.allowed_s == pytest.approx(2.5 + bounds.SLACK_S)


def test_an_outage_beyond_the_bound_and_the_slack_is_not_explained():
    assert explained(outage(50, 53 + bounds.SLACK_S + 0.1), history(cause(50, 3))) == ""


def test_an_outage_that_began_before_the_fault_is_not_explained():
    assert explained(outage(48, 52), history(cause(50, 3))) == ""


def test_a_fault_of_another_node_explains_nothing():
    assert explained(outage(50, 52), history(cause(50, 3, node="n2"))) == ""


def test_a_fault_of_a_node_that_had_the_ip_long_ago_explains_nothing():
    held = {IP: [Holding(node="n1", begin_s=0, end_s=20), Holding(node="n2", begin_s=20, end_s=99)]}
    assert explained(outage(50, 52), history(cause(50, 3), held=held)) == ""


def test_a_fault_that_must_cost_nothing_has_no_slack():
    assert explained(outage(50, 50.7), history(cause(50, 0))) == ""


def test_a_fault_that_must_cost_nothing_may_while_nobody_decides():
    blocks = [Block(what="no leader", begin_s=49, end_s=57)]
    happened = history(cause(50, 0, until_s=60), blocks=blocks)
    assert explained(outage(56, 57 + bounds.DEAD_S), happened) == "fault"
    assert explained(outage(56, 57 + bounds.DEAD_S + bounds.SLACK_S + 1), happened) == ""


def test_the_bound_counts_anew_once_somebody_decides_again():
    blocks = [Block(what="no API server", begin_s=52, end_s=70)]
    assert explained(outage(50, 73), history(cause(50, 3), blocks=blocks)) == "fault"
    assert explained(outage(50, 73), history(cause(50, 3))) == ""


def test_a_block_that_begins_after_the_bound_does_not_lengthen_it():
    blocks = [Block(what="no API server", begin_s=60, end_s=70)]
    assert explained(outage(50, 73), history(cause(50, 3), blocks=blocks)) == ""


def test_two_faults_that_follow_each_other_explain_one_outage_together():
    first, second = cause(50, 3, what="first"), cause(55, 3, what="second", node="n2")
    held = {IP: [*HELD[IP], Holding(node="n2", begin_s=53, end_s=99)]}
    assert explained(outage(50, 60), history(first, second, held=held)) == "first, then second"


def test_two_faults_with_a_gap_between_them_do_not():
    first, second = cause(50, 3, what="first"), cause(70, 3, what="second")
    assert explained(outage(50, 72), history(first, second)) == ""


def test_a_fault_of_one_ip_explains_that_ip_alone():
    assert explained(outage(50, 52), history(cause(50, 3, node="", ips=[IP]))) == "fault"
    assert explained(outage(50, 52), history(cause(50, 3, node="", ips=["10.88.3.2"]))) == ""


def test_a_cause_of_refusals_does_not_explain_silence():
    happened = history(cause(50, 60, errors=["refused"]))
    assert explained(outage(50, 52, "refused"), happened) == "fault"
    assert explained(outage(50, 52, "timeout"), happened) == ""


def test_a_node_dies_and_the_next_one_has_old_rules_for_the_ip():
    """The IP is silent on the wire first; then a node answers for it, and refuses."""
    dies = cause(50, 2, what="dies")
    refuses = replace(cause(40, 60, errors=["refused"], what="old rules"), up_on_wire=True)
    answered = {IP: [Holding(node="n2", begin_s=52, end_s=99)]}
    one = outage(50, 70, "refused", "timeout")
    happened = replace(history(dies, refuses), answered=answered)
    assert explained(one, happened) == "dies, then old rules"
    assert explained(one, replace(happened, causes=[refuses])) == ""
    assert explained(one, replace(happened, answered={})) == ""


def test_a_cause_that_leaves_the_ip_up_explains_no_silence_on_the_wire():
    replaced = replace(cause(50, 5), up_on_wire=True)
    assert explained(outage(50, 52), replace(history(replaced), answered=HELD)) == "fault"
    away = {IP: [Holding(node="n1", begin_s=0, end_s=50.5)]}
    assert explained(outage(50, 52), replace(history(replaced), answered=away)) == ""
    both = replace(history(replaced, cause(51, 3, what="next")), answered=away)
    assert explained(outage(50, 52), both) == "fault, then next"


def test_a_machine_that_stood_still_is_given_that_time():
    late = 53 + bounds.SLACK_S + 1
    stalls = [Span(begin_s=51, end_s=53)]
    assert explained(outage(50, late), history(cause(50, 3), stalls=stalls)) == "fault"
    assert explained(outage(50, late, blind_s=2), history(cause(50, 3))) == "fault"


@pytest.mark.parametrize(("lasts_s", "ok"), [(bounds.DOUBLE_S, True), (bounds.DOUBLE_S + 9, False)])
def test_two_nodes_may_answer_for_as_long_as_is_documented(lasts_s, ok):
    seen = Doubled(ip=IP, stations=("n1", "n2"), begin_s=50, end_s=50 + lasts_s)
    assert judge_doubled(seen, history(), strangers=[]).ok is ok


def test_a_station_that_is_no_node_may_answer_while_it_is_there():
    seen = Doubled(ip=IP, stations=("02:88:00:00:00:01", "n2"), begin_s=50, end_s=70)
    there = cause(49, 20, node="", until_s=70, ips=[IP], what="foreign station")
    assert judge_doubled(seen, history(), strangers=[there]).because == "foreign station"
    assert not judge_doubled(seen, history(), strangers=[]).ok
