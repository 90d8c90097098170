"""Yield while the Lease is stale, defend while it is fresh, and keep planned moves apart."""

from ipaddress import ip_address
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extip.addresses.conflict.policy.defence import (
    ANSWER_S,
    ASK_S,
    CALM_S,
    DEFEND_INTERVAL_S,
    RIVAL_S,
    Conflicts,
    Reaction,
)
from extip.net.neighbour_events import FrameKind, NeighbourEvent

IP, NEXT = ip_address("10.0.0.1"), ip_address("fd00::1")
LOW, OWN, HIGH = b"\x02\x00\x00\x00\x00\x01", b"\x02\x00\x00\x00\x00\x05", b"\x02" * 6
GRACE_S = 7.0
LATER = 100.0


def book() -> Conflicts:
    made = Conflicts(grace_s=GRACE_S)
    made.up([IP, NEXT], 0.0)
    return made


def on_neighbour_event(
    made: Conflicts, at: float, *, mac=HIGH, ip=IP, stale=False, leaving=False
) -> Reaction:
    return made.on_neighbour_event(
        NeighbourEvent(ip, mac, FrameKind.ANNOUNCEMENT), at, stale=stale, leaving=leaving
    )


def asks(made: Conflicts, at: float, mac: bytes) -> None:
    verdict = made.on_neighbour_event(
        NeighbourEvent(IP, mac, FrameKind.PROBE), at, stale=True, leaving=False
    )
    assert verdict is Reaction.IGNORE


@pytest.mark.parametrize(
    ("stale", "leaving", "at", "expected"),
    [
        (True, False, LATER, Reaction.YIELD),
        (True, False, 0.0, Reaction.YIELD),
        (True, True, LATER, Reaction.YIELD),  # the next holder, who is up
        (False, True, LATER, Reaction.IGNORE),
        (False, False, GRACE_S - 0.1, Reaction.DEFEND),
        (False, False, GRACE_S, Reaction.VERIFY),
    ],
)
def test_what_an_announcement_leads_to(stale, leaving, at, expected):
    assert on_neighbour_event(book(), at, stale=stale, leaving=leaving) is expected


@pytest.mark.parametrize("stale", [False, True])
def test_ips_that_are_not_up_are_nobodys_business(stale):
    made = book()
    made.down([IP])
    assert on_neighbour_event(made, LATER, stale=stale) is Reaction.IGNORE
    assert (
        on_neighbour_event(made, LATER, ip=ip_address("10.0.0.9"), stale=stale) is Reaction.IGNORE
    )
    assert not made.conflict(IP, HIGH, LATER)


def test_after_a_time_without_carrier_nobody_is_a_former_holder():
    """The IPs may have been given away meanwhile, and this node may not have heard of it."""
    made = book()
    made.defended(IP, 1.0)
    made.end_grace()
    assert on_neighbour_event(made, 2.0) is Reaction.VERIFY


@pytest.mark.parametrize("stale", [False, True])
def test_a_question_takes_nothing_away(stale):
    event = NeighbourEvent(IP, HIGH, FrameKind.PROBE)
    assert book().on_neighbour_event(event, LATER, stale=stale, leaving=False) is Reaction.IGNORE


@given(st.lists(st.tuples(st.floats(0, 3), st.sampled_from([LOW, HIGH])), max_size=200))
def test_no_storm_makes_more_defences_than_one_an_interval(steps):
    """Nor does it take the IP away: YIELD never comes while the Lease is fresh."""
    made, now, defences = book(), LATER, []
    for step_s, mac in steps:
        now += step_s
        verdict = on_neighbour_event(made, now, mac=mac)
        assert verdict in (Reaction.VERIFY, Reaction.IGNORE)
        if verdict is Reaction.VERIFY:
            made.conflict(IP, mac, now)
            made.defended(IP, now)
            defences.append(now)
    gaps = [b - a for a, b in pairwise(defences)]
    assert all(gap >= DEFEND_INTERVAL_S for gap in gaps)
    assert len(made.conflicts()) == (1 if steps else 0)


