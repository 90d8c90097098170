"""A cache on real sockets: whatever happens to a stream, it recovers, calmly, and says so once."""

import asyncio
import contextlib

import pytest

from extip.api.core_v1 import Service, ServiceMeta
from extip.api.ipcontroller_v1 import IpClaim
from extip.api.meta_v1 import FullObjectMeta
from extip.api.resources import IP_CLAIMS, SERVICES
from extip.cache.listwatch import EventType, Unreadable, WatchEvent
from extip.errors import ApiUnavailableError, ExpiredError, InvalidRequestError
from extip.kube.codec import ResourceCodec
from tests.fakes import http_api as api

FAULTS = {
    "half open": api.half_open,
    "half refused": api.half_refused,
    "closed": api.closed,
    "ends at once": api.ended_at_once,
    "truncated chunk": api.truncated,
    "bad framing": api.bad_framing,
    "cut line": api.cut_line,
    "garbage": api.line(b"<html>oops</html>\n"),
    "unknown event": api.line(b'{"type":"NEWS","object":{}}\n'),
    "410": api.status(410, "Expired", "too old resource version"),
    "410 event": api.error_event(410, "Expired", "too old resource version: 1 (2)"),
    "504 too large": api.status(504, "Timeout", "Too large resource version: 9, current: 1"),
    "500 event": api.error_event(500, "InternalError", "etcd is gone"),
    "429": api.refused(429, b"Too many requests, please try again later.\n", Retry_After="1"),
    "500": api.status(500, "InternalError", "etcdserver: request timed out"),
    "503 page": api.refused(503, b"<html><body>Service Unavailable</body></html>"),
    "401": api.status(401, "Unauthorized", "Unauthorized"),
    "403": api.status(403, "Forbidden", "services is forbidden"),
    "404": api.refused(404, b"404 page not found\n"),
}

DENIED = ("401", "403", "404")
"""A right, or a kind, that was there before may be back at any time: asked for every 5 s."""


@pytest.mark.parametrize("only_watches", [True, False], ids=["watches", "everything"])
@pytest.mark.parametrize("name", FAULTS)
def test_a_lasting_fault_makes_no_hot_loop_and_no_flood_and_ends(rig, run, name, only_watches):
    async def main():
        server = rig.server
        async with rig.informing():
            if only_watches:
                await rig.informer.wait_synced()
            server.only_watches = only_watches
            server.always = FAULTS[name]
            server.api.break_streams(ApiUnavailableError("broke off", status=500))
            await asyncio.sleep(1)
            began = len(server.requests)
            began_s = asyncio.get_running_loop().time()
            await asyncio.sleep(10)
            assert len(server.requests) - began <= 14
            await asyncio.sleep(290)
            assert len(server.requests) - began <= (200 if only_watches and name in DENIED else 70)
            if name != "bad framing":  # it looks like a silent server for 80 s each time
                assert not rig.informer.healthy
            assert len(rig.logger.events("warning")) <= 2
            server.always = None
            server.api.create("later")
            await asyncio.sleep(150)
            assert rig.in_sync()
            assert rig.informer.healthy
            assert rig.logger.events()[-1] == "watch_recovered"
            assert rig.logger.events().count("watch_recovered") == 1
            assert asyncio.get_running_loop().time() - began_s < 500

    run(main())


def test_a_half_open_stream_is_left_after_80_seconds_and_resumed_from_its_version(rig, run):
    async def main():
        async with rig.informing():
            await asyncio.sleep(1)
            rig.server.only_watches, rig.server.always = True, api.half_open
            rig.server.api.create("a")
            await asyncio.sleep(1)
            rig.server.api.break_streams(ApiUnavailableError("gone", status=500))
            await asyncio.sleep(10)
            rig.server.always = None
            rig.server.api.create("b")
            await asyncio.sleep(100)
            assert rig.in_sync()
            *_, silent, resumed = rig.server.requests
            assert 30 <= resumed.at_s - silent.at_s <= 81
            assert sum(not r.is_watch for r in rig.server.requests) == 1
            assert rig.server.requests[-1].query["resourceVersion"] == "101"

    run(main())


def test_a_silent_but_healthy_server_is_not_left(rig, run):
    async def main():
        async with rig.informing():
            await asyncio.sleep(250)
            assert sum(r.is_watch for r in rig.server.requests) == 1
            assert rig.informer.healthy

    run(main())


def test_watches_ask_for_bookmarks_and_a_bounded_time(rig, run):
    async def main():
        async with rig.informing():
            await asyncio.sleep(3600)

    run(main())
    watches = [r for r in rig.server.requests if r.is_watch]
    assert {r.query["allowWatchBookmarks"] for r in watches} == {"true"}
    times = [int(r.query["timeoutSeconds"]) for r in watches]
    assert all(300 <= t <= 600 for t in times)
    assert len(set(times)) > 1


