"""Dead is who is proved silent for a whole period; nobody dies of what this process cannot see."""

from math import inf

from hypothesis import given
from hypothesis import strategies as st

from extip.liveness.policy import Beat, Liveness, Verdict

PERIOD_S = 4.0
HEARTBEAT_S = 2.0


def beat(number, heartbeat_s=HEARTBEAT_S, lease_s=0.0, version=0):
    return Beat(token=str(number), heartbeat_s=heartbeat_s, lease_s=lease_s, version=version)


def alive(*names, now=0.0, monitor_s=PERIOD_S):
    liveness = Liveness(monitor_s)
    for name in names:
        liveness.observe(name, beat(0), now)
    return liveness


def confirm(liveness, late, now, beats=None, took_s=0.0):
    return liveness.confirm(late, beats or {}, asked_at=now - took_s, now=now)


def test_a_silent_node_is_overdue_a_period_after_its_last_heartbeat_and_dead_once_confirmed():
    liveness = alive("a", "b")
    assert liveness.next_due() == PERIOD_S
    liveness.observe("b", beat(1), 3.8)
    assert liveness.overdue(3.99) == ((), ())
    assert liveness.overdue(4.0) == (("a",), ("a",))
    assert liveness.verdict("a") is Verdict.UNKNOWN
    assert confirm(liveness, ("a",), 4.01) == ("a",)
    assert liveness.verdict("a") is Verdict.DEAD
    assert liveness.since("a") == 4.01
    assert liveness.next_due() == 7.8


def test_a_heartbeat_that_only_the_fresh_read_shows_saves_a_node():
    liveness = alive("a", "b")
    liveness.observe("b", beat(1), 3.5)
    late, _ = liveness.overdue(4.0)
    assert confirm(liveness, late, 4.01, {"a": beat(7), "b": beat(1)}) == ("a",)
    assert liveness.verdict("a") is Verdict.ALIVE


def test_a_dead_node_is_alive_with_its_next_heartbeat_and_can_die_again():
    liveness = alive("a", "b")
    liveness.observe("b", beat(1), 3.8)
    confirm(liveness, liveness.overdue(4.0)[0], 4.01)
    assert liveness.verdict("a") is Verdict.DEAD
    assert liveness.observe("a", beat(1), 5.0)
    assert liveness.verdict("a") is Verdict.ALIVE
    liveness.observe("b", beat(2), 8.9)
    assert liveness.next_due() == 9.0
    assert liveness.overdue(9.0)[0] == ("a",)


def test_when_all_fall_silent_nobody_dies_and_the_first_to_return_gives_all_a_new_start():
    liveness = alive("a", "b", "c")
    assert liveness.overdue(4.0) == ((), ("a", "b", "c"))
    assert liveness.next_due() is None
    liveness.observe("b", beat(1), 100.0)
    assert liveness.next_due() == 104.0
    assert liveness.overdue(103.9) == ((), ())
    liveness.observe("b", beat(2), 103.0)
    assert liveness.overdue(104.0)[0] == ("a", "c")


def test_a_node_on_its_own_never_dies():
    liveness = alive("a")
    assert liveness.overdue(4.0) == ((), ("a",))
    assert liveness.verdict("a") is Verdict.UNKNOWN


def test_others_that_are_late_themselves_are_no_witnesses():
    """Nodes that all lost the way to the API at once do not hand their claims on in a row."""
    liveness = alive("a")
    liveness.observe("b", beat(0), 1.0)
    assert liveness.overdue(4.0) == ((), ("a",))


def test_two_of_three_can_die_at_once():
    liveness = alive("a", "b", "c")
    liveness.observe("c", beat(1), 3.6)
    late, _ = liveness.overdue(4.0)
    assert confirm(liveness, late, 4.0) == ("a", "b")


def test_a_fresh_read_that_fails_judges_nobody():
    liveness = alive("a", "b")
    liveness.observe("b", beat(1), 3.5)
    liveness.overdue(4.0)
    liveness.read_failed()
    assert liveness.next_due() is None
    liveness.observe("b", beat(2), 9.0)
    assert liveness.next_due() == 13.0


