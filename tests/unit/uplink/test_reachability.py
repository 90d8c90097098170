"""A node's word that it is isolated counts once others have proved that they are not."""

from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extip.uplink.policy.isolation import ANSWER_S, FRESH, MISSES, Reachability, round_s
from extip.uplink.policy.reachability import ClusterReachability, LinkId, Reports

UNSURE, REACHED, ISOLATED = Reachability.UNSURE, Reachability.REACHED, Reachability.ISOLATED
NODES = ("n1", "n2", "n3")
NOBODY: frozenset[str] = frozenset()
HB_S = 2.0


class Book:
    """All words, and who may take n1's IPs."""

    def __init__(self, *, said=REACHED):
        self.reaches: Reports[str] = Reports()
        self._tokens = count()
        for node in NODES:
            assert not self.on_heartbeat(node, said, 1.0), "no reason for a pass"

    def on_heartbeat(self, node, said, now, *, heartbeat_s=HB_S, token="", **more):
        token = token or str(next(self._tokens))
        return self.reaches.on_heartbeat(
            node, said, now, token=token, heartbeat_s=heartbeat_s, **more
        )

    def successors(self, now, *, alive=NODES, holder="n1"):
        return self.reaches.successors(alive, now).get(holder, NOBODY)


def test_while_nobody_is_isolated_nobody_is_sought():
    assert Book().reaches.successors(NODES, 2.0) == {}


def test_who_says_so_afterwards_may_take_over_once_all_have_spoken():
    book = Book()
    assert book.on_heartbeat("n1", ISOLATED, 10.0)
    assert book.successors(10.0) == NOBODY, "what was said before is no proof"
    assert not book.on_heartbeat("n2", REACHED, 11.0), "n3 may take its share"
    assert book.successors(11.0) == NOBODY
    assert book.on_heartbeat("n3", REACHED, 11.5)
    assert book.successors(11.5) == {"n2", "n3"}
    assert not book.on_heartbeat("n2", REACHED, 13.0), "nothing new"
    assert book.successors(99.0) == {"n2", "n3"}


def test_a_node_that_says_nothing_is_waited_for_and_gets_nothing():
    """It may have died, and is not known to be dead yet."""
    book = Book()
    book.on_heartbeat("n1", ISOLATED, 10.0)
    book.on_heartbeat("n2", REACHED, 11.0)
    due_at = book.reaches.due_at("n1")
    assert 10.0 + 1.1 * HB_S < due_at < 14.0
    assert book.successors(due_at - 0.01) == NOBODY
    assert book.successors(due_at) == {"n2"}


def test_the_only_neighbour_of_a_node_that_hears_nobody_is_no_successor():
    book = Book()
    book.on_heartbeat("n1", ISOLATED, 10.0)
    assert book.successors(20.0, alive=("n1", "n2")) == NOBODY


def test_a_node_of_which_it_is_not_known_is_no_successor():
    """One that has nobody to ask, or of an older version."""
    book = Book()
    book.on_heartbeat("n1", ISOLATED, 10.0)
    book.on_heartbeat("n2", UNSURE, 11.0)
    book.on_heartbeat("n3", REACHED, 11.0)
    assert book.successors(11.0) == {"n3"}
    assert book.on_heartbeat("n2", REACHED, 13.0), "it has found out"
    assert book.successors(13.0) == {"n2", "n3"}


def test_a_network_that_is_dead_for_all_moves_nothing():
    book = Book()
    for second, node in enumerate(NODES):
        book.on_heartbeat(node, ISOLATED, 10.0 + second)
    assert not any(book.reaches.successors(NODES, 99.0).values())


def test_when_it_is_mended_all_have_time_to_find_out():
    book = Book()
    for node in ("n1", "n2"):
        book.on_heartbeat(node, ISOLATED, 10.0)
    assert book.on_heartbeat("n2", REACHED, 20.0)
    assert not book.reaches.is_isolated("n2")
    book.on_heartbeat("n2", REACHED, 20.3)
    assert book.successors(20.3, alive=("n1", "n2")) == NOBODY
    book.on_heartbeat("n1", REACHED, 20.4)
    assert book.reaches.successors(NODES, 99.0) == {}
    assert book.reaches.mended_at("n1") == 20.4


