"""What vanishes with its kind stays; what is deleted goes."""

import asyncio
from contextlib import asynccontextmanager
from random import Random

from extip.api.core_v1 import Service
from extip.cache.informer import Informer
from extip.cache.vanished import Vanished
from extip.clock import LoopClock
from extip.errors import ApiUnavailableError, NotFoundError
from extip.metrics import Metrics
from tests.fakes.api_server import FakeApiServer
from tests.fakes.tasks import beside
from tests.fakes.virtual_time import run_virtually

READ_S = 0.01


class Definition:
    """A definition that is read in some time."""

    def __init__(self):
        self.now = "first"
        self.reads = 0
        self.answers_are_old = False
        """An answer tells how it was when it was asked for, not when it arrives."""

    async def uid(self):
        self.reads += 1
        before = self.now
        await asyncio.sleep(READ_S)
        return before if self.answers_are_old else self.now

    async def wait_back(self):
        while not self.now:  # noqa: ASYNC110 - as the real one
            await asyncio.sleep(1)
        return self.now


class World:
    def __init__(self, *, keep, patience_s):
        self.server = FakeApiServer()
        self.kind = Definition()
        self.vanished: Vanished[Service] = Vanished(self.kind, keep=keep, patience_s=patience_s)
        self.told: list[str] = []
        self.informer: Informer[Service] = Informer(
            "services",
            self.server,
            clock=LoopClock(),
            rng=Random(1),  # noqa: S311
            metrics=Metrics("test"),
            vanished=self.vanished,
        )
        self.informer.add_handler(self.told.append)

    def known(self):
        return sorted(key.partition("/")[2] for key in self.informer.store)

    def delete_kind(self):
        """Objects go first, as with a real server."""
        self.kind.now = ""
        for key in list(self.server.objects):
            self.server.delete(key)

    @asynccontextmanager
    async def running(self):
        for name in "abc":
            self.server.create(name)
        async with beside(self.informer.run()):
            await asyncio.sleep(1)
            self.told.clear()
            yield


def play(scenario, *, keep=False, patience_s=0.0):
    async def main():
        world = World(keep=keep, patience_s=patience_s)
        async with world.running():
            await scenario(world)

    run_virtually(main())


def test_a_deletion_while_the_kind_stands_is_one_after_a_single_read():
    async def scenario(world):
        before = world.kind.reads
        world.server.delete("default/a")
        await asyncio.sleep(5 * READ_S)
        assert (world.known(), world.told) == (["b", "c"], ["default/a"])
        assert world.kind.reads == before + 1

    play(scenario)


def test_a_read_says_nothing_of_what_vanishes_after_it_began():
    async def scenario(world):
        world.kind.answers_are_old = True
        world.server.delete("default/a")
        await asyncio.sleep(READ_S / 2)
        world.delete_kind()
        await asyncio.sleep(600)
        assert (world.known(), world.told) == (["b", "c"], ["default/a"])

    play(scenario)


def test_many_deletions_do_not_wait_for_one_another():
    async def scenario(world):
        before = world.kind.reads
        for key in list(world.server.objects):
            world.server.delete(key)
        await asyncio.sleep(5 * READ_S)
        assert world.known() == []
        assert world.kind.reads <= before + 2

    play(scenario)


def test_one_read_is_enough_for_all_that_vanish_within_its_patience():
    async def scenario(world):
        reads = world.kind.reads
        for key in list(world.server.objects):
            world.server.delete(key)
            await asyncio.sleep(0.2)
        assert world.known() == ["a", "b", "c"]
        await asyncio.sleep(1)
        assert world.known() == []
        assert world.kind.reads == reads + 1

    play(scenario, patience_s=1.0)


def test_whoever_waits_for_orphans_is_told_when_there_are_some():
    async def scenario(world):
        waiting = asyncio.ensure_future(world.vanished.wait_orphans())
        world.server.delete("default/a")
        await asyncio.sleep(60)
        assert not waiting.done(), "that was a deletion"
        world.delete_kind()
        async with asyncio.timeout(1):
            await waiting
        assert set(world.vanished.orphans) == {"default/b", "default/c"}

    play(scenario, keep=True)


def test_what_vanishes_with_its_kind_stays_and_goes_when_that_is_back_without_it():
    async def scenario(world):
        world.delete_kind()
        await asyncio.sleep(600)
        assert (world.known(), world.told) == (["a", "b", "c"], [])
        world.server.create("b")
        world.kind.now = "second"
        await asyncio.sleep(5)
        assert world.known() == ["b"]
        assert not world.vanished.orphans

    play(scenario)


def test_what_is_kept_stays_until_it_is_dropped_or_seen_again():
    async def scenario(world):
        world.delete_kind()
        await asyncio.sleep(1)
        world.kind.now = "second"
        await asyncio.sleep(60)
        assert sorted(world.vanished.orphans) == ["default/a", "default/b", "default/c"]
        world.server.create("b")
        await asyncio.sleep(1)
        assert sorted(world.vanished.orphans) == ["default/a", "default/c"]
        world.vanished.drop(["default/a", "default/b"])
        assert world.known() == ["b", "c"]
        world.server.delete("default/b")
        await asyncio.sleep(1)
        assert world.known() == ["c"]

    play(scenario, keep=True)


def test_an_end_that_nobody_saw_is_noticed_by_what_a_list_lacks():
    async def scenario(world):
        world.server.break_streams(ApiUnavailableError("cut"))
        world.server.faults_on_watch.append(NotFoundError("no such kind", status=404))
        world.kind.now = "second"
        world.server.objects.clear()
        await asyncio.sleep(120)
        assert world.known() == ["a", "b", "c"]
        assert len(world.vanished.orphans) == 3

    play(scenario, keep=True)


def test_an_object_that_is_deleted_and_made_again_at_once_does_not_leave():
    async def scenario(world):
        seen: list[bool] = []
        world.informer.add_handler(lambda key: seen.append(key in world.informer.store))
        world.server.delete("default/a")
        world.server.create("a")
        await asyncio.sleep(1)
        assert world.known() == ["a", "b", "c"]
        assert all(seen)

    play(scenario)
