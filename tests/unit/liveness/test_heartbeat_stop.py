"""A controller that stops leaves no Lease that says it lives, whatever came of its last write."""

import asyncio

import pytest

from tests.fakes.lease_server import OK, Delivery, LeaseServer
from tests.fakes.virtual_time import run_virtually
from tests.unit.liveness.test_heartbeat import lease, publisher, running

CARRIED_OUT = Delivery(there_s=0.001, back_s=0.3)
"""The answer is on its way."""
ON_ITS_WAY = Delivery(there_s=0.3, back_s=0.001)
"""It arrives after the stop."""


@pytest.mark.parametrize("fate", [CARRIED_OUT, ON_ITS_WAY], ids=["carried out", "on its way"])
@pytest.mark.parametrize("before", ["nothing", "given up", "another's", "its own"])
def test_a_controller_that_is_stopped_in_a_heartbeat_gives_its_lease_up(before, fate):
    async def main():
        server = LeaseServer()
        if before != "nothing":
            old = publisher(server, "elsewhere" if before == "another's" else "here")
            async with running(old):
                await asyncio.sleep(1)
            if before == "given up":
                await old.release()
        one = publisher(server)
        server.deliver = lambda _who, verb: OK if verb == "get" else fate
        known = len(server.calls)
        async with running(one) as (task,):
            while not any(verb != "get" for _, _, verb in server.calls[known:]):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.05)
            server.deliver = lambda _who, _verb: OK
            task.cancel()
            await asyncio.wait([task])
        await one.release()
        await asyncio.sleep(1)  # all that was on its way has arrived
        assert lease(server).holder == ""

    run_virtually(main())


def test_a_controller_that_is_stopped_while_another_has_its_name_leaves_the_lease_alone():
    async def main():
        server = LeaseServer()
        async with running(publisher(server, "elsewhere")):
            await asyncio.sleep(1)
            one = publisher(server)
            async with running(one):
                await asyncio.sleep(0.5)
            await one.release()
            assert lease(server).holder == "elsewhere"

    run_virtually(main())