def test_one_that_stays_isolated_then_is_left():
    book = Book()
    for node in ("n1", "n2"):
        book.on_heartbeat(node, ISOLATED, 10.0)
    book.on_heartbeat("n2", REACHED, 20.0)
    book.on_heartbeat("n2", REACHED, 22.0)
    assert book.successors(22.0, alive=("n1", "n2")) == {"n2"}


def test_a_node_that_comes_and_goes_keeps_nobody_elses_ips():
    """Whether n2 is isolated says nothing of n1 and n3."""
    book = Book()
    book.on_heartbeat("n1", ISOLATED, 10.0)
    for second in range(1, 5):
        book.on_heartbeat("n2", ISOLATED if second % 2 else REACHED, 10.0 + second)
    book.on_heartbeat("n3", REACHED, 11.5)
    assert book.successors(14.0) == {"n3"}


def test_what_comes_in_at_once_has_no_order():
    """As from a watch that was away for a while."""
    book = Book()
    book.on_heartbeat("n1", ISOLATED, 10.0)
    assert not book.on_heartbeat("n2", REACHED, 10.05)
    assert book.successors(99.0) == NOBODY


def test_a_heartbeat_is_heard_once():
    book, last = Book(), "n2 2026-11-26T15:00:00.000000Z"
    book.on_heartbeat("n2", REACHED, 9.0, token=last)
    book.on_heartbeat("n1", ISOLATED, 10.0)
    assert not book.on_heartbeat("n2", REACHED, 12.0, token=last), "somebody edited the Lease"
    assert book.successors(99.0) == NOBODY


def test_who_speaks_later_than_that_is_heard_all_the_same():
    book = Book()
    book.on_heartbeat("n1", ISOLATED, 10.0)
    late = book.reaches.due_at("n1") + 0.1
    assert book.successors(late) == NOBODY
    assert book.on_heartbeat("n2", REACHED, late), "n3 may never speak"
    assert book.successors(late) == {"n2"}


def test_at_the_start_all_are_waited_for_however_they_were_found():
    book = Book(said=UNSURE)
    book.on_heartbeat("n1", ISOLATED, 2.0, listed=True)
    book.on_heartbeat("m", UNSURE, 2.0, listed=True)
    assert book.reaches.begin_anew(2.0) == {"n1": book.reaches.due_at("n1")}
    book.on_heartbeat("n2", REACHED, 3.0)
    book.on_heartbeat("n3", REACHED, 3.0)
    assert book.successors(3.0, alive=(*NODES, "m")) == NOBODY
    assert book.on_heartbeat("m", REACHED, 3.5)
    assert book.successors(3.5, alive=(*NODES, "m")) == {"n2", "n3", "m"}


def test_what_is_found_at_the_start_may_be_of_any_age():
    book = Book(said=UNSURE)
    book.on_heartbeat("n1", ISOLATED, 10.0, listed=True)
    book.on_heartbeat("n2", REACHED, 15.0, listed=True)
    assert book.reaches.is_isolated("n1")
    assert book.successors(99.0) == NOBODY


def test_the_word_of_a_dead_node_is_void_and_it_is_not_waited_for():
    book = Book()
    book.on_heartbeat("n1", ISOLATED, 10.0)
    book.on_heartbeat("n2", REACHED, 11.0)
    book.reaches.forget("n3")
    assert book.successors(11.0, alive=("n1", "n2")) == {"n2"}
    book.reaches.forget("n1")
    assert not book.reaches.is_isolated("n1")
    assert book.reaches.successors(NODES, 99.0) == {}


def test_in_a_large_cluster_few_words_are_a_reason_for_a_pass():
    book = Book()
    others = [f"m{number}" for number in range(1000)]
    for node in others:
        book.on_heartbeat(node, REACHED, 5.0)
    book.on_heartbeat("n1", ISOLATED, 10.0)
    reasons = [book.on_heartbeat(node, REACHED, 11.0) for node in (*others, "n2", "n3")]
    assert reasons == [False] * 1001 + [True]
    assert len(book.successors(11.0, alive=others)) == 1000


@given(st.sampled_from([0.1, 0.4, 2.0, 4.0, 10.0]), st.sampled_from([0.1, 0.4, 2.0, 4.0, 10.0]))
def test_however_fast_each_beats_no_answer_from_before_the_silence_counts(mine, others):
    """The network is dead for both at 10.0: the other's last answer still counts for a while."""
    book = Book()
    silent_for_s = MISSES * ANSWER_S
    said_until = 10.0 + FRESH * round_s(others)
    arrives = said_until + max(0.1, 0.25 * others) - 0.001
    book.on_heartbeat("n1", ISOLATED, 10.0 + silent_for_s, heartbeat_s=mine)
    if arrives > 10.0 + silent_for_s:
        book.on_heartbeat("n2", REACHED, arrives, heartbeat_s=others)
    assert book.successors(99.0, alive=("n1", "n2")) == NOBODY


