"""What was ours a moment ago is not new; what ran out, or was not wanted meanwhile, is."""

from ipaddress import ip_address

from extip.addresses.probe.policy.recently_owned import LONGEST_S, RecentlyOwned

TTL_S = 6.0
A, B = ip_address("10.0.0.1"), ip_address("fd00::1")


def test_what_nobody_had_is_new():
    recently_owned = RecentlyOwned(ttl_s=TTL_S)
    recently_owned.update({A, B}, frozenset(), 100.0)
    assert recently_owned.new_among({A, B}) == {A, B}


def test_what_was_up_at_the_last_look_is_not_for_one_lifetime():
    for later_s, new in ((TTL_S, {B}), (TTL_S + 0.1, {A, B})):
        recently_owned = RecentlyOwned(ttl_s=TTL_S)
        recently_owned.update(set(), frozenset(), 100.0)
        recently_owned.update({A, B}, {A}, 100.0 + later_s)
        assert recently_owned.new_among({A, B}) == new


def test_what_is_still_being_put_back_stays_ours():
    recently_owned = RecentlyOwned(ttl_s=TTL_S)
    recently_owned.update(set(), frozenset(), 0.0)
    for now in range(1, 60, 5):
        recently_owned.update({A}, {A} if now == 1 else frozenset(), float(now))
        assert recently_owned.new_among({A}) == frozenset()


def test_what_was_let_through_is_ours_also_when_it_could_not_be_added():
    recently_owned = RecentlyOwned(ttl_s=TTL_S)
    recently_owned.update({A}, frozenset(), 0.0)
    recently_owned.mark_owned({A}, 0.0)
    recently_owned.update({A}, frozenset(), 5.0)
    assert recently_owned.new_among({A}) == frozenset()
    recently_owned.update({A}, frozenset(), 5.0 + TTL_S + 1)
    assert recently_owned.new_among({A}) == {A}


def test_what_could_not_be_added_for_long_is_new_though_it_was_let_through_each_time():
    """Another station may have taken it: the kernel may refuse it for hours."""
    recently_owned = RecentlyOwned(ttl_s=TTL_S)
    for now in range(0, int(LONGEST_S), 2):
        recently_owned.update({A}, frozenset(), float(now))
        assert bool(recently_owned.new_among({A})) is (now == 0)
        recently_owned.mark_owned({A}, float(now))
    recently_owned.update({A}, frozenset(), LONGEST_S + 1)
    assert recently_owned.new_among({A}) == {A}


def test_what_was_not_wanted_meanwhile_is_new():
    recently_owned = RecentlyOwned(ttl_s=TTL_S)
    recently_owned.update({A}, {A}, 0.0)
    recently_owned.update(set(), frozenset(), 1.0)
    recently_owned.update({A}, frozenset(), 2.0)
    assert recently_owned.new_among({A}) == {A}
