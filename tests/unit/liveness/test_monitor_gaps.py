"""A gap in the watch of Leases gives every node one period from its end on, and no more."""

import asyncio

import pytest

from tests.fakes.virtual_time import run_virtually
from tests.unit.liveness.test_node_monitor import ALIVE, DEAD, World, steady


def resume(it):
    """Open the watch where it ended: what was missed follows."""
    it.watching = True
    it.monitor.watch_opened()
    for name in it.server.leases:
        it.monitor.on_lease(name)


@pytest.mark.parametrize("reopen", [resume, World.open], ids=["resumed", "listed anew"])
@pytest.mark.parametrize("dies_after_s", [0.5, 2.5, 4.5])
@pytest.mark.parametrize("gap_s", [0.3, 5.0, 20.0])
def test_a_node_that_dies_in_a_gap_of_the_watch_is_found_a_period_after_the_gap(
    gap_s, dies_after_s, reopen
):
    async def main():
        async with steady("a", "b", "c") as it:
            it.close()
            await asyncio.sleep(min(dies_after_s, gap_s))
            it.kill("a")
            await asyncio.sleep(max(0.0, gap_s - dies_after_s))
            reopen(it)
            await asyncio.sleep(4.3)
            assert it.verdicts() == {"a": DEAD, "b": ALIVE, "c": ALIVE}
            await asyncio.sleep(60)
            assert {node for _, node, verdict in it.told if verdict is DEAD} == {"a"}

    run_virtually(main())