def test_slow_reads_give_everybody_time_but_not_for_ever():
    """What slows a read slows heartbeats, too: a node reads its Lease and writes it."""
    liveness = alive("a", "b", "c")
    now, reads = 4.0, 0
    while liveness.verdict("a") is not Verdict.DEAD:
        reads += 1
        assert liveness.next_due() == now
        liveness.observe("b", beat(reads), now - 0.1)
        late, _ = liveness.overdue(now)
        assert late == ("a", "c")
        now += 1.5
        liveness.observe("b", beat(-reads), now - 0.1)
        confirm(liveness, late, now, took_s=1.5)
        now += 2 * 1.5 + HEARTBEAT_S / 2
    assert reads == 3
    assert liveness.verdict("c") is Verdict.DEAD


def test_a_slow_read_spares_those_who_were_overdue_while_it_lasted():
    liveness = alive("a")
    liveness.observe("b", beat(0), 1.5)
    liveness.observe("c", beat(0), 3.9)
    late, _ = liveness.overdue(4.0)
    assert late == ("a",)
    confirm(liveness, late, 6.0, took_s=2.0)
    assert liveness.next_due() >= 7.9


def test_after_a_silence_of_all_the_read_is_repeated_a_moment_later():
    """The API server may have stood still, and renewals are on their way."""
    liveness = alive("a", "b")
    liveness.observe("b", beat(1), 3.0)
    assert confirm(liveness, liveness.overdue(4.0)[0], 4.0) == ()
    again = liveness.next_due()
    assert again == 4.0 + HEARTBEAT_S / 40
    assert confirm(liveness, liveness.overdue(again)[0], again, {"a": beat(9)}) == ("a",)
    assert liveness.verdict("a") is Verdict.ALIVE


def test_who_was_late_and_is_alive_may_be_as_late_once_more():
    liveness = alive("a", "b")
    liveness.observe("a", beat(1), 1.0)
    liveness.observe("a", beat(2), 7.0)
    liveness.observe("b", beat(1), 7.0)
    liveness.observe("b", beat(2), 9.0)
    assert liveness.next_due() == 13.0
    liveness.observe("b", beat(3), 15.0)
    assert liveness.overdue(15.9)[0] == ()
    liveness.observe("a", beat(3), 15.95)
    liveness.observe("a", beat(4), 17.0)
    liveness.observe("b", beat(4), 20.0)
    assert liveness.next_due() == 21.0


def test_while_the_watch_is_closed_nobody_is_judged_and_then_all_start_anew():
    liveness = alive("a", "b")
    liveness.watch_closed(1.0)
    assert liveness.next_due() is None
    assert confirm(liveness, ("a",), 50.0) == ()
    liveness.watch_opened(50.0)
    assert liveness.next_due() == 54.0
    assert liveness.verdict("a") is Verdict.ALIVE


def test_a_gap_too_short_to_matter_only_does_not_count():
    liveness = alive("a", "b")
    for number in range(10):
        liveness.watch_closed(number + 0.5)
        liveness.watch_opened(number + 0.51)
        liveness.observe("b", beat(number + 1), number + 0.9)
    assert 4.05 < liveness.next_due() <= 4.11
    assert liveness.overdue(10.0)[0] == ("a",)


def test_what_the_first_list_shows_may_be_of_any_age():
    liveness = Liveness(PERIOD_S)
    assert not liveness.observe("old", beat(0), 0.0, listed=True)
    assert liveness.verdict("old") is Verdict.UNKNOWN
    liveness.observe("new", beat(0), 1.0)
    assert liveness.verdict("new") is Verdict.ALIVE
    liveness.observe("new", beat(1), 3.8)
    assert confirm(liveness, liveness.overdue(4.0)[0], 4.0) == ("old",)


def test_a_lease_that_was_given_up_says_so_itself():
    liveness = alive("a", "b")
    assert liveness.observe("a", Beat(token="", heartbeat_s=2.0), 1.0)
    assert liveness.verdict("a") is Verdict.DEAD
    listed = Liveness(PERIOD_S)
    listed.observe("a", Beat(token="", heartbeat_s=2.0), 0.0, listed=True)
    assert listed.verdict("a") is Verdict.DEAD


def test_slow_heartbeats_make_the_period_longer():
    liveness = alive("b", monitor_s=0.3)
    liveness.observe("a", beat(0, 5.0), 0.0)
    assert liveness.period_s(beat(0, heartbeat_s=0.1)) == 0.3
    assert liveness.period_s(beat(0, heartbeat_s=5.0)) == 10.0
    assert liveness.period_s(beat(0, heartbeat_s=5.0, lease_s=9.0)) == 10.0
    assert liveness.period_s(beat(0, heartbeat_s=5.0, lease_s=11.0)) == 11.0
    for tenth in range(1, 99):
        liveness.observe("b", beat(tenth, 0.1), tenth / 10)
        assert liveness.overdue(tenth / 10) == ((), ())


