"""An IP comes up after a full silence, and never while somebody speaks for it."""

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extip.addresses.probe.policy.probing import BACKOFF, FRESH_S, ROUNDS, Probes, refusal
from extip.net.neighbour_events import FrameKind, NeighbourEvent
from extip.services.policy.refusal import Reason

WINDOW_S = 0.2
A, B = ip_address("10.0.0.1"), ip_address("fd00::1")
THEIRS, OTHERS = b"\x02\0\0\0\0\x01", b"\x02\0\0\0\0\x02"
NOBODY: frozenset[bytes] = frozenset()


def half():
    return 0.5


def probes(*ips, now=0.0):
    made = Probes(window_s=WINDOW_S)
    made.want(ips, now)
    return made


def ask(made, now=0.0):
    """Send all frames in time; return when the waits end."""
    for _ in range(ROUNDS):
        for ip in made.due(now):
            made.sent(ip, now)
        now = made.next_at()
    return now


def test_silence_for_the_whole_window_makes_an_ip_free():
    made = probes(A, B)
    end = ask(made)
    assert end == pytest.approx(WINDOW_S)
    assert made.settle(end - 0.001) == 0
    assert made.clear() == frozenset()
    assert made.settle(end) == 2
    assert made.clear() == {A, B}
    assert made.next_at() is None


def test_a_late_frame_gets_its_time():
    made = probes(A)
    made.sent(A, 0.0)
    made.sent(A, 5.0)
    assert made.settle(5.05) == 0
    assert made.settle(5.0 + WINDOW_S / ROUNDS) == 1


def test_more_frames_than_enough_change_nothing():
    made = probes(A)
    end = ask(made)
    made.sent(A, end)
    assert made.settle(end) == 1


def test_no_frame_no_silence():
    made = probes(A)
    for now in (0.0, 1.0, 2.0):
        assert made.due(now) == [A]
        made.not_sent(A, now)
        assert made.settle(now + 0.5) == 0
    assert made.clear() == frozenset()


@pytest.mark.parametrize("kind", FrameKind)
def test_who_has_it_or_probes_for_it_stands_in_the_way(kind):
    made = probes(A, B)
    end = ask(made)
    by = NeighbourEvent(A, THEIRS, kind)
    assert made.on_neighbour_event(by)
    assert made.settle(end) == 1
    assert made.clear() == {B}
    assert made.judge(NOBODY, end, chance=half) == [A]
    assert dict(made.taken()) == {A: by}
    assert made.clear() == {B}
    told = refusal(by)
    assert told.reason is Reason.IN_USE
    assert "02:00:00:00:00:01" in told.message
    assert str(A) in told.message


def test_friends_do_not_and_are_not_asked_about_again():
    made = probes(A)
    end = ask(made)
    assert made.on_neighbour_event(NeighbourEvent(A, THEIRS, FrameKind.ANNOUNCEMENT))
    assert made.settle(end) == 0, "nobody knows yet whether it is a friend"
    assert made.suspects() == {THEIRS}
    assert made.judge(frozenset({THEIRS}), end, chance=half) == []
    assert not made.on_neighbour_event(NeighbourEvent(A, THEIRS, FrameKind.PROBE))
    assert made.settle(end) == 1


def test_a_stranger_behind_a_friend_is_found():
    made = probes(A)
    ask(made)
    made.on_neighbour_event(NeighbourEvent(A, THEIRS, FrameKind.ANNOUNCEMENT))
    made.on_neighbour_event(NeighbourEvent(A, OTHERS, FrameKind.ANNOUNCEMENT))
    assert made.judge(frozenset({THEIRS}), 0.1, chance=half) == [A]
    assert made.taken()[A].mac == OTHERS


def test_a_word_after_the_window_still_counts_until_it_is_up():
    """The other one began within our window and announces a moment after it."""
    made = probes(A)
    end = ask(made)
    assert made.settle(end) == 1
    assert made.on_neighbour_event(NeighbourEvent(A, THEIRS, FrameKind.ANNOUNCEMENT))
    assert made.clear() == frozenset()
    assert made.judge(NOBODY, end, chance=half) == [A]


def test_silence_that_is_too_old_is_none():
    made = probes(A)
    end = ask(made)
    made.settle(end)
    made.want([A], end + FRESH_S)
    assert made.clear() == {A}
    made.want([A], end + FRESH_S + 0.01)
    assert made.clear() == frozenset()
    assert made.due(end + FRESH_S + 0.01) == [A]


