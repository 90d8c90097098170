"""An orderly stop removes what it can in its time, and leaves the rest to the kernel."""

import asyncio

from structlog.testing import capture_logs

from extip.addresses.release import RELEASE_S, release_in_time
from tests.fakes.virtual_time import run_virtually
from tests.unit.addresses.test_reconciler import TTL_S, World


def test_a_release_that_runs_out_of_time_leaves_the_rest_to_its_lifetime() -> None:
    async def scenario() -> None:
        world = World()
        world.want(*(f"fd00::{n:x}" for n in range(1, 1001)))
        async with world.running():
            assert len(world.ours()) == 1000
        apply = world.node.table.apply

        async def slow(changes, *, ttl_s):
            async for results in apply(changes, ttl_s=ttl_s):
                await asyncio.sleep(RELEASE_S / 4)
                yield results

        world.node.table.apply = slow  # type: ignore[method-assign]
        began = world.clock.monotonic()
        with capture_logs() as logs:
            assert await release_in_time(world.reconciler) is False
        assert world.clock.monotonic() - began < RELEASE_S + 0.1
        assert [(log["event"], log["error"]) for log in logs] == [("release_failed", "timed out")]
        assert 500 < len(world.ours()) < 1000
        await asyncio.sleep(TTL_S)
        assert world.ours() == set()

    run_virtually(scenario())
