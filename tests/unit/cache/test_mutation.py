"""Our own writes count at once; the watch has the last word."""

from extip.api.ipcontroller_v1 import IpClaim, IpClaimSpec
from extip.api.meta_v1 import FullObjectMeta
from extip.cache.mutation import LASTS_S, Overlay
from extip.clock import LoopClock


class Hand(LoopClock):
    """A clock moved by hand."""

    now = 0.0

    def monotonic(self):
        return self.now


def claim(name, version, node="", uid="u"):
    meta = FullObjectMeta(name=name, uid=uid, resource_version=str(version))
    return IpClaim(metadata=meta, spec=IpClaimSpec(node_name=node))


def test_a_write_counts_until_the_watch_has_it_or_something_newer():
    store = {"a": claim("a", 9)}
    overlay = Overlay(store, clock=Hand())
    overlay.wrote(claim("a", 10, "n1"))
    assert overlay.current()["a"].spec.node_name == "n1"
    store["a"] = claim("a", 11, "n2")
    assert overlay.current() == store


def test_a_deletion_counts_until_the_watch_has_it_or_a_new_object_of_that_name():
    store = {"a": claim("a", 9), "b": claim("b", 9)}
    overlay = Overlay(store, clock=Hand())
    overlay.deleted(store["a"])
    assert set(overlay.current()) == {"b"}
    store["a"] = claim("a", 12, uid="another")
    assert set(overlay.current()) == {"a", "b"}


def test_what_others_undid_unseen_does_not_stay_for_ever():
    clock = Hand()
    store: dict[str, IpClaim] = {}
    overlay = Overlay(store, clock=clock)
    overlay.wrote(claim("a", 10))
    assert set(overlay.current()) == {"a"}
    clock.now = LASTS_S + 1
    assert overlay.current() == {}


def test_a_lost_leadership_forgets_everything():
    overlay: Overlay[IpClaim] = Overlay({}, clock=Hand())
    overlay.wrote(claim("a", 10))
    overlay.forget()
    assert overlay.current() == {}


def test_answers_that_come_in_another_order_than_the_writes_undo_nothing():
    overlay: Overlay[IpClaim] = Overlay({"a": claim("a", 9), "b": claim("b", 9)}, clock=Hand())
    overlay.wrote(claim("a", 11, "n2"))
    overlay.wrote(claim("a", 10, "n1"))
    assert overlay.current()["a"].spec.node_name == "n2"
    overlay.deleted(claim("b", 9))
    overlay.wrote(claim("b", 10))
    assert set(overlay.current()) == {"a"}
