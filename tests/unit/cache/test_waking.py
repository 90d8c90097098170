"""Who waits out a backoff can be told that it is over."""

import asyncio

import pytest

from extip.cache.waking import WakingClock
from extip.clock import LoopClock
from tests.fakes.virtual_time import run_virtually


def test_sleeps_as_long_as_asked_or_until_woken():
    async def main():
        loop = asyncio.get_running_loop()
        clock = WakingClock(LoopClock())
        clock.wake()  # nobody sleeps: wakes nobody later
        await clock.sleep(30)
        assert loop.time() == pytest.approx(30)
        loop.call_later(1, clock.wake)
        await asyncio.gather(clock.sleep(30), clock.sleep(60))
        assert loop.time() == pytest.approx(31)
        await clock.sleep(30)
        assert loop.time() == clock.monotonic() == pytest.approx(61)
        await clock.sleep(-1)
        assert loop.time() == pytest.approx(61)
        assert clock.utcnow().tzinfo is not None

    run_virtually(main())
