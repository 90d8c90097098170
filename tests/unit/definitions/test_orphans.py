"""A scheduler makes claims again that went with their kind, as they were, whoever made them."""

import asyncio
from random import Random
from types import SimpleNamespace
from typing import cast

from extip.api.ipcontroller_v1 import IpClaim, IpClaimSpec, IpClaimStatus, ServiceReference
from extip.api.meta_v1 import FullObjectMeta
from extip.clock import LoopClock
from extip.definitions.kind_watch import KindWatch
from extip.definitions.orphans import PATIENCE_S, Orphans
from extip.errors import ApiUnavailableError, ConflictError, InvalidRequestError, NotFoundError
from tests.fakes.tasks import beside
from tests.fakes.virtual_time import run_virtually


def claim(name):
    return IpClaim(
        metadata=FullObjectMeta(
            name=name,
            uid="old",
            resource_version="7",
            labels={"ipnode": "n1"},
            annotations={"a": "b"},
        ),
        spec=IpClaimSpec(
            cidr="10.0.0.1/32", node_name="n1", services=(ServiceReference("ns", "web", "u"),)
        ),
        status=IpClaimStatus(holder="n1"),
    )


class World:
    def __init__(self):
        self.kind = SimpleNamespace(missing="gone")
        self.settled = 0
        self.hangs = ""
        self.answers: dict[str, list[Exception]] = {}
        self.made: list[IpClaim] = []
        self.orphans = Orphans(
            cast("KindWatch", self.kind),
            on_settled=self._settle,
            clock=LoopClock(),
            rng=Random(1),  # noqa: S311
        )
        vanished = self.orphans.vanished
        for name in "abc":
            vanished.store.put(claim(name))
            vanished.gone(name)
            vanished._left.add(name)

    def _settle(self):
        self.settled += 1

    async def create(self, new):
        await asyncio.sleep(60 if new.metadata.name == self.hangs else 0.01)
        if answers := self.answers.get(new.metadata.name):
            raise answers.pop(0)
        self.made.append(new)
        return new

    def jobs(self, *, leading):
        store = self.orphans.vanished.store
        jobs = [self.orphans.expire()]
        jobs += [self.orphans.restore(store.get, self.create)] if leading else []
        return jobs


def play(scenario, *, leading=True):
    async def main():
        world = World()
        async with beside(*world.jobs(leading=leading)):
            await scenario(world)

    run_virtually(main())


def test_nothing_is_written_before_the_kind_is_back_and_then_each_claim_once():
    async def scenario(world):
        await asyncio.sleep(600)
        assert world.made == []
        assert world.orphans.pending
        world.kind.missing = ""
        await asyncio.sleep(5)
        assert sorted(one.metadata.name for one in world.made) == ["a", "b", "c"]
        assert not world.orphans.pending
        assert world.settled
        old, new = claim("a"), next(one for one in world.made if one.metadata.name == "a")
        assert new.spec == old.spec
        assert new.metadata == FullObjectMeta(
            name="a", labels=old.metadata.labels, annotations=old.metadata.annotations
        )
        assert new.status == IpClaimStatus()

    play(scenario)


def test_what_cannot_be_written_keeps_nothing_else_waiting():
    async def scenario(world):
        world.answers = {
            "a": [ApiUnavailableError("not yet"), NotFoundError("another server")],
            "b": [ConflictError("exists")],
            "c": [InvalidRequestError("no")],
        }
        world.kind.missing = ""
        await asyncio.sleep(3)
        assert [one.metadata.name for one in world.made] == ["a"]
        assert not world.orphans.pending
        assert sorted(world.orphans.vanished.store) == ["a", "b"]  # c is for the next pass

    play(scenario)


def test_one_claim_whose_write_hangs_keeps_nothing_from_being_decided():
    """An admission webhook may hang over that very one, and a node die meanwhile."""

    async def scenario(world):
        world.hangs = "b"
        world.kind.missing = ""
        await asyncio.sleep(5)
        assert sorted(one.metadata.name for one in world.made) == ["a", "c"]
        assert not world.orphans.pending
        world.hangs = ""
        await asyncio.sleep(5)
        assert sorted(one.metadata.name for one in world.made) == ["a", "b", "c"]
        world.kind.missing = "gone again"
        await asyncio.sleep(1)
        assert world.orphans.pending

    play(scenario)


class Sleeps(LoopClock):
    """A clock that counts how often somebody sleeps."""

    count = 0

    async def sleep(self, seconds):
        self.count += 1
        await super().sleep(seconds)


def test_a_leader_without_orphans_does_not_look_for_them():
    async def main():
        clock = Sleeps()
        kind = cast("KindWatch", SimpleNamespace(missing=""))
        orphans = Orphans(kind, clock=clock, rng=Random(1))  # noqa: S311
        async with beside(orphans.restore(orphans.vanished.store.get, World().create)):
            await asyncio.sleep(3600)
            assert clock.count == 0

    run_virtually(main())


def test_a_standby_forgets_what_its_leader_did_not_make_again():
    async def scenario(world):
        world.kind.missing = ""
        await asyncio.sleep(PATIENCE_S - 5)
        assert world.orphans.pending
        await asyncio.sleep(10)
        assert not world.orphans.pending
        assert world.made == []

    play(scenario, leading=False)