def test_what_is_taken_is_asked_for_again_and_refused_until_it_is_free():
    made = probes(A)
    now = 0.0
    gaps: list[float] = []
    for _ in range(8):
        ask(made, now)
        by = NeighbourEvent(A, THEIRS, FrameKind.ANNOUNCEMENT)
        made.on_neighbour_event(by)
        news = made.judge(NOBODY, now, chance=half)
        assert news == ([] if gaps else [A]), "told once"
        assert made.taken() == {A: by}
        assert not made.listening
        again = made.next_at()
        assert again is not None
        assert made.due(again - 0.01) == []
        gaps.append(again - now)
        now = again
        assert made.due(now) == [A]
        assert made.taken() == {A: by}, "refused while it is asked for again"
        assert made.listening
    assert gaps == sorted(gaps)
    assert gaps[0] <= BACKOFF.initial_s
    assert gaps[-1] <= BACKOFF.cap_s
    end = ask(made, now)
    assert made.settle(end) == 1
    assert made.clear() == {A}
    assert made.taken() == {}


def test_another_station_in_its_place_is_news():
    made = probes(A)
    ask(made)
    made.on_neighbour_event(NeighbourEvent(A, THEIRS, FrameKind.PROBE))
    made.judge(NOBODY, 0.0, chance=half)
    now = made.next_at()
    ask(made, now)
    made.on_neighbour_event(NeighbourEvent(A, THEIRS, FrameKind.ANNOUNCEMENT))
    assert made.judge(NOBODY, now, chance=half) == [A], "now it has it"


def test_nobody_wants_it_any_more_and_then_again():
    made = probes(A)
    ask(made)
    made.on_neighbour_event(NeighbourEvent(A, THEIRS, FrameKind.ANNOUNCEMENT))
    made.judge(NOBODY, 0.0, chance=half)
    made.want([], 0.1)
    assert made.taken() == {}
    assert made.next_at() is None
    assert not made.on_neighbour_event(NeighbourEvent(A, THEIRS, FrameKind.ANNOUNCEMENT))
    made.want([A], 0.2)
    assert made.due(0.2) == [A]
    assert made.taken() == {}


def test_what_was_missed_is_asked_for_anew_but_what_is_taken_stays_so():
    made = probes(A, B)
    ask(made)
    by = NeighbourEvent(B, THEIRS, FrameKind.ANNOUNCEMENT)
    made.on_neighbour_event(by)
    made.judge(NOBODY, 0.1, chance=half)
    made.begin_anew(0.15)
    assert made.due(0.15) == [A]
    assert made.settle(0.2) == 0
    assert made.taken() == {B: by}


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["send", "fail", "hear", "friend", "judge", "settle", "want", "anew"]),
        st.floats(0, 1.5),
    ),
    max_size=40,
)


class Witness:
    """Keeps its own account of what went out and what was heard."""

    def __init__(self):
        self.probes, self.now = probes(A), 0.0
        self.out: list[float] = []

    def send(self):
        if self.probes.due(self.now):
            self.out = [*self.out, self.now] if self.probes._probes[A].sent else [self.now]
            self.probes.sent(A, self.now)

    def fail(self):
        if self.probes.due(self.now):
            self.probes.not_sent(A, self.now)

    def hear(self):
        self.probes.on_neighbour_event(NeighbourEvent(A, THEIRS, FrameKind.ANNOUNCEMENT))
        self.out = []

    def friend(self):
        self.probes.on_neighbour_event(NeighbourEvent(A, OTHERS, FrameKind.ANNOUNCEMENT))

    def judge(self):
        self.probes.judge(frozenset({OTHERS}), self.now, chance=half)

    def settle(self):
        self.probes.settle(self.now)

    def want(self):
        self.probes.want([A], self.now)

    def anew(self):
        self.probes.begin_anew(self.now)
        self.out = []


@given(STEPS)
def test_whatever_happens_nothing_comes_up_without_its_silence(steps):
    """Free means: two frames out, the window over since the first, and no stranger since."""
    witness = Witness()
    for what, wait_s in steps:
        getattr(witness, what)()
        if witness.probes.clear():
            assert len(witness.out) >= ROUNDS
            assert witness.now >= witness.out[0] + WINDOW_S
            assert witness.now >= witness.out[-1] + WINDOW_S / ROUNDS
        else:
            assert witness.probes.next_at() is not None or witness.probes.suspects()
        witness.now += wait_s
