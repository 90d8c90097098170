"""A node's word that it is isolated counts once others have proved that they are not."""

from hypothesis import given
from hypothesis import strategies as st

from extip.plan.isolation import Reach
from extip.plan.reach import Reaches

UNSURE, REACHED, ISOLATED = Reach.UNSURE, Reach.REACHED, Reach.ISOLATED
NODES = ("n1", "n2", "n3")
NOBODY: frozenset[str] = frozenset()


def book():
    known = Reaches(4.0)
    for node in NODES:
        assert not known.told(node, REACHED, 1.0), "no reason for a pass"
    return known


def test_while_nobody_is_isolated_nobody_is_sought():
    assert book().successors(NODES, 2.0) == NOBODY


def test_who_says_so_afterwards_may_take_over_once_all_have_spoken():
    known = book()
    assert known.told("n1", ISOLATED, 10.0)
    assert known.successors(NODES, 10.0) == NOBODY, "what was said before is no proof"
    assert known.told("n2", REACHED, 11.0)
    assert known.successors(NODES, 11.0) == NOBODY, "n3 may take its share"
    assert known.told("n3", REACHED, 11.5)
    assert known.successors(NODES, 11.5) == {"n2", "n3"}
    assert not known.told("n2", REACHED, 13.0), "nothing new"
    assert known.successors(NODES, 99.0) == {"n2", "n3"}


def test_a_node_that_says_nothing_is_waited_for_and_gets_nothing():
    """It may have died, and is not known to be dead yet."""
    known = book()
    known.told("n1", ISOLATED, 10.0)
    known.told("n2", REACHED, 10.5)
    assert known.successors(NODES, 10.0 + known.wait_s - 0.01) == NOBODY
    assert known.successors(NODES, 10.0 + known.wait_s) == {"n2"}
    assert known.wait_s < 4.0


def test_the_only_neighbour_of_a_node_that_hears_nobody_is_no_successor():
    known = book()
    known.told("n1", ISOLATED, 10.0)
    assert known.successors(("n1", "n2"), 20.0) == NOBODY


def test_a_node_of_which_it_is_not_known_is_no_successor():
    """One that has nobody to ask, or of an older version."""
    known = book()
    known.told("n1", ISOLATED, 10.0)
    known.told("n2", UNSURE, 11.0)
    known.told("n3", REACHED, 11.0)
    assert known.successors(NODES, 11.0) == {"n3"}
    assert known.told("n2", REACHED, 13.0), "it has found out"
    assert known.successors(NODES, 13.0) == {"n2", "n3"}


def test_a_network_that_is_dead_for_all_moves_nothing():
    known = book()
    for second, node in enumerate(NODES):
        known.told(node, ISOLATED, 10.0 + second)
    assert known.successors(NODES, 99.0) == NOBODY


def test_when_it_is_mended_all_have_time_to_find_out():
    known = book()
    for node in ("n1", "n2"):
        known.told(node, ISOLATED, 10.0)
    assert known.told("n2", REACHED, 20.0)
    assert not known.is_isolated("n2")
    assert known.successors(("n1", "n2"), 20.0) == NOBODY
    known.told("n1", REACHED, 20.4)
    assert known.successors(("n1", "n2"), 99.0) == NOBODY
    assert known.mended_at("n1") == 20.4


def test_one_that_stays_isolated_then_is_left():
    known = book()
    for node in ("n1", "n2"):
        known.told(node, ISOLATED, 10.0)
    known.told("n2", REACHED, 20.0)
    known.told("n2", REACHED, 22.0)
    assert known.successors(("n1", "n2"), 22.0) == {"n2"}


def test_what_comes_in_at_once_has_no_order():
    """As from a watch that was away for a while."""
    known = book()
    known.told("n1", ISOLATED, 10.0)
    assert not known.told("n2", REACHED, 10.001)
    assert known.successors(NODES, 99.0) == NOBODY


def test_what_is_found_at_the_start_may_be_of_any_age():
    known = Reaches(4.0)
    known.told("n1", ISOLATED, 1.0, listed=True)
    known.told("n2", REACHED, 1.5, listed=True)
    assert known.is_isolated("n1")
    assert known.successors(("n1", "n2"), 99.0) == NOBODY


def test_the_word_of_a_dead_node_is_void():
    known = book()
    known.told("n1", ISOLATED, 10.0)
    known.forget("n1", 11.0)
    assert not known.is_isolated("n1")
    assert known.successors(NODES, 99.0) == NOBODY


@given(
    st.lists(
        st.tuples(st.sampled_from(NODES), st.sampled_from(Reach), st.floats(0, 5)), max_size=40
    )
)
def test_whoever_may_take_over_said_after_the_last_change_that_it_is_reached(words):
    known, now, said = Reaches(4.0), 0.0, dict.fromkeys(NODES, UNSURE)
    changed_at, reached_at = 0.0, dict.fromkeys(NODES, -1.0)
    for node, word, later in words:
        now += later
        known.told(node, word, now)
        if (said[node] is ISOLATED) != (word is ISOLATED):
            changed_at = now
        elif word is REACHED:
            reached_at[node] = now
        said[node] = word
        for successor in known.successors(NODES, now):
            assert reached_at[successor] > changed_at
            assert ISOLATED in said.values()
