"""Calls carry what they should, and every refusal becomes the error that says what to do."""

import asyncio

import msgspec
import pytest

from extip import __version__
from extip.api.core_v1 import Event, ObjectReference
from extip.api.meta_v1 import ObjectMeta
from extip.api.resources import EVENTS, NODES, SERVICES
from extip.errors import (
    ApiAccessError,
    ApiUnavailableError,
    ConflictError,
    ExpiredError,
    InvalidRequestError,
    NotFoundError,
    NotServedError,
)
from extip.kube.client import Scope
from tests.fakes import http_api as api
from tests.fakes.virtual_time import run_virtually


def new_uid(event):
    """Return the event as another one of the same name and version."""
    metadata = msgspec.structs.replace(event.metadata, uid="another")
    return msgspec.structs.replace(event, metadata=metadata)


def test_one_object_is_created_read_replaced_patched_and_deleted(rig, run):
    event = Event(metadata=ObjectMeta(name="e", namespace="ns"), reason="First", count=1)

    async def main():
        async with rig.connected():
            created = await rig.client.create(EVENTS, event)
            assert created.metadata.resource_version
            with pytest.raises(ConflictError, match=r"create events ns/e: .*exists \(409\)"):
                await rig.client.create(EVENTS, event)
            assert await rig.client.get(EVENTS, name="e", namespace="ns") == created
            patched = await rig.client.patch(EVENTS, {"count": 2}, name="e", namespace="ns")
            assert (patched.reason, patched.count) == ("First", 2)
            with pytest.raises(ConflictError):
                await rig.client.replace(EVENTS, created)
            replaced = await rig.client.replace(EVENTS, patched)
            assert replaced.count == 2
            for seen in (patched, new_uid(replaced)):
                with pytest.raises(ConflictError):
                    await rig.client.delete(EVENTS, name="e", namespace="ns", seen=seen)
            await rig.client.delete(EVENTS, name="e", namespace="ns", seen=replaced)
            with pytest.raises(NotFoundError):
                await rig.client.get(EVENTS, name="e", namespace="ns")

    run(main())
    sent = {request.method: request for request in rig.server.requests}
    assert sent["PATCH"].headers["content-type"] == "application/merge-patch+json"
    assert sent["PATCH"].path == "/api/v1/namespaces/ns/events/e"
    assert b'"kind":"Event"' in sent["POST"].body
    assert b'"apiVersion":"v1"' in sent["POST"].body
    assert sent["GET"].headers["authorization"] == "Bearer secret"
    assert sent["GET"].headers["user-agent"] == f"extip/{__version__}"
    assert rig.sample("extip_api_requests_total", verb="create", code="409") == 1
    assert rig.sample("extip_api_requests_total", verb="update", code="200") == 1


@pytest.mark.parametrize(
    "answer",
    [
        api.refused(404, b"404 page not found\n"),
        api.status(404, "NotFound", "the server could not find the requested resource"),
    ],
)
def test_a_404_that_names_no_object_says_nothing_of_one(rig, run, answer):
    """A server that is starting may not serve a kind yet: the object may well be there."""
    rig.server.always = answer

    async def main():
        async with rig.connected():
            with pytest.raises(NotServedError, match=r"get events ns/e: .*\(404\)"):
                await rig.client.get(EVENTS, name="e", namespace="ns")
            with pytest.raises(NotServedError):
                await rig.client.patch(EVENTS, {}, name="e", namespace="ns")
            with pytest.raises(NotFoundError, match="list events"):
                await rig.client.list(EVENTS)

    run(main())


def test_subresources_have_a_path_of_their_own(rig, run):
    async def main():
        async with rig.connected():
            rig.server.objects["/api/v1/nodes/n1/status"] = {"metadata": {"name": "n1"}}
            await rig.client.patch(NODES, {}, name="n1", subresource="status")
            with pytest.raises(NotFoundError, match="patch nodes/status n2"):
                await rig.client.patch(NODES, {}, name="n2", subresource="status")

    run(main())


