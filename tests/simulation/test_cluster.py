"""The cluster in virtual time shows its tests every state that lasts."""

import asyncio

import pytest

from tests.fakes.virtual_time import virtually
from tests.simulation.cluster import Cluster


async def look_at_a_moment(held: list[bool]) -> None:
    async with Cluster(seed=0).always(lambda: held[0]):
        await asyncio.sleep(1)
        held[0] = False
        await asyncio.sleep(1e-6)
        held[0] = True
        await asyncio.sleep(1)


@virtually
async def test_a_state_of_a_microsecond_is_seen() -> None:
    with pytest.raises(AssertionError, match="all the time"):
        await look_at_a_moment([True])


@virtually
async def test_what_holds_while_it_is_looked_at_may_end_after_that() -> None:
    held = [True]
    async with Cluster(seed=0).always(lambda: held[0]):
        await asyncio.sleep(1)
    held[0] = False
    await asyncio.sleep(1)
