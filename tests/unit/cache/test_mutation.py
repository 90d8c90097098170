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


class Followed:
    """An overlay, and what its user knows of it by its changes alone."""

    def __init__(self, *claims):
        self.clock = Hand()
        self.store = {one.metadata.name: one for one in claims}
        self.overlay = Overlay(self.store, clock=self.clock)
        self.known: dict[str, IpClaim] = {}

    def deliver(self, new):
        """Deliver a claim by the watch."""
        self.store[new.metadata.name] = new
        self.overlay.on_object(new.metadata.name)

    def deliver_deletion(self, name):
        """Deliver by the watch that a claim is gone."""
        del self.store[name]
        self.overlay.on_object(name)

    def look(self):
        """Take the changes, and return all that is known."""
        for key, found in self.overlay.changes().items():
            assert self.overlay.get(key) is found
            self.known.pop(key, None)
            if found is not None:
                self.known[key] = found
        return {key: found.spec.node_name for key, found in self.known.items()}


def test_a_write_counts_until_the_watch_has_it_or_something_newer():
    world = Followed(claim("a", 9))
    assert world.look() == {"a": ""}
    world.overlay.wrote(claim("a", 10, "n1"))
    assert world.look() == {"a": "n1"}
    world.deliver(claim("a", 9, "n0"))
    assert world.look() == {"a": "n1"}
    world.deliver(claim("a", 11, "n2"))
    assert world.look() == {"a": "n2"}


def test_a_deletion_counts_until_the_watch_has_it_or_a_new_object_of_that_name():
    world = Followed(claim("a", 9), claim("b", 9))
    assert set(world.look()) == {"a", "b"}
    world.overlay.deleted(world.store["a"])
    assert set(world.look()) == {"b"}
    world.deliver(claim("a", 12, uid="another"))
    assert set(world.look()) == {"a", "b"}


def test_a_write_that_the_watch_had_is_gone_with_its_object():
    """Nobody looked in between: the overlay knows by the events alone that it was delivered."""
    world = Followed(claim("a", 9))
    world.overlay.wrote(claim("a", 10, "n1"))
    world.deliver(claim("a", 10, "n1"))
    world.deliver_deletion("a")
    assert world.look() == {}


def test_a_write_counts_while_the_watch_is_behind_also_when_it_tells_of_an_older_deletion():
    world = Followed(claim("a", 9))
    world.overlay.wrote(claim("a", 12, uid="another"))
    world.deliver_deletion("a")
    assert world.look() == {"a": ""}


def test_what_others_undid_unseen_does_not_stay_for_ever():
    world = Followed(claim("b", 9))
    world.overlay.wrote(claim("a", 10))
    world.overlay.deleted(world.store["b"])
    assert set(world.look()) == {"a"}
    world.clock.now = LASTS_S + 1
    assert set(world.look()) == {"b"}


def test_a_lost_leadership_forgets_everything():
    world = Followed(claim("b", 9))
    world.overlay.wrote(claim("a", 10))
    assert set(world.look()) == {"a", "b"}
    world.overlay.forget()
    assert set(world.overlay.changes()) == {"b"}


def test_only_what_changed_is_told_again():
    world = Followed(claim("a", 9), claim("b", 9))
    assert set(world.overlay.changes()) == {"a", "b"}
    assert world.overlay.changes() == {}
    world.deliver(claim("b", 10))
    assert set(world.overlay.changes()) == {"b"}
    world.overlay.wrote(claim("a", 11))
    assert set(world.overlay.changes()) == {"a"}
    assert world.overlay.changes() == {}


def test_many_changes_come_in_parts():
    world = Followed(*(claim(name, 9) for name in "abcde"))
    assert world.overlay.pending
    parts = [set(world.overlay.changes(2)) for _ in range(2)]
    world.deliver(claim("a", 10))
    while world.overlay.pending:
        parts.append(set(world.overlay.changes(2)))
    assert max(map(len, parts)) == 2
    assert sorted(name for part in parts for name in part) == ["a", "a", "b", "c", "d", "e"]
    assert world.overlay.changes(2) == {}


def test_answers_that_come_in_another_order_than_the_writes_undo_nothing():
    world = Followed(claim("a", 9), claim("b", 9))
    world.overlay.wrote(claim("a", 11, "n2"))
    world.overlay.wrote(claim("a", 10, "n1"))
    assert world.look()["a"] == "n2"
    world.overlay.deleted(claim("b", 9))
    world.overlay.wrote(claim("b", 10))
    assert set(world.look()) == {"a"}
