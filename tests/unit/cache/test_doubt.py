"""A stream that may be dead is opened anew once, and nobody floods the server with doubts."""

import asyncio

import pytest

from extip.cache.reflector import DOUBTS_AT_ONCE, IDLE_TIMEOUT_S
from tests.fakes.api_server import End
from tests.fakes.virtual_time import run_virtually


def now_s():
    return asyncio.get_running_loop().time()


def silence(rig):
    """Let the open streams hear nothing any more, nor of their end."""
    rig.server._streams.clear()


def test_what_a_dead_stream_missed_is_there_at_once(rig):
    async def main():
        async with rig.running():
            await asyncio.sleep(30)
            rig.server.create("seen")
            await asyncio.sleep(1)
            silence(rig)
            rig.server.create("missed")
            await asyncio.sleep(1)
            rig.informer.doubt(now_s() - 0.5)
            await asyncio.sleep(0.01)
            assert rig.in_sync()
            assert rig.informer.healthy
            assert len(rig.server.asked("list")) == 1
            assert [a.resource_version for a in rig.server.asked("watch")] == ["100", "101"]
            assert rig.count("extip_watch_restarts_total", reason="doubted") == 1
            assert rig.logger.events() == ["cache_synced", "watch_doubted"]

    run_virtually(main())


@pytest.mark.parametrize("heard_by", ["event", "opening"])
def test_a_stream_that_was_heard_since_is_left_alone(rig, heard_by):
    async def main():
        async with rig.running():
            await asyncio.sleep(10)
            since_s = now_s()
            await asyncio.sleep(1)
            if heard_by == "event":
                rig.server.create("a")
            else:
                rig.server.break_streams(End())
            await asyncio.sleep(1)
            watches = len(rig.server.asked("watch"))
            rig.informer.doubt(since_s)
            await asyncio.sleep(10)
            assert len(rig.server.asked("watch")) == watches

    run_virtually(main())


def test_an_opening_that_hangs_is_given_up_too(rig):
    async def main():
        opening = rig.server.watch
        rig.server.watch = lambda **_: Hanging()
        async with rig.running():
            await asyncio.sleep(10)
            assert rig.informer.has_synced
            rig.server.watch = opening
            rig.server.create("a")
            rig.informer.doubt(now_s())
            await asyncio.sleep(0.01)
            assert rig.in_sync()

    run_virtually(main())


class Hanging:
    async def __aenter__(self):
        await asyncio.get_running_loop().create_future()

    async def __aexit__(self, *_):
        raise AssertionError("it never opens")


def test_doubts_without_end_ask_no_more_than_silence_does(rig):
    rig.server.bookmarks = False

    async def main():
        async with rig.running():
            await asyncio.sleep(10)
            began = len(rig.server.asked("watch"))
            for _ in range(800):
                rig.informer.doubt(now_s())
                rig.informer.doubt(now_s())
                await asyncio.sleep(1)
            asked = len(rig.server.asked("watch")) - began
            assert asked <= DOUBTS_AT_ONCE + 800 / IDLE_TIMEOUT_S
            assert rig.logger.events("warning") == []
            rig.server.create("a")
            await asyncio.sleep(0.01)
            assert rig.in_sync()

    run_virtually(main())


def test_a_doubt_while_nothing_is_watched_is_nothing(rig):
    async def main():
        rig.informer.doubt(now_s())
        async with rig.running():
            await asyncio.sleep(1)
            assert rig.in_sync()
            assert len(rig.server.asked("watch")) == 1

    run_virtually(main())
