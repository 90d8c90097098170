"""Events aggregate, never block, never flood, and survive a server that is away."""

import asyncio
from contextlib import asynccontextmanager
from typing import cast

import pytest

from extip.clock import LoopClock
from extip.kube import events
from extip.kube.events import BURST, EventRecorder, ObjectReference
from extip.log import Logger
from tests.fakes import http_api as api
from tests.fakes.tasks import beside

SERVICE = ObjectReference(kind="Service", namespace="ns", name="web", uid="uid-1")
NODE = ObjectReference(kind="Node", name="n1", uid="uid-2")


@asynccontextmanager
async def recording(rig):
    async with rig.connected():
        recorder = EventRecorder(
            rig.client, clock=LoopClock(), metrics=rig.metrics, instance="node-1"
        )
        recorder._logger = cast("Logger", rig.logger)
        async with beside(recorder.run()):
            yield recorder


def refuse(recorder, reference=SERVICE, message="10.0.0.1 is the gateway"):
    recorder.record(reference, type="Warning", reason="AddressRefused", message=message)


def written(rig):
    return list(rig.server.objects.values())


def test_an_event_says_what_happened_to_what(rig, run):
    async def main():
        async with recording(rig) as recorder:
            refuse(recorder)
            await asyncio.sleep(1)

    run(main())
    (event,) = written(rig)
    assert event["kind"] == "Event"
    assert event["metadata"]["namespace"] == "ns"
    assert event["metadata"]["name"].startswith("web.")
    assert event["involvedObject"] == {
        "kind": "Service",
        "namespace": "ns",
        "name": "web",
        "uid": "uid-1",
    }
    assert (event["type"], event["reason"]) == ("Warning", "AddressRefused")
    assert event["message"] == "10.0.0.1 is the gateway"
    assert event["source"] == {"component": "extip", "host": "node-1"}
    assert (event["reportingComponent"], event["reportingInstance"]) == ("extip", "node-1")
    assert event["count"] == 1
    assert event["firstTimestamp"] == event["lastTimestamp"]
    assert event["firstTimestamp"].endswith("Z")


def test_events_about_cluster_scoped_objects_go_to_the_default_namespace(rig, run):
    async def main():
        async with recording(rig) as recorder:
            refuse(recorder, NODE)
            await asyncio.sleep(1)

    run(main())
    (path,) = rig.server.objects
    assert path.startswith("/api/v1/namespaces/default/events/n1.")


def test_the_same_event_again_counts_up_also_after_a_restart(rig, run):
    async def main():
        for _ in range(2):  # two recorders, one after the other
            async with recording(rig) as recorder:
                refuse(recorder)
                await asyncio.sleep(2)
                refuse(recorder)
                refuse(recorder)
                await asyncio.sleep(2)

    run(main())
    (event,) = written(rig)
    assert event["count"] == 6
    assert rig.sample("extip_events_recorded_total", result="written") == 4


def test_different_texts_and_different_objects_are_different_events(rig, run):
    async def main():
        async with recording(rig) as recorder:
            refuse(recorder)
            refuse(recorder, message="10.0.0.2 is the gateway")
            refuse(recorder, ObjectReference(kind="Service", namespace="ns", name="web", uid="new"))
            await asyncio.sleep(2)

    run(main())
    assert len(written(rig)) == 3


def test_an_event_that_expires_while_it_is_counted_up_is_created_again(rig, run):
    async def main():
        async with recording(rig) as recorder:
            rig.server.faults.extend([api.status(409, "AlreadyExists", "exists")])
            refuse(recorder)  # conflict, then it is not found
            await asyncio.sleep(1)

    run(main())
    assert [r.method for r in rig.server.requests] == ["POST", "GET", "POST"]
    assert len(written(rig)) == 1


def test_a_burst_is_written_at_once_and_the_rest_at_a_steady_rate(rig, run):
    async def main():
        async with recording(rig) as recorder:
            for number in range(BURST + 20):
                refuse(recorder, message=str(number))
            await asyncio.sleep(0.9)
            assert len(written(rig)) == BURST
            await asyncio.sleep(10)
            assert BURST + 9 <= len(written(rig)) <= BURST + 11
            await asyncio.sleep(10)
            assert len(written(rig)) == BURST + 20

    run(main())


def test_every_address_of_a_large_cluster_may_be_refused_at_once(rig, run):
    async def main():
        async with recording(rig) as recorder:
            for number in range(10_000):
                refuse(recorder, message=str(number))
            await asyncio.sleep(1)
            assert len(recorder._pending) + len(written(rig)) == 10_000

    run(main())
    assert rig.logger.events("warning") == []


