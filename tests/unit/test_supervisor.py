"""Nothing keeps running behind the caller's back, and nothing stops unseen."""

import asyncio
import os
import signal
import subprocess
import sys
from contextlib import asynccontextmanager
from functools import partial

import pytest

from extip.errors import FatalError, StoppedError
from extip.supervisor import Component, StopSignals, both, run_beside, supervise


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


@asynccontextmanager
async def opened_after(seconds):
    await asyncio.sleep(seconds)
    yield "opened"


async def test_a_signal_ends_what_is_being_opened():
    stop = StopSignals()
    asyncio.get_running_loop().call_later(0.01, os.kill, os.getpid(), signal.SIGTERM)
    with pytest.raises(StoppedError, match="SIGTERM"):
        async with stop.ending(opened_after(3600)):
            pytest.fail("it was opened")
    assert StoppedError.exit_code == 0


async def test_a_signal_after_it_was_opened_is_for_whoever_waits():
    stop = StopSignals()
    async with stop.ending(opened_after(0)) as what:
        os.kill(os.getpid(), signal.SIGINT)
        await asyncio.sleep(0.01)
        assert (what, await stop.next()) == ("opened", "SIGINT")


async def test_who_opens_may_be_cancelled_otherwise():
    async def main():
        async with StopSignals().ending(opened_after(3600)):
            pytest.fail("it was opened")

    task = asyncio.create_task(main())
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_a_process_ends_without_waiting_for_calls_that_hang():
    program = """
import asyncio, time
from extip.supervisor import run_process
async def main():
    loop = asyncio.get_running_loop()
    hanging = [loop.run_in_executor(None, time.sleep, 3600) for _ in range(100)]
    print(await loop.run_in_executor(None, sum, [1, 2]))
    try:
        await loop.run_in_executor(None, int, "x")
    except ValueError:
        print("as raised")
run_process(main())
"""
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=True
    )
    assert (ended.stdout, ended.stderr) == ("3\nas raised\n", "")


async def test_two_jobs_run_side_by_side_and_both_results_come_back():
    met = asyncio.Barrier(2)

    async def job(result):
        await met.wait()
        return result

    async with asyncio.timeout(30):
        assert await both(partial(job, 1), partial(job, "b")) == (1, "b")


async def test_of_two_jobs_the_failure_of_one_ends_the_other_and_is_raised_as_it_is():
    ended = []

    async def waits():
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            ended.append("waits")

    async def fails():
        raise LookupError("of the job")

    with pytest.raises(LookupError, match="of the job"):
        await both(waits, partial(both, waits, fails))
    assert ended == ["waits", "waits"]


async def test_a_caller_that_is_cancelled_stays_so_though_a_job_fails_by_that():
    """As a connection does that is closed in the same moment."""
    begun = asyncio.Event()

    async def fails_when_it_is_cancelled():
        try:
            begun.set()
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            raise LookupError("of the job") from None

    async def caller():
        await both(fails_when_it_is_cancelled, begun.wait)

    running = asyncio.ensure_future(caller())
    await begun.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await caller()


async def test_a_caller_that_is_cancelled_as_a_job_fails_stays_cancelled():
    async def caller():
        await both(fails, asyncio.get_running_loop().create_future)

    async def fails():
        running.cancel()
        raise LookupError("of the job")

    running = asyncio.ensure_future(caller())
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_a_caller_that_is_cancelled_twice_awaits_both_jobs_nevertheless():
    begun, cleaning, may_end = asyncio.Event(), asyncio.Event(), asyncio.Event()
    ended = []

    async def cleans_up():
        try:
            begun.set()
            await asyncio.get_running_loop().create_future()
        finally:
            cleaning.set()
            await may_end.wait()
            ended.append("cleaned up")

    running = asyncio.ensure_future(both(cleans_up, begun.wait))
    await begun.wait()
    running.cancel()
    await cleaning.wait()
    running.cancel()
    asyncio.get_running_loop().call_later(0.01, may_end.set)
    with pytest.raises(asyncio.CancelledError):
        await running
    assert ended == ["cleaned up"]


async def test_of_two_failures_the_first_one_is_raised_not_the_one_that_it_causes():
    async def fails_when_it_is_cancelled():
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            raise LookupError("of the end") from None

    async def fails():
        raise LookupError("of the job")

    with pytest.raises(LookupError, match="of the job"):
        await both(fails_when_it_is_cancelled, fails)
