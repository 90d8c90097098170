"""What goes down together stays where it is, and what comes back takes nothing from its like."""

from math import inf

from extip.uplink.policy.settling import MOST, RETURN_S, SETTLE_S, Uplinks, returning


def test_an_interface_is_unsettled_for_a_moment_after_it_went_down():
    uplinks = Uplinks()
    assert uplinks.on_link_state("n1", up=True, now=1.0) is None
    assert uplinks.on_link_state("n1", up=True, now=5.0) is None
    assert uplinks.on_link_state("n1", up=False, now=10.0) == SETTLE_S
    assert uplinks.on_link_state("n1", up=False, now=10.1) is None
    assert uplinks.unsettled(10.0) == {"n1"}
    assert uplinks.unsettled(10.1) == {"n1"}, "also for whoever asks again"
    assert uplinks.unsettled(10.0 + SETTLE_S) == frozenset()
    assert uplinks.back_at("n1") == -inf


def test_a_node_is_back_from_when_its_interface_came_up():
    uplinks = Uplinks()
    uplinks.on_link_state("n1", up=False, now=10.0)
    assert uplinks.unsettled(10.0) == frozenset(), "it may have been down for long"
    assert uplinks.on_link_state("n1", up=True, now=20.0) == RETURN_S
    assert uplinks.back_at("n1") == 20.0
    uplinks.forget("n1")
    assert uplinks.back_at("n1") == -inf


def test_who_never_was_away_is_not_returning():
    times = {"n1": 20.0, "n2": -inf, "n3": 20.0 - RETURN_S}
    assert returning(times.items(), 20.0) == {"n1"}


def test_each_interface_of_a_node_is_judged_by_itself():
    uplinks = Uplinks()
    for link in ("eth0", "eth1"):
        uplinks.on_link_state("n1", link=link, up=True, now=1.0)
    assert uplinks.on_link_state("n1", link="eth1", up=False, now=10.0) == SETTLE_S
    assert uplinks.on_link_state("n1", link="eth0", up=True, now=10.0) is None
    assert uplinks.unsettled(10.0) == {"n1"}
    uplinks.on_link_state("n1", link="eth1", up=True, now=20.0)
    assert uplinks.back_at("n1") == 20.0


def test_interfaces_that_come_and_go_are_forgotten_and_those_that_stay_are_not():
    uplinks = Uplinks()
    uplinks.on_link_state("n1", link="eth0", up=False, now=0.0)
    uplinks.on_link_state("n1", link="pod", up=False, now=0.0)
    uplinks.on_link_state("n1", link="pod", up=True, now=500.0)
    for number in range(MOST):
        uplinks.on_link_state("n1", link="eth0", up=False, now=1000.0)
        uplinks.on_link_state("n1", link=f"pod{number}", up=True, now=1000.0)
    assert uplinks.back_at("n1") == -inf, "the state of `pod` is not known any more"
    assert uplinks.on_link_state("n1", link="eth0", up=True, now=2000.0) == RETURN_S