def test_objects_of_the_largest_size_pass_by_list_and_by_watch(rig, run):
    big = "x" * 1_400_000

    async def main():
        async with rig.connected():
            item = {
                "metadata": {"name": "big", "namespace": "ns", "annotations": {"a": big}},
                "spec": {"externalIPs": ["10.0.0.1"]},
            }
            rig.server.objects["/api/v1/namespaces/ns/services"] = {
                "metadata": {"resourceVersion": "1"},
                "items": [item] * 3,
            }
            source = rig.client.lister_watcher(SERVICES, namespace="ns")
            page = await source.list(resource_version="0")
            assert [s.spec.external_ips for s in page.items] == [("10.0.0.1",)] * 3

            async def stream(exchange):
                exchange.start()
                for _ in range(3):
                    await exchange.event("MODIFIED", item)
                exchange.end()

            rig.server.faults.append(stream)
            async with source.watch(resource_version="1", timeout_s=300) as events:
                seen = [event.object.metadata.name async for event in events]
            assert seen == ["big"] * 3

    run(main())


def test_a_line_longer_than_any_object_breaks_the_stream_only(rig, run):
    async def main():
        async with rig.connected():
            rig.server.faults.append(api.line(b"x" * 5_000_000))
            source = rig.client.lister_watcher(SERVICES)
            async with source.watch(resource_version="1", timeout_s=300) as events:
                with pytest.raises(ApiUnavailableError):
                    await anext(events)
            assert (await source.list(resource_version="0")).items == ()

    run(main())


def test_a_slow_list_is_waited_for(rig, run):
    rig.server.api.create("a")
    rig.server.faults.append(api.slow(20.0))

    async def main():
        async with rig.informing():
            await rig.informer.wait_synced()
            assert asyncio.get_running_loop().time() >= 20
            assert rig.in_sync()
            assert rig.logger.events("warning") == []

    run(main())


def test_one_object_that_does_not_decode_hides_no_other(rig, run):
    good = {"metadata": {"name": "good", "namespace": "ns", "resourceVersion": "7"}}
    bad = {
        "metadata": {"name": "bad", "namespace": "ns", "resourceVersion": "8"},
        "spec": {"externalIPs": "10.0.0.1"},
    }

    async def lists(exchange):
        await exchange.answer(200, {"metadata": {"resourceVersion": "9"}, "items": [bad, good]})

    async def streams(exchange):
        exchange.start()
        await exchange.event("MODIFIED", bad)
        await exchange.event("ADDED", {"metadata": 5})
        await exchange.event("ADDED", good | {"metadata": good["metadata"] | {"name": "new"}})
        await api.half_open(exchange)

    async def main():
        async with rig.informing():
            rig.server.faults.extend([lists, streams])
            await asyncio.sleep(5)
            assert sorted(rig.informer.store) == ["ns/good", "ns/new"]
            assert rig.logger.events("warning") == ["object_unreadable"] * 2  # "ns/bad" and ""

    run(main())
    assert rig.sample("extip_unreadable_objects_total", resource="services") == 3


def test_a_deletion_counts_even_when_the_object_does_not_decode(rig, run):
    bad = {
        "metadata": {"name": "a", "namespace": "ns", "resourceVersion": "8"},
        "spec": {"externalIPs": "10.0.0.1"},
    }
    rig.server.api.create("a", namespace="ns")

    async def streams(exchange):
        exchange.start()
        await asyncio.sleep(5)
        await exchange.event("DELETED", bad)
        await asyncio.sleep(5)
        exchange.end()

    async def main():
        async with rig.informing():
            await rig.informer.wait_synced()
            rig.server.only_watches = True
            rig.server.faults.append(streams)
            rig.server.api.break_streams(ApiUnavailableError("broke off", status=500))
            await asyncio.sleep(4)
            assert list(rig.informer.store) == ["ns/a"]
            await asyncio.sleep(4)
            assert list(rig.informer.store) == []
            await asyncio.sleep(5)
            assert rig.server.requests[-1].query["resourceVersion"] == "8"

    run(main())


