"""A multimap has what dicts of sets would have, in order."""

from hypothesis import given
from hypothesis import strategies as st

from extip.cache.multimap import Multimap

STEPS = st.lists(st.tuples(st.booleans(), st.sampled_from("ab"), st.integers(0, 3)), max_size=20)


@given(STEPS)
def test_it_has_what_was_added_and_not_removed(steps):
    found = Multimap[str, int]()
    expected: dict[str, dict[int, None]] = {}
    for adds, key, value in steps:
        if adds:
            found.add(key, value)
            expected.setdefault(key, {})[value] = None
        else:
            found.discard(key, value)
            expected.get(key, {}).pop(value, None)
        for name in "ab":
            assert list(found.of(name)) == list(expected.get(name, ()))
        assert sorted(found) == [name for name in "ab" if expected.get(name)]
