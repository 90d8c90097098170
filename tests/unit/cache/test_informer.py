"""The cache equals the server, says so, and names each key that changed."""

import asyncio
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extip.api.core_v1 import Service
from extip.errors import ApiUnavailableError, ExpiredError
from tests.fakes.api_server import End
from tests.fakes.virtual_time import run_virtually
from tests.unit.cache.conftest import Rig

AWAY = ApiUnavailableError("away", status=503)
EXPIRED = ExpiredError("too old resource version", status=410)


def ips_of(service):
    return None if service is None else service.spec.external_ips


def test_it_syncs_once_and_tells_every_key(rig):
    async def main():
        rig.server.create("a", ips=("10.0.0.1",))
        rig.server.create("b")
        assert not rig.informer.has_synced
        assert rig.informer.last_contact_s is None
        async with rig.running():
            await rig.informer.wait_synced()
            assert rig.informer.has_synced
            assert rig.in_sync()
            assert sorted(rig.keys) == ["default/a", "default/b"]
            assert rig.logger.events() == ["cache_synced"]

    run_virtually(main())


def test_it_syncs_when_there_is_nothing(rig):
    async def main():
        async with rig.running():
            await asyncio.wait_for(rig.informer.wait_synced(), 1)
            assert rig.keys == []
            assert rig.informer.healthy

    run_virtually(main())


def test_handlers_may_read_the_store_and_see_the_new_state(rig):
    seen = []
    rig.informer.add_handler(
        lambda key: seen.append((key, rig.informer.has_synced, ips_of(rig.informer.store.get(key))))
    )

    async def main():
        rig.server.create("a")
        async with rig.running():
            await asyncio.sleep(1)
            rig.server.update("default/a", ips=("10.0.0.9",))
            await asyncio.sleep(1)
            rig.server.delete("default/a")
            await asyncio.sleep(1)

    run_virtually(main())
    assert [(key, synced) for key, synced, _ in seen] == [("default/a", True)] * 3
    assert [ips for _, _, ips in seen] == [(), ("10.0.0.9",), None]


def test_at_rest_it_is_heard_by_bookmarks_and_watches_anew_without_listing(rig):
    async def main():
        async with rig.running():
            await asyncio.sleep(3600)
            now_s = asyncio.get_running_loop().time()
            assert now_s - rig.informer.last_contact_s < 61
            assert rig.informer.healthy

    run_virtually(main())
    assert len(rig.server.asked("list")) == 1
    assert 6 <= len(rig.server.asked("watch")) <= 13  # each lasts 300 to 600 s
    assert rig.logger.events() == ["cache_synced"]
    assert rig.count("extip_watch_restarts_total", reason="ended") >= 5


def test_bookmarks_carry_the_version_on_which_the_next_watch_starts(rig):
    async def main():
        rig.server.create("a")
        async with rig.running():
            await asyncio.sleep(1)
            rig.server.revision = 7000  # others write
            rig.server.bookmark()
            await asyncio.sleep(1)
            rig.server.break_streams(End())
            await asyncio.sleep(5)

    run_virtually(main())
    assert [asked.resource_version for asked in rig.server.asked("watch")] == ["101", "7000"]


STEPS = (
    "create",
    "update",
    "delete",
    "compact",
    "bookmark",
    "end",
    "break",
    "expire",
    "fail lists",
    "fail watches",
    "close watches",
    "expire watches",
    "wait",
)


@settings(max_examples=100)
@given(
    steps=st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 5)), max_size=40),
    seed=st.integers(0, 1000),
)
def test_after_any_faults_the_store_equals_the_server_and_every_change_was_told(steps, seed):
    """Level-triggered listeners that re-read a told key end up with the server's state."""

    async def main():
        rig = Rig(seed)
        server = rig.server
        mirror: dict[str, Service] = {}

        def follow(key):
            found = rig.informer.store.get(key)
            if found is None:
                mirror.pop(key, None)
            else:
                mirror[key] = found

        rig.informer.add_handler(follow)
        rng = Random(seed)  # noqa: S311
        async with rig.running():
            for step, number in steps:
                act(server, step, number)
                if step == "wait" or rng.random() < 0.5:
                    await asyncio.sleep(number * rng.random())
            server.break_streams(End())  # so that no queued fault lies in wait
            await asyncio.sleep(8000)  # all of them, 30 s apart
            assert rig.in_sync()
            assert mirror == server.objects
            assert rig.informer.healthy

    run_virtually(main())


def act(server, step, number):
    """Change the server's objects, or make trouble."""
    key = f"default/s{number}"
    actions = {
        "create": lambda: key in server.objects or server.create(f"s{number}"),
        "update": lambda: key in server.objects and server.update(key, ips=("10.0.0.1",)),
        "delete": lambda: key in server.objects and server.delete(key),
        "compact": server.compact,
        "bookmark": server.bookmark,
        "end": lambda: server.break_streams(End()),
        "break": lambda: server.break_streams(AWAY),
        "expire": lambda: (server.compact(), server.break_streams(EXPIRED)),
        "fail lists": lambda: server.faults_on_list.extend([AWAY] * number),
        "fail watches": lambda: server.faults_on_watch.extend([AWAY] * number),
        "close watches": lambda: server.faults_on_watch.extend([End()] * number),
        "expire watches": lambda: server.faults_on_watch.extend([EXPIRED] * number),
        "wait": lambda: None,
    }
    actions[step]()


@pytest.mark.parametrize("when", ["listing", "watching", "backing off"])
def test_it_stops_at_once_wherever_it_is(rig, when):
    async def main():
        if when == "backing off":
            rig.server.faults_on_list.extend([ApiUnavailableError("away")] * 50)
        task = asyncio.create_task(rig.informer.run())
        await asyncio.sleep(0 if when == "listing" else 10)
        task.cancel()
        began_s = asyncio.get_running_loop().time()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert asyncio.get_running_loop().time() == began_s
        assert rig.server.open_streams == 0

    run_virtually(main())