def test_lists_ask_for_what_they_are_told(rig, run):
    scope = Scope(namespace="ns", label_selector="a=b,c!=d", field_selector="metadata.name=x")

    async def main():
        async with rig.connected():
            rig.server.objects["/api/v1/namespaces/ns/services"] = {
                "metadata": {"resourceVersion": "7"},
                "items": None,
            }
            page = await rig.client.list(
                SERVICES,
                scope,
                resource_version="0",
                limit=5,
                continue_token="more",  # noqa: S106
            )
            assert page.items == ()

    run(main())
    assert rig.server.requests[-1].query == {
        "labelSelector": "a=b,c!=d",
        "fieldSelector": "metadata.name=x",
        "resourceVersion": "0",
        "limit": "5",
        "continue": "more",
    }


def test_a_list_in_pieces_hands_on_the_token(rig, run):
    async def main():
        async with rig.connected():
            rig.server.objects["/api/v1/nodes"] = {
                "metadata": {"resourceVersion": "9", "continue": "abc"},
                "items": [{"metadata": {"name": "n1"}}],
            }
            page = await rig.client.list(NODES, limit=1)
            assert page.continue_token == "abc"  # noqa: S105
            assert page.resource_version == "9"
            assert [node.metadata.key for node in page.items] == ["n1"]

    run(main())


REFUSALS = [
    (400, "bad", InvalidRequestError, r"list services: bad \(400\)"),
    (401, "Unauthorized", ApiAccessError, "does not accept the credentials"),
    (
        403,
        'services is forbidden: User "u" cannot list resource "services"',
        ApiAccessError,
        r'list services: RBAC does not allow it: .*User "u" cannot list resource "services"',
    ),
    (404, "no such", NotFoundError, "no such"),
    (408, "too slow", ApiUnavailableError, "too slow"),
    (409, "changed", ConflictError, "changed"),
    (410, "too old resource version", ExpiredError, "too old"),
    (504, "Timeout: Too large resource version: 9, current: 1", ExpiredError, "9"),
    (422, "is invalid", InvalidRequestError, "is invalid"),
    (429, "slow down", ApiUnavailableError, "slow down"),
    (500, "etcdserver: leader changed", ApiUnavailableError, "leader"),
    (503, "", ApiUnavailableError, r"Why \(503\)"),
]


@pytest.mark.parametrize(("code", "message", "expected", "text"), REFUSALS)
def test_a_refusal_becomes_the_error_that_says_what_to_do(rig, code, message, expected, text):
    rig.server.always = api.status(code, "Why", message)

    async def main():
        async with rig.connected():
            with pytest.raises(expected, match=text) as caught:
                await rig.client.list(SERVICES)
            assert type(caught.value) is expected
            assert caught.value.status == code
            assert "\n" not in str(caught.value)

    run_virtually(main())


def test_plain_text_from_something_in_between_is_cut_to_one_line(rig, run):
    page = b"<html>\n<h1>Too many\n requests</h1>" + b"x" * 100_000
    rig.server.always = api.refused(429, page, Retry_After="7")

    async def main():
        async with rig.connected():
            with pytest.raises(ApiUnavailableError, match="<h1>Too many requests</h1>") as caught:
                await rig.client.list(SERVICES)
            assert caught.value.retry_after_s == 7.0
            assert len(str(caught.value)) < 500
            assert "\n" not in str(caught.value)

    run(main())


@pytest.mark.parametrize("header", ["Wed, 21 Oct 2026 07:28:00 GMT", "-1", "nan", "٣", ""])
def test_a_retry_after_that_is_no_number_is_ignored(rig, run, header):
    if header.isascii():
        rig.server.always = api.refused(503, b"", Retry_After=header)
    else:
        rig.server.always = api.refused(503, b"")

    async def main():
        async with rig.connected():
            with pytest.raises(ApiUnavailableError) as caught:
                await rig.client.list(SERVICES)
            assert caught.value.retry_after_s is None

    run(main())


