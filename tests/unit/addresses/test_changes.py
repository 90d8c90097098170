"""The plan turns any starting state into the wanted one, and touches only what is ours."""

from dataclasses import replace
from ipaddress import ip_interface

from hypothesis import given
from hypothesis import strategies as st

from extip.addresses.policy.changes import plan_addresses
from extip.net.interfaces import Change, ObservedAddress, Operation

LINK = 2
OTHER_LINK = 3

_POOL = [ip_interface(f"10.0.0.{n}/{p}") for n in range(1, 6) for p in (24, 32)] + [
    ip_interface(f"fd00::{n}/{p}") for n in range(1, 4) for p in (64, 128)
]
interfaces = st.sampled_from(_POOL)
observed_addresses = st.builds(
    ObservedAddress,
    interface=interfaces,
    link_index=st.sampled_from([LINK, OTHER_LINK]),
    ours=st.booleans(),
    valid_s=st.one_of(st.none(), st.integers(1, 40)),
)
states = st.lists(observed_addresses, unique_by=lambda a: (a.interface, a.link_index))
wishes = st.sets(interfaces)


UNLIKE_REFRESHES = {Operation.ADD, Operation.DELETE}


def without_moves(made):
    """Leave out what depends on the kernel's order (see test_source_order.py)."""
    return replace(
        made, changes=tuple(c for c in made.changes if c.operation is not Operation.MOVE)
    )


def plan(wanted, observed, *, refresh=True):
    return plan_addresses(wanted=wanted, observed=observed, link_index=LINK, refresh=refresh)


def after(observed, changes):
    """Apply changes as the kernel would, for those that it would accept."""
    state = {(a.interface, a.link_index): a for a in observed}
    for change in changes:
        key = (change.interface, change.link_index)
        if change.operation is Operation.DELETE:
            del state[key]
        elif change.operation is Operation.ADD:
            state.setdefault(
                key,
                ObservedAddress(
                    interface=change.interface, link_index=change.link_index, ours=True, valid_s=40
                ),
            )
    return list(state.values())


@given(states, wishes)
def test_converges_in_one_pass_and_then_rests(observed, wanted):
    foreign_here = {a.interface for a in observed if not a.ours and a.link_index == LINK}
    wanted = wanted - foreign_here  # the guard refuses those
    state = after(observed, plan(wanted, observed).changes)
    ours = {(a.interface, a.link_index) for a in state if a.ours}
    assert ours == {(interface, LINK) for interface in wanted}, "none is left elsewhere"
    assert all(c.operation not in UNLIKE_REFRESHES for c in plan(wanted, state).changes)
    assert without_moves(plan(wanted, state, refresh=False)).changes == ()


@given(states, wishes)
def test_never_touches_what_is_not_ours(observed, wanted):
    ours = {(a.interface, a.link_index) for a in observed if a.ours}
    for change in plan(wanted, observed).changes:
        if change.operation is not Operation.ADD:
            assert (change.interface, change.link_index) in ours


@given(states)
def test_holds_while_nothing_is_known(observed):
    """Unknown is not absent: no add and no delete before every input has synced."""
    result = plan(None, observed)
    assert {c.operation for c in result.changes}.isdisjoint(UNLIKE_REFRESHES)
    assert without_moves(plan(None, observed, refresh=False)).changes == ()
    assert result.up == {a.interface.ip for a in observed if a.ours and a.link_index == LINK}


@given(states, wishes, st.randoms(use_true_random=False))
def test_order_of_input_does_not_matter(observed, wanted, rng):
    shuffled = list(observed)
    rng.shuffle(shuffled)
    assert without_moves(plan(wanted, shuffled)) == without_moves(plan(wanted, observed))


def test_deletes_come_before_adds_before_refreshes():
    """IPv6 keys addresses without the prefix length: a changed one must go before it comes."""
    old, stay = ip_interface("fd00::1/64"), ip_interface("fd00::2/128")
    observed = [
        ObservedAddress(interface=i, link_index=LINK, ours=True, valid_s=9) for i in (old, stay)
    ]
    new = ip_interface("fd00::1/128")
    assert plan({new, stay}, observed).changes == (
        Change(Operation.DELETE, LINK, old),
        Change(Operation.ADD, LINK, new),
        Change(Operation.REFRESH, LINK, stay),
    )


def test_leftovers_of_a_run_with_another_interface_go():
    stale = ObservedAddress(
        interface=ip_interface("10.0.0.1/32"), link_index=OTHER_LINK, ours=True, valid_s=9
    )
    assert plan(set(), [stale]).changes == (Change(Operation.DELETE, OTHER_LINK, stale.interface),)


@given(states, st.none() | wishes, st.sets(interfaces))
def test_what_was_yielded_goes_whatever_is_wanted(observed, wanted, others):
    yielded = {interface.ip for interface in others}
    made = plan_addresses(
        wanted=wanted, observed=observed, link_index=LINK, refresh=True, yielded=yielded
    )
    left = after(observed, made.changes)
    assert not [a for a in left if a.ours and a.link_index == LINK and a.interface.ip in yielded]
    assert not made.up & yielded
    assert [a for a in left if not a.ours] == [a for a in observed if not a.ours]
    plain = plan(wanted, observed)
    changed = {c for c in made.changes if c.interface.ip not in yielded}
    assert changed == {c for c in plain.changes if c.interface.ip not in yielded}


@given(states, st.none() | wishes)
def test_without_a_lifetime_to_give_addresses_only_go(observed, wanted):
    made = plan_addresses(
        wanted=wanted, observed=observed, link_index=LINK, refresh=True, extend=False
    )
    deletes = {c for c in plan(wanted, observed).changes if c.operation is Operation.DELETE}
    assert set(made.changes) == deletes
