"""A pool that is closed gives nothing new; one that drains gets its addresses back."""

from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from extip.api.pool_parts import DRAINING
from tests.unit.pools.allocation_world import World, pool
from tests.unit.pools.test_allocation_faults import IPS, OPERATIONS, POOLS
from tests.unit.pools.test_allocation_state import Followed

OLD, NEW = ["10.0.0.1", "fd00::1"], ["10.0.1.1", "fd00:1::1"]
DUAL = {"ipFamilies": ["IPv4", "IPv6"], "ipFamilyPolicy": "RequireDualStack"}


def asking(**wishes):
    return {f"ipcontroller.ext/{key.replace('_', '-')}": value for key, value in wishes.items()}


def world(*more):
    """Make one whose pools `old4` and `old6` serve a service of two families."""
    made = World(pool("old4", "10.0.0.0/28"), pool("old6", "fd00::/124"), *more)
    made.add("web", type="LoadBalancer", **DUAL)
    made.settle()
    assert made.shown("web") == OLD
    return made


def turn(made, allocation, *names):
    """Change what some pools give; time stands still."""
    for name in names or ("old4", "old6"):
        spec = structs.replace(made.pools[name].spec, allocation=allocation)
        made.pools[name] = structs.replace(made.pools[name], spec=spec)
    made.step()


def later(made, seconds):
    made.now += timedelta(seconds=seconds)
    made.settle()


def waiting(made):
    return {owner.name: why for owner, why in made.plan()[0].waiting.items()}


def test_a_closed_pool_gives_nothing_new_and_takes_nothing_away():
    made = world()
    turn(made, "Closed")
    made.add("more", type="LoadBalancer")
    made.add("named", type="LoadBalancer", annotations=asking(addresses="10.0.0.9"))
    made.add("loyal", type="LoadBalancer", annotations=asking(pool="old4"))
    made.settle()
    assert made.shown("web") == OLD
    assert [made.shown(name) for name in ("more", "named", "loyal")] == [[], [], []]
    assert waiting(made) == {
        "more": "no pool of IPv4 addresses serves it",
        "named": "10.0.0.9 is in pool old4, which gives no new addresses",
        "loyal": "pool old4 gives no new addresses",
    }
    turn(made, "Open")
    made.settle()
    assert made.shown("named") == ["10.0.0.9"]
    assert not waiting(made)


def test_a_service_that_asks_anew_gets_an_address_of_another_pool():
    made = world(pool("spare", "10.0.1.0/28", priority=-1))
    turn(made, "Closed")
    made.change("web", {"spec": {"type": "ClusterIP"}})
    made.settle()
    made.change("web", {"spec": {"type": "LoadBalancer", "ipFamilies": ["IPv4"]}})
    made.settle()
    assert made.shown("web") == ["10.0.1.1"], "though its old one is free"


def test_of_a_draining_pool_old_and_new_answer_for_a_while_then_the_old_goes():
    made = world(pool("spare4", "10.0.1.0/28"), pool("spare6", "fd00:1::/124"))
    made.down = {*NEW}
    turn(made, DRAINING)
    later(made, 1000)
    assert set(made.shown("web")) == {*OLD, *NEW}, "the new ones are not up yet"
    made.down = set()
    made.report()
    later(made, 299)
    assert set(made.shown("web")) == {*OLD, *NEW}
    later(made, 1)
    assert made.shown("web") == NEW
    assert set(made.claimed()) == {*NEW}


def test_each_family_goes_when_a_pool_has_it_and_stays_until_then():
    made = world(pool("spare4", "10.0.1.0/28"))
    turn(made, DRAINING)
    made.settle()
    later(made, 300)
    assert made.shown("web") == ["10.0.1.1", OLD[1]]
    assert waiting(made) == {
        "web": f"no pool of IPv6 addresses serves it; it keeps {OLD[1]} until then"
    }


def test_an_address_that_is_asked_for_by_name_stays():
    made = World(pool("old4", "10.0.0.0/28"), pool("spare4", "10.0.1.0/28"))
    made.add("web", type="LoadBalancer", annotations=asking(addresses="10.0.0.5"))
    made.settle()
    turn(made, DRAINING, "old4")
    later(made, 900)
    assert made.shown("web") == ["10.0.0.5"]


