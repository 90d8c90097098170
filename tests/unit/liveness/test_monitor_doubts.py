"""A watch of Leases that fell silent unnoticed is doubted in time; one that works is not."""

import asyncio

import pytest

from tests.fakes.virtual_time import run_virtually
from tests.unit.liveness.test_node_monitor import ALIVE, DEAD, steady


def now_s():
    return asyncio.get_running_loop().time()


@pytest.mark.parametrize("reads_hang", [0, 1])
@pytest.mark.parametrize("later_s", [0.0, 1.3, 5.0, 60.0])
@pytest.mark.parametrize(("heartbeat_s", "monitor_s", "bound_s"), [(2.0, 4.0, 11), (0.1, 0.3, 2)])
def test_a_death_is_found_though_the_watch_hangs(
    heartbeat_s, monitor_s, bound_s, later_s, reads_hang
):
    """`later_s` after the watch, and the first read uses a connection that is dead as well."""

    async def main():
        async with steady("a", "b", "c", heartbeat_s=heartbeat_s, monitor_s=monitor_s) as it:
            it.hang()
            it.reads_hang = reads_hang
            await asyncio.sleep(later_s)
            it.kill("a")
            await asyncio.sleep(bound_s)
            assert it.verdicts() == {"a": DEAD, "b": ALIVE, "c": ALIVE}
            await asyncio.sleep(60)
            assert 1 <= len(it.doubts) <= 2
            assert not [told for told in it.told if told[1] != "a" and told[2] is DEAD]

    run_virtually(main())


def test_a_silence_of_all_is_one_doubt_whatever_comes_of_it():
    async def main():
        async with steady("a", "b") as it:
            it.mends = False
            it.hang()
            it.read_fails = True
            silent_s = now_s()
            await asyncio.sleep(600)
            assert len(it.doubts) <= 2
            at, since = it.doubts[0]
            assert silent_s - 2.5 <= since <= silent_s + 4
            assert at - silent_s <= 8
            assert DEAD not in it.verdicts().values()

    run_virtually(main())


def test_a_watch_that_misses_what_a_read_shows_is_doubted():
    """Deaths are found by reads alone then, but nothing else that is watched may arrive either."""

    async def main():
        async with steady(*(f"n{number}" for number in range(9))) as it:
            it.mends = False
            it.hang()
            await asyncio.sleep(8)
            assert it.reads
            assert it.doubts

    run_virtually(main())


@pytest.mark.parametrize("fault", ["a death", "failing reads", "slow reads"])
def test_a_watch_that_brings_heartbeats_is_not_doubted(fault):
    async def main():
        async with steady("a", "b", "c") as it:
            it.read_fails = fault == "failing reads"
            it.read_takes_s = 3.0 if fault == "slow reads" else 0.005
            it.kill("a")
            await asyncio.sleep(60)
            assert it.reads
            assert it.doubts == []

    run_virtually(main())


def test_a_read_that_was_slow_long_ago_gives_a_dead_connection_no_more_time():
    async def main():
        async with steady("a", "b", "c", "d", "e", "f") as it:
            it.read_takes_s = 2.5
            it.kill("a")
            await asyncio.sleep(60)
            assert it.verdicts()["a"] is DEAD
            it.read_takes_s, it.reads_hang = 0.005, 1
            killed_s = now_s()
            it.kill("b")
            await asyncio.sleep(60)
            assert it.reads_hang == 0
            (died_s,) = (at for at, node, verdict in it.told if node == "b" and verdict is DEAD)
            assert died_s - killed_s < 4 + 1 + 0.5

    run_virtually(main())


def test_a_read_that_follows_a_slow_one_is_not_given_up_for_being_as_slow():
    async def main():
        async with steady("a", "b", "c", "d", "e", "f") as it:
            it.read_takes_s = 2.5
            it.kill("a")
            await asyncio.sleep(60)
            assert it.verdicts()["a"] is DEAD
            assert it.reads == 4, "three, and the first attempt of the first one"

    run_virtually(main())


def test_a_slow_read_still_confirms_a_death():
    """The first try is given up, as if its connection were dead; the second one has time."""

    async def main():
        async with steady("a", "b", "c") as it:
            it.read_takes_s = 3.0
            it.kill("a")
            await asyncio.sleep(60)
            assert it.verdicts() == {"a": DEAD, "b": ALIVE, "c": ALIVE}

    run_virtually(main())
