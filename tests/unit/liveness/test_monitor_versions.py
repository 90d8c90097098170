"""Watch and reads are not ordered; of each Lease the newest counts, whoever shows it."""

import asyncio

import pytest

from extip.clock import LoopClock
from tests.fakes.virtual_time import run_virtually
from tests.unit.liveness.test_node_monitor import ALIVE, DEAD, steady


def now_s():
    return asyncio.get_running_loop().time()


def held_up(it, *, answer_s, only_first=False):
    """Let reads show what was there when they began, and take that long; return when one began."""
    began = asyncio.Event()

    async def read():
        it.reads += 1
        shown = list(it.server.leases.values())
        began.set()
        await asyncio.sleep(answer_s if it.reads == 1 or not only_first else 0.005)
        return shown

    it.read = read
    return began


async def almost_due(it):
    due_at = it.monitor._liveness.next_due
    while due_at() is None or due_at() - LoopClock().monotonic() > 0.02:  # noqa: ASYNC110
        await asyncio.sleep(0.001)


def test_a_read_that_is_older_than_the_watch_does_not_kill_a_node_that_was_started_again():
    async def main():
        async with steady("a", "b", "c") as it:
            began = held_up(it, answer_s=0.12)
            it.kill("a")
            await almost_due(it)
            it.kill("b")
            await it.publishers["b"].release()
            assert it.monitor.verdict("b") is DEAD
            await began.wait()
            await asyncio.sleep(0.03)
            it.start("b")
            await asyncio.sleep(0.01)
            assert it.monitor.verdict("b") is ALIVE
            it.told.clear()
            await asyncio.sleep(10)
            assert {(node, verdict) for _, node, verdict in it.told} <= {("a", DEAD)}
            assert it.verdicts() == {"a": DEAD, "b": ALIVE, "c": ALIVE}

    run_virtually(main())


@pytest.mark.parametrize("answer_s", [0.02, 0.05, 0.09, 0.5])
def test_a_read_that_is_older_than_the_watch_makes_nobody_wait_longer(answer_s):
    """A node renews once while a read is on its way that does not show it, and dies."""

    async def main():
        async with steady(*"abcd") as it:
            began = held_up(it, answer_s=answer_s, only_first=True)
            it.kill("a")
            await began.wait()
            it.publishers["b"].trigger()
            await asyncio.sleep(0.01)
            last_s = it.publishers["b"].confirmed_at
            it.kill("b")
            while it.monitor.verdict("b") is not DEAD:
                await asyncio.sleep(0.01)
                assert now_s() - last_s < 4.6

    run_virtually(main())


def test_heartbeats_count_after_the_api_servers_data_went_back_to_a_backup():
    async def main():
        async with steady(*"abc") as it:
            it.close()
            it.server.revision -= 15
            for name in list(it.server.leases):
                lease = it.server.leases.pop(name)
                it.server.write(lease, create=True)
            it.open()
            it.told.clear()
            await asyncio.sleep(60)
            assert it.told == []
            it.kill("a")
            await asyncio.sleep(4.3)
            assert it.verdicts() == {"a": DEAD, "b": ALIVE, "c": ALIVE}

    run_virtually(main())