@pytest.mark.parametrize("kind", ["ADDED", "MODIFIED", "DELETED"])
@pytest.mark.parametrize("damaged", [{}, {"metadata": 5}, {"metadata": {"name": 5}}, None, []])
def test_an_object_that_nobody_can_name_changes_nothing_until_the_next_list(
    rig, run, kind, damaged
):
    """It may have been any of them, so the stream is not enough any more."""
    rig.server.api.create("a", namespace="ns")

    async def streams(exchange):
        exchange.start()
        await exchange.event(kind, damaged)
        await exchange.event("BOOKMARK", damaged)
        await asyncio.sleep(5)
        rig.server.api.delete("ns/a")
        rig.server.api.create("b", namespace="ns")
        exchange.end()

    async def main():
        async with rig.informing():
            await rig.informer.wait_synced()
            rig.server.only_watches = True
            rig.server.faults.append(streams)
            rig.server.api.break_streams(ApiUnavailableError("broke off", status=500))
            await asyncio.sleep(4)
            assert list(rig.informer.store) == ["ns/a"]
            await asyncio.sleep(20)
            assert list(rig.informer.store) == ["ns/b"]
            versions = [r.query["resourceVersion"] for r in rig.server.requests if r.is_watch]
            assert "" not in versions

    run(main())


def test_a_list_with_an_object_that_nobody_can_name_takes_nothing_away(rig, run):
    async def lists(exchange):
        items: list[object] = [{}, None]
        body = {"kind": "ServiceList", "metadata": {"resourceVersion": "900"}, "items": items}
        await exchange.answer(200, body)

    async def main():
        rig.server.api.create("a", namespace="ns")
        async with rig.informing():
            await rig.informer.wait_synced()
            rig.server.faults.append(lists)
            rig.server.api.break_streams(ExpiredError("too old", status=410))
            await asyncio.sleep(3)
            assert list(rig.informer.store) == ["ns/a"]

    run(main())


@pytest.mark.parametrize(
    "item",
    [
        b'{"metadata":{"name":"a","resourceVersion":"1"},"x":' + b"[" * 10**5 + b"]" * 10**5 + b"}",
        b'{"metadata":{"name":"\xff","resourceVersion":"1"}}',
        b'{"metadata":{"name":"\\ud800","resourceVersion":"1"}}',
    ],
    ids=["deep", "no UTF-8", "half a character"],
)
def test_what_no_json_parser_can_read_is_an_error_of_the_server(item):
    codec = ResourceCodec(SERVICES)
    body = b'{"kind":"ServiceList","metadata":{"resourceVersion":"1"},"items":[%b]}' % item
    with contextlib.suppress(ApiUnavailableError):
        assert codec.decode_list(body).items == ()
    with contextlib.suppress(ApiUnavailableError):
        assert isinstance(codec.decode_event(b'{"type":"ADDED","object":%b}' % item), Unreadable)
    with pytest.raises(InvalidRequestError):
        codec.decode_object(item)


def test_a_deletion_of_a_kind_with_full_metadata_has_metadata_of_that_kind(rig, run):
    bad = {"metadata": {"name": "a", "uid": "u", "resourceVersion": "8"}, "spec": 5}

    async def streams(exchange):
        exchange.start()
        await exchange.event("DELETED", bad)
        exchange.end()

    async def main():
        async with rig.connected():
            rig.server.faults.append(streams)
            source = rig.client.lister_watcher(IP_CLAIMS)
            async with source.watch(resource_version="1", timeout_s=300) as events:
                seen = [event async for event in events]
            gone = IpClaim(metadata=FullObjectMeta(name="a", uid="u", resource_version="8"))
            assert seen == [WatchEvent(EventType.DELETED, gone)]

    run(main())


def test_null_lists_are_as_good_as_none(rig, run):
    async def lists(exchange):
        item = {
            "metadata": {"name": "a", "namespace": "ns"},
            "spec": {"externalIPs": None},
            "status": {"loadBalancer": {"ingress": None}},
        }
        await exchange.answer(200, {"metadata": {"resourceVersion": "9"}, "items": [item]})

    async def main():
        async with rig.connected():
            rig.server.faults.append(lists)
            page = await rig.client.list(SERVICES)
            assert page.unreadable == ()
            assert page.items == (Service(metadata=ServiceMeta(name="a", namespace="ns")),)

    run(main())


def test_leaving_a_watch_early_closes_its_connection(rig, run):
    async def main():
        async with rig.connected():
            rig.server.api.create("a")
            source = rig.client.lister_watcher(SERVICES)
            async with source.watch(resource_version="100", timeout_s=300) as events:
                assert (await anext(events)).object.metadata.key == "default/a"
                assert rig.server.api.open_streams == 1
            rig.server.api.create("b")  # the server notices when it writes
            await asyncio.sleep(1)
            rig.server.api.create("c")
            await asyncio.sleep(1)
            assert rig.server.api.open_streams == 0

    run(main())


def test_an_error_event_ends_the_stream_with_what_it_stands_for(rig, run):
    async def main():
        async with rig.connected():
            rig.server.faults.append(FAULTS["410 event"])
            source = rig.client.lister_watcher(SERVICES)
            async with source.watch(resource_version="1", timeout_s=300) as events:
                with pytest.raises(ExpiredError, match="watch services: too old resource version"):
                    await anext(events)

    run(main())