def test_a_node_may_change_how_often_it_beats():
    liveness = Liveness(0.3)
    liveness.observe("b", beat(0, 0.1), 0.0)
    liveness.observe("a", beat(0, 5.0), 0.0)
    liveness.observe("a", beat(1, 0.1), 1.0)
    liveness.observe("b", beat(1, 0.1), 1.25)
    assert liveness.next_due() == 1.3


def test_a_forgotten_node_is_not_known():
    liveness = alive("a", "b")
    liveness.forget("a")
    assert liveness.nodes() == {"b": Verdict.ALIVE}
    assert liveness.since("a") is None
    assert liveness.verdict("a") is Verdict.UNKNOWN
    assert liveness.next_due() == PERIOD_S


def test_a_node_that_something_names_but_that_has_no_lease_is_dead_after_a_period():
    liveness = alive("b")
    liveness.expect("ghost", 0.0)
    liveness.expect("b", 0.0)
    liveness.observe("b", beat(1), 3.8)
    assert liveness.verdict("ghost") is Verdict.UNKNOWN
    assert confirm(liveness, liveness.overdue(4.0)[0], 4.0) == ("ghost",)
    liveness.expect("ghost", 5.0)
    assert liveness.verdict("ghost") is Verdict.DEAD
    assert liveness.observe("ghost", beat(0), 6.0)
    assert liveness.next_due() == 7.8


steps = st.lists(
    st.tuples(
        st.floats(0.01, 3.0),
        st.sampled_from(["beat", "close", "open", "judge", "judge", "fail", "slow"]),
        st.sampled_from("abc"),
    ),
    max_size=80,
)


@given(steps, st.sampled_from([0.5, 4.0]))
def test_nobody_dies_within_a_period_of_its_last_heartbeat_or_without_a_witness(steps, monitor_s):
    liveness = alive("a", "b", "c", monitor_s=monitor_s)
    now, seen = 0.0, dict.fromkeys("abc", 0.0)
    for number, (wait_s, what, name) in enumerate(steps, start=1):
        now += wait_s
        before = liveness.nodes()
        if what == "beat":
            liveness.observe(name, beat(number), now)
            seen[name] = now
            assert liveness.verdict(name) is Verdict.ALIVE
        elif what == "close":
            liveness.watch_closed(now)
        elif what == "open":
            liveness.watch_opened(now)
        elif (due_at := liveness.next_due()) is not None and due_at <= now:
            late, _ = liveness.overdue(now)
            if what == "fail":
                liveness.read_failed()
            else:
                took_s = 1.0 if what == "slow" else 0.0
                confirm(liveness, late, now, took_s=took_s)
        period_s = max(monitor_s, 2 * HEARTBEAT_S)
        after = liveness.nodes()
        died = [n for n in after if after[n] is Verdict.DEAD and before[n] is not Verdict.DEAD]
        for node in died:
            assert now - seen[node] >= period_s
            assert any(
                liveness.verdict(other) is Verdict.ALIVE and now - seen[other] < period_s
                for other in "abc"
                if other != node
            )


@given(
    st.lists(st.floats(0.0, 1.99), min_size=2, max_size=20),
    st.floats(10.0, 20.0),
    st.integers(0, 19),
)
def test_one_death_among_punctual_nodes_is_known_when_the_period_is_over(phases, death_at, which):
    """The bound that fail-over is built on."""
    names = [f"n{number}" for number in range(len(phases))]
    dead = names[which % len(names)]
    beats = sorted(
        (phase + HEARTBEAT_S * number, name)
        for phase, name in zip(phases, names, strict=True)
        for number in range(20)
        if name != dead or phase + HEARTBEAT_S * number <= death_at
    )
    liveness = Liveness(PERIOD_S)
    last = max(at for at, name in beats if name == dead)
    died_at = None
    for number, (at, name) in enumerate(beats):
        while (due_at := liveness.next_due()) is not None and due_at <= at:
            changed = confirm(liveness, liveness.overdue(due_at)[0], due_at)
            assert set(changed) <= {dead}
            if changed:
                died_at = due_at
        liveness.observe(name, beat(number), at)
    assert last + PERIOD_S <= died_at <= last + PERIOD_S + HEARTBEAT_S / 40