def test_each_ip_is_defended_for_itself():
    made = book()
    made.defended(IP, LATER)
    assert on_neighbour_event(made, LATER) is Reaction.IGNORE
    assert on_neighbour_event(made, LATER, ip=NEXT) is Reaction.VERIFY


def test_a_conflict_is_told_once_and_ends_when_it_is_calm():
    made = book()
    assert made.conflict(IP, LOW, LATER)
    assert not made.conflict(IP, HIGH, LATER + 1)
    assert made.conflicts() == {IP: LOW}
    made.defended(IP, LATER + 1)
    on_neighbour_event(made, LATER + 5)  # not answered, and yet it goes on
    assert made.calm(LATER + CALM_S + 4.9) == frozenset()
    assert made.calm(LATER + CALM_S + 5) == {IP}
    assert made.conflicts() == {}
    assert made.conflict(IP, HIGH, LATER + 200)


def test_a_conflict_ends_with_the_address():
    made = book()
    made.conflict(IP, LOW, LATER)
    made.down([IP])
    assert made.conflicts() == {}
    made.up([IP], LATER + 1)
    assert made.conflicts() == {}
    assert made.calm(LATER + 1000) == frozenset()


def test_an_answer_is_looked_at_a_moment_later():
    made = book()
    made.on_asked(IP, LATER)
    assert on_neighbour_event(made, LATER + 0.001, stale=True) is Reaction.WAIT
    assert made.must_yield(IP, LATER + ANSWER_S, own=OWN) == HIGH
    assert made.must_yield(IP, LATER + ANSWER_S, own=OWN) == b""
    made.on_asked(IP, LATER + 1)
    assert made.must_yield(IP, LATER + 1 + ANSWER_S, own=OWN) == b"", "nobody answered"
    assert on_neighbour_event(made, LATER + 1 + 2 * ANSWER_S, stale=True) is Reaction.YIELD


@given(
    st.tuples(st.binary(min_size=6, max_size=6), st.binary(min_size=6, max_size=6)),
    st.floats(0, ASK_S),
)
def test_of_two_that_are_stale_and_ask_exactly_one_stays(macs, phase_s):
    """Both have the IP and neither can know better; had both made way, nobody would have it."""
    if macs[0] == macs[1]:
        return
    first, second = book(), book()
    second_asks = LATER + phase_s
    first.on_asked(IP, LATER)
    on_neighbour_event(first, LATER + 0.001, mac=macs[1], stale=True)
    asks(second, LATER, macs[0])
    if phase_s <= ANSWER_S:
        asks(first, second_asks, macs[1])
    yields = bool(first.must_yield(IP, LATER + ANSWER_S, own=macs[0]))
    stays = [macs[1]] if yields else [macs[0]]
    second.on_asked(IP, second_asks)
    if not yields or phase_s <= ANSWER_S:  # the kernel of the first one still answered
        on_neighbour_event(second, second_asks + 0.001, mac=macs[0], stale=True)
        if second.must_yield(IP, second_asks + ANSWER_S, own=macs[1]):
            assert stays == [macs[0]]
        else:
            assert stays == [macs[1]]


def test_one_that_asked_long_ago_may_have_been_given_it_since():
    made = book()
    asks(made, LATER, HIGH)
    made.on_asked(IP, LATER + RIVAL_S + 0.1)
    on_neighbour_event(made, LATER + RIVAL_S + 0.11, stale=True)
    assert made.must_yield(IP, LATER + RIVAL_S + 0.2, own=LOW) == HIGH


def test_an_announcement_counts_even_of_one_that_asks():
    """A new holder may have probed before it came up."""
    made = book()
    asks(made, LATER, HIGH)
    assert on_neighbour_event(made, LATER + 0.1, stale=True) is Reaction.YIELD


def test_forged_questions_fill_no_memory():
    made = book()
    for number in range(1000):
        asks(made, LATER, number.to_bytes(6, "big"))
    asks(made, LATER, HIGH)
    made.on_asked(IP, LATER + 0.1)
    on_neighbour_event(made, LATER + 0.11, stale=True)
    assert made.must_yield(IP, LATER + 0.15, own=LOW) == b""
