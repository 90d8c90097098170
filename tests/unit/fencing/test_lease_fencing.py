"""How long addresses may live, what was left to others, and while nobody can be a successor."""

from ipaddress import ip_address
from math import inf
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extip.fencing.cache_freshness import CacheFreshness
from extip.fencing.lease_fencing import LeaseFencing, NoFencing
from extip.settings.controller import LIFETIME_END_S

IP, NEXT = ip_address("10.0.0.1"), ip_address("10.0.0.2")
KERNEL_LATE_S = 0.3


class Freshness:
    limit_s = 2.0

    def __init__(self):
        self.held = True
        self.readings = 3
        self.invalidations = 0

    def is_fresh(self):
        return self.held

    def invalidate(self):
        self.invalidations += 1


class Claims:
    def __init__(self):
        self.freshness = Freshness()

    def leaving(self):
        return {NEXT}

    async def is_ours(self, ip):
        return ip == IP


def fencing(age_s, *, ttl_s=6, releases=True, claims=None, unheard=False, on_change=lambda: None):
    claims = claims or Claims()
    return LeaseFencing(
        cast("CacheFreshness", claims.freshness),
        leaving=claims.leaving,
        is_ours=claims.is_ours,
        heartbeat_age_s=lambda: age_s,
        unheard=lambda: unheard,
        lease_s=ttl_s + LIFETIME_END_S,
        ttl_s=ttl_s,
        releases=releases,
        handover_s=5.0,
        on_change=on_change,
    )


@given(st.floats(0, 100), st.integers(3, 60))
def test_no_address_outlives_the_lease(age_s, ttl_s):
    """Counted from when the heartbeat was sent; the kernel removes it a little late."""
    lifetime_s = fencing(age_s, ttl_s=ttl_s).lifetime_s()
    assert 0 <= lifetime_s <= ttl_s
    if lifetime_s:
        assert age_s + lifetime_s + KERNEL_LATE_S < ttl_s + LIFETIME_END_S


@given(st.integers(3, 60))
def test_a_heartbeat_that_was_just_taken_gives_the_whole_lifetime(ttl_s):
    for age_s in (0.0, 0.1, 0.25):
        assert fencing(age_s, ttl_s=ttl_s).lifetime_s() == ttl_s
    assert fencing(ttl_s / 3, ttl_s=ttl_s).lifetime_s() >= ttl_s // 2


def test_without_heartbeat_or_trust_there_is_no_lifetime_to_give():
    assert fencing(None).lifetime_s() == 0
    claims = Claims()
    claims.freshness.held = False
    assert fencing(0.1, claims=claims).lifetime_s() == 0
    for age_s in (None, 0.1, 1e6):
        assert fencing(age_s, releases=False, claims=claims).lifetime_s() == 6


@pytest.mark.parametrize(("age_s", "left_s"), [(None, 0.0), (0.0, 7.0), (6.0, 1.0), (9.0, -2.0)])
def test_until_when_nobody_can_be_a_successor(age_s, left_s):
    assert fencing(age_s).stale_in_s() == left_s


def test_what_was_left_to_others_stays_so_until_the_claims_were_read():
    claims, changes = Claims(), []
    it = fencing(9.0, claims=claims, on_change=lambda: changes.append(1))
    it.yield_ips([IP])
    assert it.yielded() == {IP}
    assert claims.freshness.invalidations == len(changes) == 1
    it.yield_ips([NEXT])
    assert it.yielded() == {IP, NEXT}
    claims.freshness.readings += 1
    assert it.yielded() == frozenset()


async def test_claims_tell_what_is_handed_over_and_what_is_ours():
    it = fencing(1.0)
    assert it.leaving() == {NEXT}
    assert await it.is_ours(IP)
    assert not await it.is_ours(NEXT)


def test_simple_mode_has_no_lease_by_which_another_node_could_be_given_an_ip():
    """It defends, and gives its addresses their whole lifetime."""
    fencing = NoFencing(6)
    assert fencing.stale_in_s() == inf
    assert fencing.lifetime_s() == 6
    assert fencing.yielded() == frozenset()


def test_who_was_not_heard_since_its_last_heartbeat_may_have_been_replaced():
    assert fencing(0.5).stale_in_s() > 0
    assert fencing(0.5, unheard=True).stale_in_s() <= 0
