"""Each fault: no hot loop, the cheapest way back, and one line when it begins and when it ends."""

import asyncio

import pytest

from extip.api.core_v1 import Service, ServiceMeta, ServiceSpec
from extip.cache.listwatch import Page, Unreadable
from extip.cache.recovery import QUIET_S
from extip.cache.reflector import AT_ONCE
from extip.errors import (
    ApiAccessError,
    ApiUnavailableError,
    ExpiredError,
    InvalidRequestError,
    NotFoundError,
)
from tests.fakes.api_server import End
from tests.fakes.virtual_time import run_virtually

AWAY = ApiUnavailableError("cannot connect to https://api: connection refused")
BUSY = ApiUnavailableError("too many requests (429)", status=429, retry_after_s=7.0)
RESTING = ApiUnavailableError("too many requests (429)", status=429, retry_after_s=40.0)
AHEAD = ApiUnavailableError("Too large resource version: 12, current: 7", status=504)
DENIED = ApiAccessError("RBAC does not allow it", status=403)
EXPIRED = ExpiredError("too old resource version", status=410)
NO_SUCH_KIND = NotFoundError("404 page not found", status=404)
REJECTED = InvalidRequestError("bad request", status=400)


def requests_between(rig, start_s, end_s):
    return [asked for asked in rig.server.requests if start_s <= asked.at_s < end_s]


@pytest.mark.parametrize(
    ("fault", "at_most"),
    [(AWAY, 30), (BUSY, 45), (DENIED, 100), (NO_SUCH_KIND, 200), (REJECTED, 20), (EXPIRED, 60)],
    ids=["refused", "throttled", "denied", "missing", "rejected", "expired"],
)
@pytest.mark.parametrize("where", ["list", "watch"])
def test_a_lasting_fault_is_asked_about_ever_more_rarely_and_said_once(rig, fault, at_most, where):
    faults = rig.server.faults_on_list if where == "list" else rig.server.faults_on_watch
    faults.extend([fault] * 10_000)

    async def main():
        async with rig.running():
            await asyncio.sleep(300)
            assert not rig.informer.healthy
            assert len(requests_between(rig, 0, 10)) <= 10
            assert len(requests_between(rig, 0, 300)) <= at_most
            assert rig.logger.events("warning") == ["watch_interrupted"]
            faults.clear()
            rig.server.create("later")
            await asyncio.sleep(120)
            assert rig.in_sync()
            assert rig.informer.healthy
            assert rig.logger.events()[-1] == "watch_recovered"
            assert rig.logger.events().count("watch_recovered") == 1

    run_virtually(main())


@pytest.mark.parametrize("fault", [DENIED, NO_SUCH_KIND], ids=["denied", "missing"])
@pytest.mark.parametrize(
    ("where", "at_most_s"), [("list", 8), ("watch", 5)], ids=["never had", "revoked"]
)
def test_a_right_that_is_given_back_after_a_minute_is_used_within_seconds(
    rig, fault, where, at_most_s
):
    faults = rig.server.faults_on_list if where == "list" else rig.server.faults_on_watch

    async def main():
        faults.extend([fault] * 10_000)
        async with rig.running():
            for minutes in (1, 2):
                await asyncio.sleep(60)
                faults.clear()
                rig.server.create(f"later-{minutes}")
                await asyncio.sleep(at_most_s)
                assert rig.in_sync()
                faults.extend([fault] * 10_000)
                rig.server.break_streams(End())

    run_virtually(main())


def test_a_right_that_is_never_given_is_asked_for_once_a_minute_in_the_end(rig):
    rig.server.faults_on_list.extend([DENIED] * 10_000)

    async def main():
        async with rig.running():
            await asyncio.sleep(7200)
            assert len(requests_between(rig, 3600, 7200)) <= 120

    run_virtually(main())


def test_while_all_streams_end_at_once_lists_tell_what_has_changed(rig):
    rig.server.faults_on_watch.extend([End()] * 10_000)

    async def main():
        async with rig.running():
            for number in range(10):
                rig.server.create(f"s{number}")
                await asyncio.sleep(60)
                assert rig.in_sync()
            assert len(rig.server.asked("watch")) <= 45
            assert len(rig.server.asked("list")) <= len(rig.server.asked("watch"))
            assert rig.logger.events("warning") == ["watch_interrupted"]
            rig.server.faults_on_watch.clear()
            await asyncio.sleep(60)
            assert rig.informer.healthy

    run_virtually(main())


