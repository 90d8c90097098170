"""A sweep comes to everything, and no step of it looks at everything."""

from hypothesis import given
from hypothesis import strategies as st

from extip.net.interfaces import CachedIPv4Address
from extip.pools.policy.allocation_part import Part
from extip.pools.policy.sweep import Sweep


class Counted(list[str]):
    """Services of which it is noted that somebody has looked them up."""

    looks = 0

    def __iter__(self):
        self.looks += 1
        return super().__iter__()


def test_what_is_to_be_touched_is_looked_up_when_it_has_its_turn():
    first, second = Counted(["a", "b"]), Counted(["c", "d"])
    ips = [CachedIPv4Address("10.0.0.1")]
    sweep = Sweep()
    sweep.begin((first, second), ips)
    assert sweep
    assert (first.looks, second.looks) == (0, 0)
    assert [*sweep.services(1)] == ["d"]
    assert (first.looks, second.looks) == (0, 1)
    assert not [*sweep.ips(9)], "services come first"
    assert [*sweep.services(9)] == ["c", "b", "a"]
    assert [*sweep.ips(9)] == ips
    assert not sweep


def test_a_sweep_that_is_over_remembers_nothing():
    """The next one would begin with a long step: to forget very many takes milliseconds."""
    ips = [CachedIPv4Address("10.0.0.1"), CachedIPv4Address("10.0.0.2")]
    sweep = Sweep()
    sweep.begin((["a"],), ips)
    assert [*sweep.services(1)] == ["a"]
    assert [*sweep.ips(1)] == [ips[1]]
    sweep.has_done(Part({"a": None}, {ips[1]: None}))
    assert sweep._done == {"a", ips[1]}
    assert [*sweep.ips(1)] == [ips[0]]
    assert not sweep._done


@given(
    st.lists(st.sampled_from("abcdef"), unique=True),
    st.lists(st.sampled_from("abcdef"), unique=True),
    st.lists(st.tuples(st.integers(1, 3), st.frozensets(st.sampled_from("abcdef"))), max_size=9),
)
def test_each_one_is_touched_unless_it_was_planned_meanwhile(first, second, steps):
    sweep, done, touched = Sweep(), set[str](), set[str]()
    sweep.begin((first, second), ())
    for most, planned in [*steps, (99, frozenset())]:
        taken = [*sweep.services(most)]
        assert len(taken) <= most
        assert done.isdisjoint(taken)
        touched |= set(taken)
        if sweep:
            done |= planned
        sweep.has_done(Part(dict.fromkeys(planned)))
    assert touched <= {*first, *second} <= touched | done
    assert not sweep