def test_all_addresses_of_a_service_go():
    made = World(pool("old4", "10.0.0.0/28"), pool("spare4", "10.0.1.0/28", priority=-1))
    made.add("web", type="LoadBalancer", annotations=asking(address_count="3"))
    made.add("auto", annotations={"external-ip": "auto"})
    made.settle()
    turn(made, DRAINING, "old4")
    made.settle()
    assert len(made.shown("web")) == 6
    later(made, 300)
    assert made.shown("web") == ["10.0.1.2", "10.0.1.3", "10.0.1.4"]
    assert made.shown("auto") == ["10.0.1.1"]
    assert not any(ip.startswith("10.0.0.") for ip in made.claimed())


def test_a_pool_that_is_opened_again_meanwhile_changes_nothing_more():
    made = world(pool("spare4", "10.0.1.0/28"), pool("spare6", "fd00:1::/124"))
    turn(made, DRAINING)
    made.settle()
    turn(made, "Open")
    made.settle()
    assert len(made.shown("web")) == 2


@pytest.mark.parametrize("drain_seconds", [0, 5])
def test_the_pool_says_for_how_long_both_answer(drain_seconds):
    made = world(pool("spare4", "10.0.1.0/28"), pool("spare6", "fd00:1::/124"))
    for name in ("old4", "old6"):
        spec = structs.replace(made.pools[name].spec, drain_seconds=drain_seconds)
        made.pools[name] = structs.replace(made.pools[name], spec=spec)
    turn(made, DRAINING)
    made.settle()
    assert len(made.shown("web")) == (4 if drain_seconds else 2)
    later(made, drain_seconds)
    assert made.shown("web") == NEW


def drained(down):
    """Make a world with a pool that drains, beside one that takes over."""
    made = Followed(pool("old", "10.0.0.0/28"), pool("spare", "10.0.1.0/28"))
    made.add("web", type="LoadBalancer")
    made.settle()
    made.down = {"10.0.1.1"} if down else set()
    turn(made, DRAINING, "old")
    made.settle()
    assert made.shown("web") == ["10.0.1.1", "10.0.0.1"]
    return made


def test_that_the_next_address_is_up_is_noticed_by_its_claim():
    made = drained(down=True)
    assert [*made.state.last.arriving.values()] == [None]
    made.down.clear()
    made.report()
    made.plan()
    (end,) = made.state.last.arriving.values()
    assert end == made.now + timedelta(seconds=300)


def test_the_old_address_goes_when_its_time_is_over_and_no_pass_before_looks_at_it():
    made = drained(down=False)
    for seconds in (1, 298):
        made.now += timedelta(seconds=seconds)
        before = made.state.last
        made.plan()
        assert made.state.last is before, "it was planned anew"
    made.now += timedelta(seconds=1)
    made.plan()
    assert not made.state.last.arriving
    made.settle()
    assert made.shown("web") == ["10.0.1.1"]


@pytest.mark.parametrize("since", ["yesterday", "2026-01-01T00:00:00", "9999-12-31T23:59:59Z"])
def test_an_address_that_nobody_can_tell_the_age_of_stays_beside_its_successor(since):
    made = drained(down=False)
    for name, claim in made.claims.items():
        status = structs.replace(claim.status, since=since)
        made.claims[name] = structs.replace(claim, status=status)
    later(made, 1000)
    assert len(made.shown("web")) == 2


GIVING = st.sampled_from(["Open", "Closed", "Draining"])
SEQUENCES = st.lists(
    st.one_of(
        OPERATIONS,
        st.tuples(st.just("turn"), GIVING, st.integers(0, 2)),
        st.tuples(st.just("later"), st.sampled_from([1, 100, 300])),
        st.tuples(st.just("never up"), st.sampled_from([*IPS, "10.0.0.4", "10.0.0.1"])),
        st.just(("all up",)),
    ),
    max_size=20,
)


@settings(max_examples=100)
@given(SEQUENCES)
def test_from_change_to_change_or_over_everything_the_plan_is_the_same_and_settles(operations):
    made = Followed(POOLS[0])
    for kind, *what in operations:
        if kind == "turn" and made.pools:
            turn(made, what[0], sorted(made.pools)[what[1] % len(made.pools)])
        elif kind == "later":
            made.now += timedelta(seconds=what[0])
        elif kind == "never up":
            made.down.add(what[0])
        elif kind == "all up":
            made.down.clear()
            made.report()
        elif kind != "turn":
            made.do(kind, *what)
        made.plan()
    made.down.clear()
    made.settle()
    made.now += timedelta(seconds=300)
    made.settle()
    made.check()