def test_one_stream_that_ends_at_once_needs_no_list(rig):
    async def main():
        async with rig.running():
            for number in range(5):
                rig.server.faults_on_watch.append(End())
                rig.server.break_streams(End())
                await asyncio.sleep(20)
                rig.server.create(f"s{number}")
                await asyncio.sleep(1)
                assert rig.in_sync()
            assert len(rig.server.asked("list")) == 1

    run_virtually(main())


@pytest.mark.parametrize("opens_s", [0.001, 1.5, 6.0])
def test_a_busy_server_that_cannot_replay_what_happened_is_asked_for_a_newer_version(rig, opens_s):
    """It ends each watch of a version that is far behind, and what happens is about others."""
    rig.server.replays, rig.server.opens_s = 100, opens_s

    async def main():
        async with rig.running():
            await asyncio.sleep(10)
            listed = rig.server.revision
            rig.server.revision += 500
            rig.server.break_streams(End())
            for _ in range(400):
                rig.server.revision += 1
                await asyncio.sleep(0.1)
            assert rig.informer.healthy
            rig.server.create("new")
            await asyncio.sleep(1)
            assert rig.in_sync()
            again = rig.server.asked("list")[1:]
            assert [int(one.resource_version) >= listed for one in again] == [True]

    run_virtually(main())


def test_a_server_without_that_version_is_asked_for_the_most_recent_one(rig):
    rig.server.faults_on_watch.extend([End()] * 2)

    async def main():
        async with rig.running():
            await asyncio.sleep(0.5)
            rig.server.faults_on_list.extend([BUSY, AHEAD])
            await asyncio.sleep(40)
            versions = [one.resource_version for one in rig.server.asked("list")]
            assert versions[0] == "0"
            assert versions[1] == versions[2] != "", "a busy server is spared the dearest reads"
            assert versions[3:] == [""]
            assert rig.informer.healthy

    run_virtually(main())


@pytest.mark.parametrize("end", [End(), ApiUnavailableError("the stream broke off")])
def test_streams_that_an_overloaded_server_ends_are_opened_anew_at_once(rig, end):
    """One that cannot write fast enough to a watcher gives it up, and does so again."""

    async def main():
        async with rig.running():
            await asyncio.sleep(1)
            for number in range(AT_ONCE):
                rig.server.create(f"s{number}")
                await asyncio.sleep(0.01)
                rig.server.break_streams(end)
                rig.server.create(f"t{number}")
                await asyncio.sleep(0.02)
                assert rig.in_sync()
            assert len(rig.server.asked("list")) == 1
            rig.server.create("last")
            await asyncio.sleep(0.01)
            rig.server.break_streams(end)
            rig.server.create("later")
            await asyncio.sleep(1.5)
            assert rig.in_sync(), "after that as long as after one that failed"

    run_virtually(main())


def test_a_stream_that_ends_after_one_event_is_not_reopened_faster_than_once_a_second(rig):
    async def main():
        async with rig.running():
            await asyncio.sleep(1)
            began_s = asyncio.get_running_loop().time()
            for _ in range(1000):
                rig.server.bookmark()
                rig.server.break_streams(End())
                await asyncio.sleep(0.1)
            assert len(requests_between(rig, began_s, began_s + 100)) <= 101 + AT_ONCE

    run_virtually(main())


def test_an_established_stream_that_breaks_is_reopened_at_once_from_the_last_version(rig):
    async def main():
        async with rig.running():
            await asyncio.sleep(30)
            rig.server.create("a")
            await asyncio.sleep(1)
            rig.server.break_streams(ApiUnavailableError("the stream broke off"))
            rig.server.create("b")
            await asyncio.sleep(0.01)
            assert rig.in_sync()
            assert len(rig.server.asked("list")) == 1
            assert rig.server.asked("watch")[-1].resource_version == "101"

    run_virtually(main())


def test_an_expired_version_leads_to_one_list_of_the_most_recent_state(rig):
    async def main():
        rig.server.create("stays")
        rig.server.create("goes")
        async with rig.running():
            await asyncio.sleep(30)
            rig.keys.clear()
            stale = rig.server.page()
            rig.server.cache_lag = stale  # an API server that lags must not win now
            rig.server.faults_on_watch.append(EXPIRED)
            rig.server.break_streams(End())
            rig.server._streams.clear()  # what follows is not seen by the watch
            rig.server.delete("default/goes")
            rig.server.create("comes")
            rig.server.compact()
            await asyncio.sleep(2)
            assert [asked.resource_version for asked in rig.server.asked("list")] == ["0", ""]
            assert sorted(rig.keys) == ["default/comes", "default/goes"]
            assert rig.in_sync()

    run_virtually(main())