def test_a_read_that_is_older_than_the_watch_sets_nobody_back():
    liveness = Liveness(PERIOD_S)
    for version in (1, 2):
        liveness.observe("a", beat(version, version=version), float(version))
        liveness.observe("b", beat(version, version=version), float(version))
    assert confirm(liveness, (), 2.5, {"a": beat("", version=1), "b": beat(1, version=1)}) == ()
    assert liveness.nodes() == {"a": Verdict.ALIVE, "b": Verdict.ALIVE}
    assert liveness.next_due() == 6.0


def test_a_watch_that_is_behind_a_read_adds_nothing_to_it():
    liveness = alive("a", "b")
    confirm(liveness, (), 1.0, {"a": beat(2, version=9), "b": beat(2, version=10)})
    assert not liveness.observe("a", beat(1, version=7), 1.5)
    assert not liveness.observe("a", beat("", version=8), 1.6)
    assert not liveness.observe("a", beat(2, version=9), 1.7)
    assert liveness.next_due() == 5.0


def test_a_read_that_is_older_than_the_watch_was_when_it_began_proves_no_death():
    liveness = Liveness(PERIOD_S)
    for version in (1, 2):
        liveness.observe("a", beat(version, version=version), float(version))
        liveness.observe("b", beat(version, version=version), float(version))
    liveness.observe("b", beat(3, version=3), 5.9)
    late, _ = liveness.overdue(6.0)
    assert late == ("a",)
    assert confirm(liveness, late, 6.01, {"a": beat(1, version=1), "b": beat(3, version=3)}) == ()
    assert liveness.verdict("a") is Verdict.UNKNOWN
    assert liveness.blind


def test_a_watch_that_goes_back_is_followed():
    """The API server's data was restored from a backup."""
    liveness = Liveness(PERIOD_S)
    liveness.observe("a", beat(1, version=1000), 0.0)
    confirm(liveness, (), 0.5, {"a": beat(2, version=1001)})
    liveness.observe("a", beat(3, version=500), 1.0)
    liveness.observe("a", beat(4, version=501), 3.0)
    assert liveness.next_due() == 7.0


def test_a_node_is_back_when_it_is_heard_again_and_not_when_it_is_new():
    liveness = alive("a", "b")
    assert liveness.back_at("a") == liveness.back_at("x") == -inf
    liveness.observe("a", beat(1), 2.0)
    assert liveness.back_at("a") == -inf, "it never was away"
    liveness.overdue(6.0)
    liveness.observe("a", beat(2), 7.0)
    assert liveness.back_at("a") == 7.0


def test_a_condemned_node_is_dead_until_its_next_heartbeat():
    liveness = alive("a", "b")
    assert liveness.condemn("a", 1.0) == PERIOD_S
    assert liveness.verdict("a") is Verdict.DEAD
    assert liveness.condemn("a", 1.1) is None, "it is dead"
    liveness.observe("a", beat(1), 1.5)
    assert liveness.verdict("a") is Verdict.ALIVE
    assert liveness.back_at("a") == 1.5
    assert liveness.next_due() == PERIOD_S


def test_a_condemned_node_that_is_acquitted_is_judged_by_its_heartbeats():
    liveness = alive("a", "b")
    liveness.condemn("a", 1.0)
    assert liveness.acquit("a", 1.5)
    assert not liveness.acquit("a", 1.5)
    assert liveness.verdict("a") is Verdict.ALIVE
    liveness.observe("b", beat(1), 3.9)
    assert liveness.overdue(PERIOD_S)[0] == ("a",)


def test_an_overdue_node_is_not_acquitted():
    liveness = alive("a", "b")
    liveness.condemn("a", 1.0)
    assert not liveness.acquit("a", PERIOD_S)
    assert liveness.verdict("a") is Verdict.DEAD


def test_nobody_is_condemned_while_heartbeats_would_not_be_seen():
    liveness = alive("a", "b")
    liveness.watch_closed(0.5)
    assert liveness.condemn("a", 1.0) is None
    blind = alive("a", "b")
    blind.read_failed()
    assert blind.condemn("a", 1.0) is None
    assert blind.condemn("nobody", 1.0) is None
