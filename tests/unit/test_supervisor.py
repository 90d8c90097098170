"""Nothing keeps running behind the caller's back, and nothing stops unseen."""

import asyncio
import os
import signal

import pytest

from extip.errors import FatalError
from extip.supervisor import Component, StopSignals, run_beside, supervise


class Sleeper:
    """Runs until cancelled, and takes a moment to clean up."""

    def __init__(self):
        self.cleaned = False

    async def run(self):
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            await asyncio.sleep(0.01)
            self.cleaned = True


async def test_the_result_of_the_job_comes_after_components_have_cleaned_up():
    sleeper = Sleeper()

    async def job():
        await asyncio.sleep(0)
        return "done"

    assert await run_beside([Component("sleeper", sleeper.run)], job) == "done"
    assert sleeper.cleaned


async def test_a_failing_component_stops_the_others_and_is_named():
    sleeper = Sleeper()

    async def fail():
        await asyncio.sleep(0)
        raise FatalError("no")

    with pytest.raises(ExceptionGroup) as raised:
        await supervise([Component("sleeper", sleeper.run), Component("failing", fail)])
    assert raised.group_contains(FatalError)
    assert sleeper.cleaned


async def test_a_component_that_returns_is_a_fault():
    async def leave():
        await asyncio.sleep(0)

    with pytest.raises(ExceptionGroup) as raised:
        await run_beside([Component("quitter", leave)], StopSignals().next)
    assert raised.group_contains(RuntimeError, match="quitter")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_signals_end_the_wait(number):
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(StopSignals().next())
        await asyncio.sleep(0.01)
        os.kill(os.getpid(), number)
    assert waiting.result() == number.name


async def test_signals_that_come_before_anybody_waits_are_not_lost():
    stop = StopSignals()
    os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.sleep(0.01)
    os.kill(os.getpid(), signal.SIGINT)
    assert [await stop.next(), await stop.next()] == ["SIGTERM", "SIGINT"]
