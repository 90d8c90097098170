"""From probes and answers on the wire to windows of time."""

from math import inf

from tests.lab.observe import LeaseFencing
from tests.lab.probe import Answer
from tests.soak.policy.windows import (
    Holding,
    Presence,
    Span,
    doubled,
    holdings,
    outages,
    silent_from_s,
)

IP = "10.88.3.1"


def answers(*pairs):
    return [
        Answer(sent_s=at, ended_s=at, node="n1" if good else None, error="" if good else "timeout")
        for at, good in pairs
    ]


def found(seen, *wanted):
    spans = [Span(begin_s=begin_s, end_s=end_s) for begin_s, end_s in wanted]
    made = outages(IP, seen, spans, standstill_s=5)
    return [(one.begin_s, one.end_s, one.blind_s) for one in made]


def test_an_outage_lasts_from_the_first_failed_probe_to_the_next_good_one():
    seen = answers((1, True), (2, False), (3, False), (4, True))
    assert found(seen, (0, 9)) == [(2, 4, 0)]


def test_an_ip_that_never_answers_is_out_from_the_first_probe_on():
    assert found(answers((1, False), (2, False)), (0, 9)) == [(1, 2, 0)]


def test_an_ip_that_nobody_wants_has_no_outage():
    seen = answers((1, False), (2, False), (3, True))
    assert found(seen) == []
    assert found(seen, (1.5, 9)) == [(1.5, 3, 0)]


def test_an_ip_that_two_services_want_is_out_once():
    seen = answers((1, True), (2, False), (3, False), (4, True))
    assert found(seen, (0, 9), (1, 5)) == [(2, 4, 0)]
    assert found(seen, (0, 2.5), (2.7, 9)) == [(2, 2.5, 0), (2.7, 4, 0)]


def test_a_prober_that_stood_still_saw_nothing():
    assert found(answers((1, False), (8, False), (9, True)), (0, 9)) == [(1, 9, 7)]


def held(*triples):
    return [Holding(node=node, begin_s=begin_s, end_s=end_s) for node, begin_s, end_s in triples]


def times(one_ip):
    return [(one.stations, one.begin_s, one.end_s) for one in doubled(IP, one_ip)]


def test_an_ip_that_goes_from_node_to_node_is_not_doubled():
    assert times(held(("n1", 0, 5), ("n2", 5, 9))) == []


def test_an_ip_that_two_have_is_doubled_for_the_time_of_both():
    assert times(held(("n1", 0, 5), ("n2", 3, 9))) == [(("n1", "n2"), 3, 5)]


def test_doubles_that_follow_each_other_are_one():
    three = held(("n1", 0, 5), ("n2", 3, 9), ("n3", 4, 7))
    assert times(three) == [(("n1", "n2", "n3"), 3, 7)]


def test_the_same_node_twice_is_no_double():
    assert times(held(("n1", 0, 5), ("n1", 5, 9))) == []


def test_a_station_that_is_no_node_is_named_by_its_mac():
    seen = [LeaseFencing(mac="02:00", node=None, first_s=1, last_s=2)]
    assert holdings(seen) == held(("02:00", 1, 2))


def test_silence_begins_when_the_last_of_the_nodes_is_gone():
    one_ip = held(("n1", 0, 5), ("n2", 5.3, 9), ("n3", 20, 30))
    assert silent_from_s(one_ip, 2, 9) == inf
    assert silent_from_s(one_ip, 2, 12) == 9
    assert silent_from_s(one_ip, 10, 12) == 10
    assert silent_from_s([], 10, 12) == 10


def test_presence_lasts_from_the_first_look_to_the_last_that_found_it():
    presence = Presence()
    for at_s, names in [(1, ["a"]), (2, ["a", "b"]), (3, ["b"]), (4, ["a"])]:
        presence.see(at_s, names)
    spans = presence.spans()
    assert spans["a"] == [Span(begin_s=1, end_s=2), Span(begin_s=4, end_s=4)]
    assert spans["b"] == [Span(begin_s=2, end_s=3)]
