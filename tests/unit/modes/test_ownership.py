"""How long addresses may live, what was left to others, and while nobody can be a successor."""

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extip.modes.ownership import Ownership
from extip.settings import LIFETIME_END_S

IP, NEXT = ip_address("10.0.0.1"), ip_address("10.0.0.2")
KERNEL_LATE_S = 0.3


class Trust:
    limit_s = 2.0

    def __init__(self):
        self.held = True
        self.readings = 3
        self.doubts = 0

    def holds(self):
        return self.held

    def doubt(self):
        self.doubts += 1


class Claims:
    def __init__(self):
        self.trust = Trust()

    def leaving(self):
        return {NEXT}

    async def is_ours(self, ip):
        return ip == IP


def ownership(age_s, *, ttl_s=6, releases=True, claims=None, changed=lambda: None):
    return Ownership(
        claims or Claims(),  # type: ignore[arg-type]
        heartbeat_age_s=lambda: age_s,
        lease_s=ttl_s + LIFETIME_END_S,
        ttl_s=ttl_s,
        releases=releases,
        handover_s=5.0,
        changed=changed,
    )


@given(st.floats(0, 100), st.integers(3, 60))
def test_no_address_outlives_the_lease(age_s, ttl_s):
    """Counted from when the heartbeat was sent; the kernel removes it a little late."""
    lifetime_s = ownership(age_s, ttl_s=ttl_s).lifetime_s()
    assert 0 <= lifetime_s <= ttl_s
    if lifetime_s:
        assert age_s + lifetime_s + KERNEL_LATE_S < ttl_s + LIFETIME_END_S


@given(st.integers(3, 60))
def test_a_heartbeat_that_was_just_taken_gives_the_whole_lifetime(ttl_s):
    for age_s in (0.0, 0.1, 0.25):
        assert ownership(age_s, ttl_s=ttl_s).lifetime_s() == ttl_s
    assert ownership(ttl_s / 3, ttl_s=ttl_s).lifetime_s() >= ttl_s // 2


def test_without_heartbeat_or_trust_there_is_no_lifetime_to_give():
    assert ownership(None).lifetime_s() == 0
    claims = Claims()
    claims.trust.held = False
    assert ownership(0.1, claims=claims).lifetime_s() == 0
    for age_s in (None, 0.1, 1e6):
        assert ownership(age_s, releases=False, claims=claims).lifetime_s() == 6


@pytest.mark.parametrize(("age_s", "left_s"), [(None, 0.0), (0.0, 7.0), (6.0, 1.0), (9.0, -2.0)])
def test_until_when_nobody_can_be_a_successor(age_s, left_s):
    assert ownership(age_s).stale_in_s() == left_s


def test_what_was_left_to_others_stays_so_until_the_claims_were_read():
    claims, changes = Claims(), []
    owner = ownership(9.0, claims=claims, changed=lambda: changes.append(1))
    owner.give_up([IP])
    assert owner.yielded() == {IP}
    assert claims.trust.doubts == len(changes) == 1
    owner.give_up([NEXT])
    assert owner.yielded() == {IP, NEXT}
    claims.trust.readings += 1
    assert owner.yielded() == frozenset()


async def test_claims_tell_what_is_handed_over_and_what_is_ours():
    owner = ownership(1.0)
    assert owner.leaving() == {NEXT}
    assert await owner.is_ours(IP)
    assert not await owner.is_ours(NEXT)