@given(
    st.lists(
        st.tuples(st.sampled_from(NODES), st.sampled_from(Reachability), st.floats(0, 5)),
        max_size=40,
    )
)
def test_whoever_may_take_over_said_after_the_last_change_that_it_is_reached(words):
    book, now, said = Book(said=UNSURE), 1.0, dict.fromkeys(NODES, UNSURE)
    changed_at = dict.fromkeys(NODES, 0.0)
    reached_at = dict.fromkeys(NODES, -1.0)
    for node, word, later in words:
        now += later
        book.on_heartbeat(node, word, now)
        if (said[node] is ISOLATED) != (word is ISOLATED):
            changed_at[node] = now
        elif word is REACHED:
            reached_at[node] = now
        said[node] = word
        found = book.reaches.successors(NODES, now)
        assert set(found) <= {name for name, last in said.items() if last is ISOLATED}
        for holder, successors in found.items():
            for name in successors:
                assert said[name] is not ISOLATED
                assert reached_at[name] > max(changed_at[name], changed_at[holder])


class Links:
    """The reports of three nodes, each with two interfaces."""

    def __init__(self):
        self.reaches = ClusterReachability()
        self._tokens = count()
        for node in NODES:
            self.hear(node, 1.0)

    def hear(self, node, now, *, eth0=REACHED, eth1=REACHED):
        return self.say(node, now, {"eth0": eth0, "eth1": eth1})

    def say(self, node, now, said):
        token = str(next(self._tokens))
        return self.reaches.on_heartbeat(node, said, now, token=token, heartbeat_s=HB_S)

    def successors(self, now, link, *, alive=NODES):
        found = self.reaches.successors(alive, now)
        return {one for one in found.get(LinkId("n1", link), ()) if one.node != "n1"}


@pytest.mark.parametrize("link", ["eth0", "eth1"])
def test_each_interface_is_left_by_itself(link):
    links = Links()
    assert links.hear("n1", 10.0, **{link: ISOLATED})
    assert links.reaches.isolated("n1") == {link}
    links.hear("n2", 11.5, **{link: ISOLATED})
    links.hear("n3", 11.6)
    links.hear("n1", 12.0, **{link: ISOLATED})
    other = "eth1" if link == "eth0" else "eth0"
    assert links.successors(99.0, other) == set()
    found = links.successors(12.0, link)
    assert LinkId("n3", link) in found
    assert LinkId("n2", link) not in found, "it is isolated there as well"
    assert links.hear("n1", 13.0)
    assert links.reaches.isolated("n1") == frozenset()
    assert links.reaches.mended_at("n1") == 13.0


def test_neighbours_confirm_the_first_interface_alone():
    links = Links()
    links.hear("n1", 10.0, eth1=ISOLATED)
    assert not links.reaches.confirm("n1")
    assert links.successors(10.0, "eth1") == set()
    links.hear("n1", 11.0, eth0=ISOLATED, eth1=ISOLATED)
    assert links.reaches.confirm("n1")
    assert LinkId("n2", "eth0") in links.successors(11.0, "eth0")
    assert links.successors(11.0, "eth1") == set()


def test_an_interface_that_is_gone_is_isolated_no_more_and_not_waited_for():
    links = Links()
    links.hear("n1", 10.0, eth1=ISOLATED)
    links.hear("n2", 11.0)
    links.hear("n3", 11.0)
    assert links.say("n1", 11.1, {"eth0": REACHED})
    assert links.reaches.isolated("n1") == frozenset()
    assert links.reaches.successors(NODES, 99.0) == {}


def test_a_node_that_names_no_interface_reports_on_its_first_one():
    links = Links()
    links.say("n1", 10.0, {"": ISOLATED})
    assert links.reaches.isolated("n1") == {""}
    assert links.reaches.confirm("n1")
    assert LinkId("n2", "eth0") in links.successors(10.0, "")
    links.reaches.forget("n1")
    assert links.reaches.isolated("n1") == frozenset()
