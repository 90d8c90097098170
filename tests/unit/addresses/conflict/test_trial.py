"""An IP that has just come up is left to a station that was there first, and to no other."""

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extip.addresses.conflict.policy.defence import ANSWER_S, RIVAL_S
from extip.addresses.conflict.policy.trial import RETURN_S, TRIAL_S, Trials
from extip.net.neighbour_events import FrameKind, NeighbourEvent

IP = ip_address("10.0.0.1")
LOW, OWN, HIGH = b"\x02\x00\x00\x00\x00\x01", b"\x02\x00\x00\x00\x00\x05", b"\x02" * 6
UP_AT = 100.0


def on_trial() -> Trials:
    trials = Trials()
    assert trials.up([IP], UP_AT) == [IP]
    return trials


def ask(trials: Trials, at: float, *answering: bytes) -> bytes:
    """Ask, have stations answer, and end the round."""
    trials.on_asked(IP, at)
    for mac in answering:
        trials.on_neighbour_event(NeighbourEvent(IP, mac, FrameKind.ANNOUNCEMENT), at + 0.001)
    return trials.judge(IP, at + ANSWER_S, own=OWN)


def test_a_station_with_a_lower_mac_keeps_it_at_once():
    assert ask(on_trial(), UP_AT + 0.5, LOW) == LOW


def test_a_station_with_a_higher_mac_keeps_it_when_it_does_not_make_way():
    trials = on_trial()
    assert ask(trials, UP_AT + 0.5, HIGH) == b""
    assert ask(trials, UP_AT + 1.5, HIGH) == b""
    assert ask(trials, UP_AT + 2.5, HIGH) == HIGH
    assert trials.ips() == frozenset()


def test_a_station_that_makes_way_takes_nothing():
    trials = on_trial()
    for number, answering in enumerate([[HIGH], [HIGH], [], []]):
        assert ask(trials, UP_AT + 0.5 + number, *answering) == b""
    assert trials.over(UP_AT + 1.5 + RIVAL_S) == {}, "it was heard a moment ago"
    assert trials.over(UP_AT + 1.6 + RIVAL_S) == {IP: HIGH}, "there was a conflict, to be told"


def test_who_was_never_opposed_is_past_its_trial_and_stays():
    trials = on_trial()
    assert trials.over(UP_AT + TRIAL_S - 0.1) == {}
    assert trials.ips() == {IP}
    assert trials.over(UP_AT + TRIAL_S) == {}
    assert trials.ips() == frozenset()
    assert ask(trials, UP_AT + TRIAL_S + 1, LOW, HIGH) == b""


def test_an_announcement_alone_takes_nothing_where_the_segment_can_be_asked():
    trials = on_trial()
    trials.on_neighbour_event(NeighbourEvent(IP, LOW, FrameKind.ANNOUNCEMENT), UP_AT + 0.1)
    assert ask(trials, UP_AT + 0.5) == b""
    trials.on_neighbour_event(
        NeighbourEvent(IP, LOW, FrameKind.ANNOUNCEMENT), UP_AT + 0.5 + 2 * ANSWER_S
    )
    assert ask(trials, UP_AT + 1.5) == b""


def test_an_announcement_counts_where_it_cannot_be_asked():
    """As where kube-proxy has every node answer for every IP."""
    trials = on_trial()
    trials.on_neighbour_event(NeighbourEvent(IP, LOW, FrameKind.ANNOUNCEMENT), UP_AT + 0.1)
    assert trials.judge(IP, UP_AT + 0.55, own=OWN) == LOW


def test_a_question_of_another_station_is_no_word_against():
    trials = on_trial()
    trials.on_asked(IP, UP_AT + 0.5)
    trials.on_neighbour_event(NeighbourEvent(IP, LOW, FrameKind.PROBE), UP_AT + 0.501)
    assert trials.judge(IP, UP_AT + 0.55, own=OWN) == b""


@pytest.mark.parametrize(("away_s", "tried"), [(RETURN_S - 1, []), (RETURN_S + 1, [IP])])
def test_one_that_was_removed_for_a_moment_is_not_tried_again(away_s, tried):
    trials = on_trial()
    trials.over(UP_AT + TRIAL_S)
    trials.down([IP], UP_AT + 60)
    assert trials.up([IP], UP_AT + 60 + away_s) == tried


def test_one_that_was_up_already_is_not_tried():
    trials = Trials()
    trials.found([IP])
    trials.down([IP], UP_AT)
    assert trials.up([IP], UP_AT + 1) == []


def test_one_that_was_left_on_trial_is_tried_again():
    trials = on_trial()
    trials.down([IP], UP_AT + 1)
    assert trials.up([IP], UP_AT + 2) == [IP]


@given(
    st.lists(st.binary(min_size=6, max_size=6), min_size=2, max_size=2, unique=True),
    st.floats(0, 6),
    st.lists(st.floats(0.9, 1.1), min_size=20, max_size=20),
)
def test_of_two_clusters_exactly_one_keeps_it(macs, later_s, gaps):
    """Each asks by itself at its own pace; the one that makes way answers no more."""
    trials = {mac: Trials() for mac in macs}
    up_at = dict(zip(macs, (UP_AT, UP_AT + later_s), strict=True))
    due = {mac: at + 0.5 for mac, at in up_at.items()}
    for mac, at in up_at.items():
        trials[mac].up([IP], at)
    left: set[bytes] = set()
    pace = iter(gaps)
    while due:
        mac = min(due, key=lambda m: due[m])
        now, other = due.pop(mac), macs[1 - macs.index(mac)]
        trial = trials[mac]
        trial.over(now)
        if IP not in trial.ips():
            continue
        trial.on_asked(IP, now)
        if other not in left and up_at[other] <= now:
            trial.on_neighbour_event(NeighbourEvent(IP, other, FrameKind.ANNOUNCEMENT), now + 0.001)
        if trial.judge(IP, now + ANSWER_S, own=mac):
            left.add(mac)
        else:
            due[mac] = now + next(pace, 1.0)
    assert len(left) == 1
    if later_s >= TRIAL_S:
        assert left == {macs[1]}, "the other one was there first"
