"""A call about a Lease that was not answered, and whose repetition was, casts doubt on watches."""

import asyncio
from contextlib import suppress
from random import Random
from typing import cast

import pytest

from extip.api.coordination_v1 import Lease
from extip.api.meta_v1 import FullObjectMeta
from extip.clock import LoopClock
from extip.election.lease import LeaseStore
from extip.errors import ApiUnavailableError, NotFoundError
from extip.liveness.answer_times import AnswerTimes
from extip.liveness.heartbeat import Publisher
from extip.liveness.observed_lease import ObservedLease
from extip.metrics import Metrics
from tests.fakes.lease_server import HANG, OK, REFUSED, LeaseServer
from tests.fakes.tasks import beside
from tests.fakes.virtual_time import run_virtually

NAME = "extip-node-a"


class SlowStore:
    """Takes its time."""

    TAKES_S = 4.0

    async def get(self):
        await asyncio.sleep(self.TAKES_S)
        return Lease(metadata=FullObjectMeta(name=NAME))


def now_s():
    return asyncio.get_running_loop().time()


class World:
    """A node's heartbeat, and the doubts that it raises."""

    def __init__(self):
        self.server = LeaseServer()
        self.doubts: list[tuple[float, float]] = []
        self.lease = ObservedLease(
            self.server.client(NAME),
            on_recovery=lambda since: self.doubts.append((now_s(), since)),
            clock=LoopClock(),
        )

    async def play(self, scenario):
        publisher = Publisher(
            self.lease,
            node="a",
            namespace="x",
            identity="a",
            heartbeat_s=2.0,
            clock=LoopClock(),
            rng=Random(1),  # noqa: S311
            metrics=Metrics("controller"),
        )
        async with beside(publisher.run()):
            await asyncio.sleep(9)
            await scenario


def test_calls_are_timed_while_they_wait_and_when_they_are_answered():
    async def main():
        times = AnswerTimes()
        store = cast("LeaseStore", SlowStore())
        lease = ObservedLease(store, on_recovery=lambda _: None, times=times, clock=LoopClock())
        call = asyncio.ensure_future(lease.get())
        await asyncio.sleep(SlowStore.TAKES_S / 2)
        assert times.slowest_s(now_s(), within_s=1.0) == SlowStore.TAKES_S / 2
        await call
        assert times.slowest_s(now_s(), within_s=1.0) == SlowStore.TAKES_S
        with suppress(TimeoutError):
            async with asyncio.timeout(SlowStore.TAKES_S / 2):
                await lease.get()
        await asyncio.sleep(2)
        assert times.slowest_s(now_s(), within_s=1.5) == 0.0

    run_virtually(main())


def test_a_call_that_the_server_refused_counts_until_one_is_answered():
    async def main():
        world, times = World(), AnswerTimes()
        lease = ObservedLease(
            world.server.client(NAME), on_recovery=lambda _: None, times=times, clock=LoopClock()
        )
        world.server.deliver = lambda _who, _verb: REFUSED
        with suppress(ApiUnavailableError):
            await lease.get()
        assert times.failing
        world.server.deliver = lambda _who, _verb: OK
        with suppress(NotFoundError):  # which is an answer
            await lease.get()
        assert not times.failing

    run_virtually(main())


def test_a_connection_that_hangs_is_one_doubt_as_of_when_it_was_used():
    async def main():
        world = World()

        async def scenario():
            fates = [HANG]
            world.server.deliver = lambda _who, _verb: fates.pop() if fates else OK
            await asyncio.sleep(20)

        await world.play(scenario())
        [(at, since)] = world.doubts
        hung = next(when for when, _, _ in world.server.calls if when > 9.0)
        assert since == hung
        assert at - since < 2.5, "the next heartbeat was answered, on a new connection"

    run_virtually(main())


def test_a_server_that_answers_with_errors_raises_none():
    async def main():
        world = World()

        async def scenario():
            world.server.deliver = lambda _who, _verb: REFUSED
            await asyncio.sleep(20)
            world.server.deliver = lambda _who, _verb: OK
            await asyncio.sleep(20)

        await world.play(scenario())
        assert world.doubts == []

    run_virtually(main())


@pytest.mark.parametrize("verb", ["get", "create", "replace"])
def test_whatever_is_answered_after_whatever_was_not(verb):
    async def main():
        world = World()
        lease = Lease(metadata=FullObjectMeta(name=NAME, namespace="x"))
        calls = {
            "get": world.lease.get,
            "create": lambda: world.lease.create(lease),
            "replace": lambda: world.lease.replace(lease),
        }
        await asyncio.sleep(1)
        world.server.deliver = lambda _who, _verb: HANG
        with suppress(TimeoutError):
            async with asyncio.timeout(2):
                await calls[verb]()
        world.server.deliver = lambda _who, _verb: REFUSED
        with suppress(ApiUnavailableError):
            await world.lease.get()
        assert world.doubts == []
        world.server.deliver = lambda _who, _verb: OK
        with suppress(NotFoundError):
            await world.lease.get()
        await world.lease.create(lease)
        assert [since for _, since in world.doubts] == [1.0]
        await world.lease.get()
        assert len(world.doubts) == 1

    run_virtually(main())
