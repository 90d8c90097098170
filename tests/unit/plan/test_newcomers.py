"""What was ours a moment ago is not new; what ran out, or was not wanted meanwhile, is."""

from ipaddress import ip_address

from extip.plan.newcomers import Newcomers

TTL_S = 6.0
A, B = ip_address("10.0.0.1"), ip_address("fd00::1")


def test_what_nobody_had_is_new():
    newcomers = Newcomers(ttl_s=TTL_S)
    newcomers.look({A, B}, frozenset(), 100.0)
    assert newcomers.among({A, B}) == {A, B}


def test_what_was_up_at_the_last_look_is_not_for_one_lifetime():
    for later_s, new in ((TTL_S, {B}), (TTL_S + 0.1, {A, B})):
        newcomers = Newcomers(ttl_s=TTL_S)
        newcomers.look(set(), frozenset(), 100.0)
        newcomers.look({A, B}, {A}, 100.0 + later_s)
        assert newcomers.among({A, B}) == new


def test_what_is_still_being_put_back_stays_ours():
    newcomers = Newcomers(ttl_s=TTL_S)
    newcomers.look(set(), frozenset(), 0.0)
    for now in range(1, 60, 5):
        newcomers.look({A}, {A} if now == 1 else frozenset(), float(now))
        assert newcomers.among({A}) == frozenset()


def test_what_was_let_through_is_ours_also_when_it_could_not_be_added():
    newcomers = Newcomers(ttl_s=TTL_S)
    newcomers.look({A}, frozenset(), 0.0)
    newcomers.let_through({A}, 0.0)
    newcomers.look({A}, frozenset(), 5.0)
    assert newcomers.among({A}) == frozenset()
    newcomers.look({A}, frozenset(), 5.0 + TTL_S + 1)
    assert newcomers.among({A}) == {A}


def test_what_was_not_wanted_meanwhile_is_new():
    newcomers = Newcomers(ttl_s=TTL_S)
    newcomers.look({A}, {A}, 0.0)
    newcomers.look(set(), frozenset(), 1.0)
    newcomers.look({A}, frozenset(), 2.0)
    assert newcomers.among({A}) == {A}
