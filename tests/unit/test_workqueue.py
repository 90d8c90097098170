"""One key at a time, queued once, and never lost."""

import asyncio
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extip.backoff import Backoff
from extip.workqueue import WorkQueue
from tests.fakes.virtual_time import run_virtually


def queue(**options):
    return WorkQueue(rng=Random(1), **options)  # noqa: S311


def test_a_waiting_key_is_queued_once_and_order_is_kept():
    async def main():
        q = queue()
        for key in "abacab":
            q.add(key)
        assert len(q) == 3
        assert [await q.get() for _ in range(3)] == ["a", "b", "c"]

    run_virtually(main())


def test_a_key_added_while_worked_on_comes_back_only_after_done():
    async def main():
        q = queue()
        q.add("a")
        assert await q.get() == "a"
        q.add("a")
        q.add("a")
        assert len(q) == 0
        q.done("a")
        assert len(q) == 1
        assert await q.get() == "a"
        q.done("a")
        assert len(q) == 0

    run_virtually(main())


def test_of_several_delays_the_earliest_counts():
    async def main():
        q, loop = queue(), asyncio.get_running_loop()
        q.add_after("a", 5.0)
        q.add_after("a", 2.0)
        q.add_after("a", 9.0)
        assert await q.get() == "a"
        assert loop.time() == pytest.approx(2.0)
        q.done("a")
        await asyncio.sleep(20)
        assert len(q) == 0

    run_virtually(main())


def test_a_failing_key_waits_longer_each_time_until_it_is_forgotten():
    async def main():
        q = queue(backoff=Backoff(initial_s=1.0, cap_s=60.0, jitter=0.0))
        delays = []
        q.add("a")
        for _ in range(4):
            key = await q.get()
            delays.append(q.retry(key))
            q.done(key)
        assert delays == [1.0, 2.0, 4.0, 8.0]
        assert q.failures("a") == 4
        q.forget("a")
        assert q.failures("a") == 0
        await q.get()
        assert q.retry("a") == 1.0
        q.close()

    run_virtually(main())


def test_close_leaves_no_timer():
    async def main():
        q = queue()
        q.add_after("a", 1.0)
        q.close()
        await asyncio.sleep(2)
        assert len(q) == 0

    run_virtually(main())


def test_a_cancelled_worker_hands_the_wake_up_on():
    async def main():
        q = queue()
        first, second = asyncio.create_task(q.get()), asyncio.create_task(q.get())
        await asyncio.sleep(0)
        q.add("a")  # wakes the first, which is cancelled before it runs
        first.cancel()
        assert await asyncio.wait_for(second, 1) == "a"
        assert first.cancelled()

    run_virtually(main())


@given(
    keys=st.lists(st.integers(0, 4), max_size=60),
    workers=st.integers(1, 4),
    seed=st.integers(0, 10_000),
)
def test_every_add_is_followed_by_work_and_no_key_is_worked_on_twice_at_a_time(keys, workers, seed):
    """For any interleaving of adds and workers."""

    async def main():
        q, rng = queue(), Random(seed)  # noqa: S311
        wanted: dict[int, int] = {}
        seen: dict[int, int] = {}
        busy: set[int] = set()

        async def work():
            while True:
                key = await q.get()
                assert key not in busy
                busy.add(key)
                seen[key] = wanted[key]  # what a reconciler would read from the cache
                await asyncio.sleep(rng.random())
                busy.discard(key)
                if rng.random() < 0.2:
                    q.retry(key)
                else:
                    q.forget(key)
                q.done(key)

        tasks = [asyncio.create_task(work()) for _ in range(workers)]
        for version, key in enumerate(keys):
            wanted[key] = version
            q.add(key)
            if rng.random() < 0.5:
                await asyncio.sleep(rng.random())
        await asyncio.sleep(1000)
        for task in tasks:
            assert not task.done()
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert seen == wanted
        q.close()

    run_virtually(main())
