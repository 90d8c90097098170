"""A derived value follows the store object by object, and says when it differs."""

from extip.cache.derived import Derived


def derived(store, told):
    return Derived(
        get=store.get,
        extract=lambda number: number if number > 0 else None,
        combine=sum,
        changed=lambda: told.append("changed"),
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