def test_after_a_long_outage_an_expired_version_does_not_wait_for_the_backoff(rig):
    async def main():
        async with rig.running():
            await asyncio.sleep(10)
            rig.server.faults_on_watch.extend([AWAY] * 8 + [EXPIRED])
            rig.server.break_streams(AWAY)
            await asyncio.sleep(200)
            expired_s = rig.server.asked("watch")[9].at_s
            assert rig.server.asked("list")[1].at_s - expired_s < 0.1

    run_virtually(main())


def test_too_large_a_version_on_a_list_asks_for_the_most_recent(rig):
    rig.server.faults_on_list.append(ExpiredError("Too large resource version", status=504))

    async def main():
        async with rig.running():
            await asyncio.sleep(1)
            assert [asked.resource_version for asked in rig.server.asked("list")] == ["0", ""]
            assert rig.in_sync()

    run_virtually(main())


def test_retry_after_is_respected_within_reason(rig):
    rig.server.faults_on_list.extend(
        [
            ApiUnavailableError("busy", status=429, retry_after_s=40.0),
            ApiUnavailableError("busy", status=429, retry_after_s=86_400.0),
        ]
    )

    async def main():
        async with rig.running():
            await asyncio.sleep(300)

    run_virtually(main())
    first, second, third = (asked.at_s for asked in rig.server.asked("list"))
    assert second - first == pytest.approx(40, abs=0.1)
    assert third - second == pytest.approx(120, abs=0.1)


def test_each_kind_of_trouble_is_said_once_and_recovery_once(rig):
    rig.server.faults_on_list.extend([AWAY] * 5 + [DENIED] * 2 + [AWAY] * 2)
    rig.server.faults_on_watch.extend([BUSY] * 2)

    async def main():
        async with rig.running():
            await asyncio.sleep(600)

    run_virtually(main())
    assert rig.logger.events() == [
        "watch_interrupted",
        "watch_interrupted",
        "cache_synced",
        "watch_interrupted",
        "watch_recovered",
    ]
    reasons = [values["reason"] for level, _, values in rig.logger.said if level == "warning"]
    assert reasons == ["unavailable", "denied", "throttled"]


def test_a_stream_that_holds_for_a_moment_only_does_not_count_as_recovery(rig):
    async def main():
        async with rig.running():
            for _ in range(100):
                await asyncio.sleep(3)
                rig.server.break_streams(AWAY)
            assert rig.logger.events("warning", "info") == ["cache_synced", "watch_interrupted"]

    run_virtually(main())


def test_an_object_that_does_not_decode_keeps_its_last_readable_version(rig):
    async def main():
        rig.server.create("a", ips=("10.0.0.1",))
        rig.server.create("b")
        async with rig.running():
            await asyncio.sleep(1)
            bad = Unreadable(key="default/a", resource_version="500", reason="Expected `array`")
            rig.server.send(bad)
            rig.server.send(bad)
            await asyncio.sleep(1)
            assert rig.informer.store["default/a"].spec.external_ips == ("10.0.0.1",)
            rig.server.break_streams(End())
            await asyncio.sleep(2)
            assert rig.server.asked("watch")[-1].resource_version == "500"
            # the same by a list
            good = Service(
                metadata=ServiceMeta(name="c", namespace="default", resource_version="501"),
                spec=ServiceSpec(),
            )
            rig.informer._reflector._replace(
                Page(items=(good,), resource_version="501", unreadable=(bad,))
            )
            assert sorted(rig.informer.store) == ["default/a", "default/c"]
            assert rig.count("extip_unreadable_objects_total") == 3
            assert rig.logger.events("warning") == ["object_unreadable"]

    run_virtually(main())


