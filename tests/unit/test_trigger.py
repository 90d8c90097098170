"""A look that is asked for later comes once, and not after one that came sooner."""

import asyncio

from extip.trigger import Trigger
from tests.fakes.virtual_time import virtually


@virtually
async def test_it_is_set_after_that_time_from_the_first_that_asked():
    trigger, now = Trigger(), asyncio.get_running_loop().time
    began = now()
    trigger.set_later(1.0)
    await asyncio.sleep(0.5)
    trigger.set_later(1.0)
    assert not trigger.is_set()
    await trigger.wait()
    assert now() - began == 1.0


@virtually
async def test_a_look_that_begins_sooner_serves_it_too():
    trigger = Trigger()
    trigger.set_later(1.0)
    trigger.set()
    trigger.clear()
    assert not await trigger.wait_at_most(10.0)


@virtually
async def test_it_may_be_asked_for_again_after_each_look():
    trigger = Trigger()
    for _ in range(2):
        trigger.set_later(1.0)
        assert await trigger.wait_at_most(2.0)
        trigger.clear()