def test_while_the_server_is_away_the_newest_wait_and_the_oldest_are_dropped(rig, run, monkeypatch):
    limit = 256
    monkeypatch.setattr(events, "PENDING_MAX", limit)

    async def main():
        async with recording(rig) as recorder:
            rig.server.always = api.closed
            for number in range(limit + 100):
                refuse(recorder, message=str(number))
            for number in range(limit + 50, limit + 100):
                refuse(recorder, message=str(number))  # known: counted up, not queued
            await asyncio.sleep(300)
            assert len(rig.server.requests) <= 30
            rig.server.always = None
            await asyncio.sleep(600)

    run(main())
    messages = {int(event["message"]): event["count"] for event in written(rig)}
    assert len(messages) == limit
    assert messages[limit + 99] == 2
    assert min(messages) == 100
    assert rig.sample("extip_events_recorded_total", result="dropped") == 100
    assert rig.logger.events("warning") == ["events_dropped", "event_not_written"]


def test_what_is_recorded_while_its_first_try_fails_is_counted_once_each(rig, run):
    async def main():
        async with recording(rig) as recorder:
            rig.server.faults.append(delayed_close)
            refuse(recorder)
            await asyncio.sleep(2)
            refuse(recorder)
            await asyncio.sleep(20)

    async def delayed_close(exchange):
        await asyncio.sleep(5)
        exchange.close()

    run(main())
    (event,) = written(rig)
    assert event["count"] == 2


@pytest.mark.parametrize("code", [403, 404, 422])
def test_a_refusal_is_said_once_and_blocks_nothing(rig, run, code):
    async def main():
        async with recording(rig) as recorder:
            rig.server.always = api.status(code, "No", "events is forbidden", name="ns")
            for number in range(20):
                refuse(recorder, message=str(number))
            await asyncio.sleep(5)
            assert len(rig.server.requests) == 20  # no retries
            rig.server.always = None
            refuse(recorder, message="later")
            await asyncio.sleep(5)

    run(main())
    assert rig.logger.events("warning") == ["event_not_written"]
    assert rig.sample("extip_events_recorded_total", result="failed") == 20
    assert len(written(rig)) == 1


BROKEN = ObjectReference(kind="Service", namespace="broken", name="web", uid="uid-3")
"""In a namespace of which the server writes no Events."""

WEBHOOK = 'Internal error occurred: failed calling webhook "no.example": connection refused'


def breaks(rig, fault):
    """Let a fault take the place of every answer about that namespace."""

    async def answer(exchange):
        broken = "/namespaces/broken/" in exchange.request.path
        await (fault if broken else rig.server.serve)(exchange)

    rig.server.always = answer


def of_namespace(rig, namespace):
    return [r for r in rig.server.requests if f"/namespaces/{namespace}/" in r.path]


def test_a_namespace_whose_webhook_fails_blocks_no_other(rig, run):
    async def main():
        async with recording(rig) as recorder:
            breaks(rig, api.status(500, "InternalError", WEBHOOK))
            for number in range(10):
                refuse(recorder, BROKEN, message=str(number))
                refuse(recorder, message=str(number))
            await asyncio.sleep(20)
            assert len(written(rig)) == 10
            await asyncio.sleep(300)
            refuse(recorder, message="later")
            await asyncio.sleep(1)

    run(main())
    assert len(written(rig)) == 11
    assert len(of_namespace(rig, "broken")) <= 10 * 5
    assert rig.sample("extip_events_recorded_total", result="failed") == 10
    assert rig.logger.events("warning") == ["event_not_written"]


def test_a_server_whose_etcd_has_trouble_costs_no_event(rig, run):
    async def main():
        async with recording(rig) as recorder:
            rig.server.faults.extend(9 * [api.status(500, "", "etcdserver: request timed out")])
            refuse(recorder)
            await asyncio.sleep(0.5)
            refuse(recorder)
            await asyncio.sleep(600)

    run(main())
    (event,) = written(rig)
    assert event["count"] == 2
    assert rig.logger.events("warning") == ["event_not_written"]


@pytest.mark.parametrize("fault", [api.half_open, api.status(504, "Timeout", "request timed out")])
def test_events_that_always_time_out_block_no_others_and_are_kept(rig, run, fault):
    async def main():
        async with recording(rig) as recorder:
            breaks(rig, fault)
            for number in range(20):
                refuse(recorder, BROKEN, message=str(number))
            for number in range(10):
                await asyncio.sleep(300)
                refuse(recorder, message=str(number))
                await asyncio.sleep(90)
                assert len(written(rig)) == number + 1
            rig.server.always = None
            await asyncio.sleep(120)

    run(main())
    assert len(written(rig)) == 30