def test_a_list_with_an_object_whose_name_cannot_be_read_takes_nothing_away(rig):
    """It may be any of those that seem to be missing."""

    async def main():
        rig.server.create("a")
        rig.server.create("b")
        async with rig.running():
            await asyncio.sleep(1)
            good = Service(
                metadata=ServiceMeta(name="c", namespace="default", resource_version="501"),
                spec=ServiceSpec(),
            )
            bad = Unreadable(key="", resource_version="500", reason="Expected `object`")
            rig.informer._reflector._replace(
                Page(items=(good,), resource_version="501", unreadable=(bad,))
            )
            assert sorted(rig.informer.store) == ["default/a", "default/b", "default/c"]
            # Everything is listed again after the end of the stream.
            rig.server.break_streams(End())
            await asyncio.sleep(30)
            assert rig.in_sync()

    run_virtually(main())


def test_requests_events_and_restarts_are_counted(rig):
    async def main():
        async with rig.running():
            await asyncio.sleep(10)
            rig.server.create("a")
            rig.server.delete("default/a")
            await asyncio.sleep(1)
            rig.server.break_streams(EXPIRED)
            await asyncio.sleep(1)

    run_virtually(main())
    assert rig.count("extip_lists_total") == 2
    assert rig.count("extip_watch_events_total") == 2
    assert rig.count("extip_watch_restarts_total", reason="expired") == 1


def test_a_stream_without_bookmarks_is_opened_anew_now_and_then_and_that_is_no_trouble(rig):
    rig.server.bookmarks = False

    async def main():
        async with rig.running():
            await asyncio.sleep(3600)
            assert rig.informer.healthy
            assert len(rig.server.asked("list")) == 1
            assert 40 <= len(rig.server.asked("watch")) <= 46
            assert rig.logger.events() == ["cache_synced", "watch_silent"]
            assert rig.count("extip_watch_restarts_total", reason="idle") >= 40

    run_virtually(main())


def test_a_stream_with_something_to_say_is_not_given_up_as_silent(rig):
    rig.server.bookmarks = False

    async def main():
        async with rig.running():
            for number in range(10):
                await asyncio.sleep(20)
                rig.server.create(f"s{number}")
            await asyncio.sleep(79)
            assert len(rig.server.asked("watch")) == 1

    run_virtually(main())


def test_the_next_trouble_after_a_recovery_is_said_again(rig):
    async def main():
        async with rig.running():
            for _ in range(3):
                await asyncio.sleep(QUIET_S)
                rig.server.faults_on_watch.extend([AWAY] * 2)
                rig.server.break_streams(AWAY)
            await asyncio.sleep(60)

    run_virtually(main())
    assert rig.logger.events() == ["cache_synced"] + ["watch_interrupted", "watch_recovered"] * 3


def test_streams_that_are_cut_again_and_again_are_no_flood_of_reports(rig):
    """As by a proxy that has an idle timeout; how often it happened is said."""

    async def main():
        async with rig.running():
            for _ in range(180):
                await asyncio.sleep(20)
                rig.server.break_streams(AWAY)
            await asyncio.sleep(10)
            assert rig.informer.healthy

    run_virtually(main())
    events = rig.logger.events()
    assert events == ["cache_synced"] + ["watch_interrupted", "watch_recovered"] * 3
    repeated = [v.get("repeated", 0) for level, _, v in rig.logger.said if level == "warning"]
    assert repeated == [0, 29, 59]
    assert rig.logger.events("debug").count("watch_interrupted") == 180 - 3


def test_trouble_that_lasts_is_said_each_time_and_so_is_its_end(rig):
    async def main():
        async with rig.running():
            for _ in range(5):
                await asyncio.sleep(30)
                rig.server.faults_on_watch.extend([AWAY] * 6)
                rig.server.break_streams(AWAY)
                await asyncio.sleep(60)
                assert rig.informer.healthy

    run_virtually(main())
    events = rig.logger.events()
    assert events == ["cache_synced"] + ["watch_interrupted", "watch_recovered"] * 5


def test_the_end_of_trouble_that_lasted_is_said_although_its_beginning_was_not(rig):
    """A server that asks to be left in peace is not asked, so nothing fails meanwhile."""

    async def main():
        async with rig.running():
            for _ in range(3):
                await asyncio.sleep(30)
                rig.server.faults_on_watch.append(RESTING)
                rig.server.break_streams(RESTING)
                await asyncio.sleep(120)

    run_virtually(main())
    recovered = [v for _, event, v in rig.logger.said if event == "watch_recovered"]
    assert rig.logger.events().count("watch_recovered") == 3
    assert all(v["reason"] == "throttled" and v["after_s"] > 40 for v in recovered)
