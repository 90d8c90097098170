"""Whoever stops leaves no lease behind, whatever becomes of a write that was under way."""

import asyncio

import pytest

from tests.fakes.lease_server import HANG, OK, REFUSED, Delivery, LeaseServer
from tests.fakes.tasks import beside
from tests.fakes.virtual_time import run_virtually
from tests.unit.election.test_elector import NAME, Watcher, candidate, spec

CARRIED_OUT = Delivery(there_s=0.001, back_s=0.3)
"""The answer is on its way."""
ON_ITS_WAY = Delivery(there_s=0.3, back_s=0.001)
"""It arrives after the stop."""


@pytest.mark.parametrize("fate", [CARRIED_OUT, ON_ITS_WAY], ids=["carried out", "on its way"])
@pytest.mark.parametrize("before", ["no lease", "given back", "run out"])
def test_a_candidate_that_is_stopped_while_it_acquires_keeps_no_lease(before, fate):
    async def main():
        server, watcher = LeaseServer(), Watcher()
        if before != "no lease":
            async with beside(candidate(server, "x").run()):
                await asyncio.sleep(1)
        if before == "run out":
            server.edit(NAME, holder_identity="x", lease_duration_seconds=5)
        slow: list[Delivery] = []
        server.deliver = lambda who, verb: slow[0] if slow and verb != "get" else OK
        async with beside(candidate(server, "a").run(lambda: [watcher.component("a")])) as (task,):
            if before == "run out":
                await asyncio.sleep(4.9)
            slow.append(fate)
            writes = len(server.calls)
            while not any(verb != "get" for _, _, verb in server.calls[writes:]):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.05)
            slow.clear()
            task.cancel()
            await asyncio.wait([task])
        assert task.cancelled()
        assert not watcher.history
        await asyncio.sleep(1)  # all that was on its way has arrived
        assert spec(server).holder_identity == ""
        async with beside(candidate(server, "b").run(lambda: [watcher.component("b")])):
            await asyncio.sleep(0.1)
            assert watcher.leading == {"b"}

    run_virtually(main())


def test_a_candidate_that_is_stopped_after_a_write_without_an_answer_keeps_no_lease():
    """It waits to try again when it is stopped."""

    async def main():
        server = LeaseServer()
        broken = Delivery(there_s=0.001, back_s=0.1, answered=False)
        server.deliver = lambda _who, verb: OK if verb == "get" else broken
        async with beside(candidate(server, "a").run()) as (task,):
            await asyncio.sleep(1)
            assert spec(server).holder_identity == "a"
            server.deliver = lambda _who, _verb: OK
            task.cancel()
            await asyncio.wait([task])
        assert spec(server).holder_identity == ""

    run_virtually(main())


def test_a_leader_that_could_not_renew_and_is_stopped_before_it_can_again_keeps_no_lease():
    async def main():
        server = LeaseServer()
        async with beside(candidate(server, "a").run()) as (task,):
            await asyncio.sleep(5)
            server.deliver = lambda _who, _verb: HANG
            await asyncio.sleep(15)
            server.deliver = lambda _who, _verb: OK
            task.cancel()
            await asyncio.wait([task])
        assert spec(server).holder_identity == ""

    run_virtually(main())


def test_a_standby_that_is_stopped_leaves_the_lease_alone():
    async def main():
        server, watcher = LeaseServer(), Watcher()
        async with beside(candidate(server, "a").run(lambda: [watcher.component("a")])):
            await asyncio.sleep(5)
            async with beside(candidate(server, "b").run()):
                await asyncio.sleep(30)
            await asyncio.sleep(30)
            assert {who for _, who, verb in server.calls if verb != "get"} == {"a"}
            assert watcher.history == [(watcher.history[0][0], "a", "begin")]
            server.deliver = lambda who, _verb: REFUSED if who == "b" else OK
            async with beside(candidate(server, "b").run()):
                await asyncio.sleep(5)
            assert spec(server).holder_identity == "a"

    run_virtually(main())
