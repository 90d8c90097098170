"""The opening and the closing of a watch are told, once each, whatever ends it."""

from contextlib import suppress

from extip.cache.tracked import TrackedListerWatcher
from extip.errors import ApiUnavailableError
from tests.fakes.api_server import FakeApiServer
from tests.fakes.virtual_time import run_virtually


def test_a_watch_that_opens_and_breaks_is_told_and_one_that_never_opens_is_not():
    told: list[str] = []

    async def main():
        server = FakeApiServer()
        tracked = TrackedListerWatcher(
            server, on_open=lambda: told.append("open"), on_close=lambda: told.append("closed")
        )
        page = await tracked.list(resource_version="0")
        async with tracked.watch(resource_version=page.resource_version, timeout_s=300):
            assert told == ["open"]
        assert told == ["open", "closed"]
        with suppress(ApiUnavailableError):
            async with tracked.watch(resource_version=page.resource_version, timeout_s=300):
                raise ApiUnavailableError("it broke")
        assert told == ["open", "closed"] * 2
        server.faults_on_watch.append(ApiUnavailableError("no"))
        with suppress(ApiUnavailableError):
            async with tracked.watch(resource_version=page.resource_version, timeout_s=300):
                raise AssertionError("it opened")
        assert told == ["open", "closed"] * 2

    run_virtually(main())
