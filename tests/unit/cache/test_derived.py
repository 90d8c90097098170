"""A derived value follows the store object by object, and says when it differs."""

from collections.abc import Callable

from extip.cache.derived import Derived


def derived(store, told):
    return Derived(
        get=store.get,
        extract=lambda number: number if number > 0 else None,
        combine=sum,
        on_change=lambda: told.append("changed"),
    )


def test_follows_additions_changes_and_removals():
    store: dict[str, int] = {}
    told: list[str] = []
    total = derived(store, told)
    assert total.value() == 0
    store.update(a=1, b=2)
    total.update("a")
    total.update("b")
    assert total.value() == 3
    store["a"] = 5
    total.update("a")
    assert total.value() == 7
    del store["b"]
    total.update("b")
    assert total.value() == 5
    assert len(told) == 4


def test_is_silent_about_what_does_not_matter():
    """A cluster's services change all the time; only their external IPs are news."""
    store = {"a": 1, "zero": 0}
    told: list[str] = []
    total = derived(store, told)
    total.update("a")
    before = total.value()
    for key in ("a", "zero", "never-seen"):
        total.update(key)
    assert told == ["changed"]
    assert total.value() is before


def test_what_is_made_anew_while_it_lingers_changes_nothing():
    store = {"a": 1, "b": 2}
    told: list[str] = []
    ends: list[Callable[[], None]] = []
    total: Derived[int, int, int] = Derived(
        get=store.get,
        extract=lambda number: number,
        combine=sum,
        on_change=lambda: told.append("changed"),
        linger=ends.append,
    )
    for key in ("a", "b"):
        total.update(key)
    told.clear()
    del store["a"]
    total.update("a")
    total.update("a")
    assert (total.value(), len(ends)) == (3, 1)
    store["a"] = 1
    total.update("a")
    ends[0]()
    assert (total.value(), told) == (3, [])
    del store["a"]
    total.update("a")
    ends[0]()  # of the time before
    assert total.value() == 3
    ends[1]()
    assert (total.value(), told) == (2, ["changed"])
    store["b"] = 5
    total.update("b")
    assert total.value() == 5