@pytest.mark.parametrize(
    ("fault", "text", "within_s"),
    [
        (api.half_open, "no answer from http://127.0.0.1:.* in time", 60),
        (api.closed, "http://127.0.0.1:.* closed the connection", 1),
        (api.truncated, "the answer of http://127.0.0.1:.* broke off", 1),
        (api.cut_line, "list services: unreadable list", 1),
        (api.refused(200, b"hello"), "unreadable list", 1),
        (api.refused(302, b"", Location="http://example.invalid/"), r"\(302\)", 1),
    ],
    ids=["half open", "closed", "truncated", "cut", "not a list", "redirect"],
)
def test_a_list_that_fails_is_named_in_bounded_time(rig, run, fault, text, within_s):
    rig.server.always = fault

    async def main():
        async with rig.connected():
            began_s = asyncio.get_running_loop().time()
            with pytest.raises((ApiUnavailableError, InvalidRequestError), match=text):
                await rig.client.list(SERVICES)
            assert asyncio.get_running_loop().time() - began_s <= within_s + 1

    run(main())


def test_a_write_that_hangs_ends_in_bounded_time(rig, run):
    rig.server.always = api.half_open

    async def main():
        async with rig.connected():
            event = Event(metadata=ObjectMeta(name="e", namespace="ns"))
            with pytest.raises(ApiUnavailableError, match="create events ns/e: no answer"):
                await rig.client.create(EVENTS, event)
            assert asyncio.get_running_loop().time() <= 11

    run(main())


def test_a_body_that_is_no_object_is_the_servers_fault_and_said(rig, run):
    rig.server.always = api.refused(200, b"hello")

    async def main():
        async with rig.connected():
            with pytest.raises(InvalidRequestError, match="unreadable Service"):
                await rig.client.get(SERVICES, name="a", namespace="ns")

    run(main())


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"status": "ok"},
        {"metadata": {}, "items": []},
        {"metadata": {}, "items": [{"spec": 5}]},
        {"kind": "Status", "metadata": {}, "status": "Success"},
        {"kind": "Service", "metadata": {"name": "a", "resourceVersion": "7"}},
        {"kind": "Service", "metadata": {"resourceVersion": "7"}, "items": [{"spec": 5}]},
    ],
)
def test_an_answer_that_is_no_list_is_not_taken_for_an_empty_one(rig, run, body):
    async def answers(exchange):
        await exchange.answer(200, body)

    async def main():
        async with rig.connected():
            rig.server.always = answers
            with pytest.raises(
                ApiUnavailableError, match="list services: the answer is not a list"
            ):
                await rig.client.list(SERVICES)

    run(main())


@pytest.mark.parametrize(
    ("body", "version"),
    [
        (b'{"major": "1", "minor": "20+", "gitVersion": "v1.20.15-gke.1"}', (1, 20)),
        (b'{"major": "1", "minor": "?", "vendor": {"name": "x"}}', (1, 0)),
    ],
)
def test_the_version_of_a_vendor_is_read_as_well(rig, run, body, version):
    rig.server.always = api.refused(200, body)

    async def main():
        async with rig.connected():
            assert await rig.client.server_version() == version

    run(main())


def test_a_page_in_the_place_of_the_version_is_no_answer_of_the_server(rig, run):
    rig.server.always = api.refused(200, b"<html>please log in</html>")

    async def main():
        async with rig.connected():
            with pytest.raises(ApiUnavailableError, match="get version: the answer is no version"):
                await rig.client.server_version()

    run(main())


def test_a_list_of_its_kind_may_be_empty(rig, run):
    async def answers(exchange):
        body = {"kind": "ServiceList", "metadata": {"resourceVersion": "7"}, "items": []}
        await exchange.answer(200, body)

    async def main():
        async with rig.connected():
            rig.server.always = answers
            page = await rig.client.list(SERVICES)
            assert (page.items, page.resource_version) == ((), "7")

    run(main())


def test_big_lists_are_compressed_only_when_they_cross_a_wire(rig, run):
    async def main():
        for number in range(3000):
            rig.server.api.create(f"service-{number}", ips=("10.0.0.1",))
        async with rig.connected():
            await rig.client.list(SERVICES)
            rig.client._transport._compress = True  # as if the server were elsewhere
            page = await rig.client.list(SERVICES)
            assert len(page.items) == 3000

    run(main())
    local, remote = rig.server.requests
    assert local.headers["accept-encoding"] == "identity"
    assert remote.headers["accept-encoding"] == "gzip"


def test_references_to_services_keep_what_is_needed():
    reference = ObjectReference(kind="Service", namespace="ns", name="a", uid="u")
    assert reference.api_version == "v1"
