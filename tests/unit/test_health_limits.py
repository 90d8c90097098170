"""Whoever reaches the endpoint gets a page and nothing else, and holds nothing for long."""

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from extip import http_server
from extip.metrics import Metrics
from tests.unit.test_health import free_address, listening, server_of

GET = b"GET /livez HTTP/1.1\r\nHost: x\r\n"


class Client:
    """One connection, which says what it is told to say."""

    def __init__(self, reader, writer):
        self._reader, self._writer = reader, writer

    async def say(self, data):
        self._writer.write(data)
        await self._writer.drain()

    async def hear(self):
        """Return all that comes until the server closes; nothing when it hangs up."""
        async with asyncio.timeout(40):
            try:
                return (await self._reader.read()).decode()
            except ConnectionResetError:
                return ""

    def is_cut_off(self):
        return self._reader.at_eof() or self._reader.exception() is not None


@asynccontextmanager
async def connected(address):
    reader, writer = await asyncio.open_connection(*address)
    try:
        yield Client(reader, writer)
    finally:
        writer.close()


@pytest.fixture
async def address():
    chosen = free_address()
    not_ready = {"caches": lambda: "not synced yet"}
    server = server_of(chosen, ready=not_ready, registry=Metrics("test").registry)
    async with listening(server, chosen):
        yield chosen


async def asked(address, request):
    async with connected(address) as client:
        await client.say(request)
        return await client.hear()


@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("GET /livez", "200"),
        ("GET /healthz?verbose", "200"),
        ("HEAD /metrics", "200"),
        ("GET /metrics", "200"),
        ("GET /readyz", "503"),
        ("GET /", "404"),
        ("GET /metrics/../../etc/passwd", "404"),
        ("GET /debug/pprof", "404"),
        ("POST /metrics", "405"),
        ("DELETE /livez", "405"),
        ("TRACE /livez", "405"),
        ("OPTIONS *", "405"),
    ],
)
async def test_there_is_nothing_but_its_pages(address, line, status):
    answer = await asked(address, f"{line} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    head, _, body = answer.partition("\r\n\r\n")
    assert answer.startswith(f"HTTP/1.1 {status} ")
    assert "Connection: close" in head
    assert "Server: extip\r\n" in head + "\r\n"
    if status not in ("200", "503"):
        assert len(body) < 100


@pytest.mark.parametrize(
    "request_",
    [
        b"GET /" + 5000 * b"x" + b" HTTP/1.1\r\n\r\n",
        GET + b"A: " + 9000 * b"x" + b"\r\n\r\n",
        GET + 100 * b"A: x\r\n" + b"\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET /\x1b[2J HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /livez HTTP/1.1\r\n\r\n",
    ],
    ids=["line", "header", "headers", "TLS", "HTTP/2", "control", "no host"],
)
async def test_what_is_too_long_or_no_http_is_refused_and_logged_nowhere(address, request_, caplog):
    """Whoever reaches the port can send many of them: each would be a traceback."""
    answer = await asked(address, request_)
    assert answer.startswith("HTTP/1.0 400 ")
    assert "Server: extip\r\n" in answer
    assert answer.endswith("\r\n\r\n"), "nothing of the request, nor of who reads it"
    assert caplog.records == []


async def test_a_failure_of_extip_itself_is_logged(caplog):
    chosen = free_address()

    def fails():
        raise ZeroDivisionError

    async with listening(server_of(chosen, ready={"caches": fails}), chosen):
        answer = await asked(chosen, b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n")
    assert answer.startswith("HTTP/1.1 500 ")
    assert "Server: extip\r\n" in answer
    assert [record.exc_info[0] for record in caplog.records] == [ZeroDivisionError]


async def test_a_body_is_not_waited_for(address):
    answer = await asked(address, GET + b"Content-Length: 1000000000\r\n\r\nx")
    assert answer.startswith("HTTP/1.1 200 ")


async def test_who_says_nothing_is_cut_off_in_the_end(address, monkeypatch):
    monkeypatch.setattr(http_server, "CONNECTION_S", 1.0)
    for said in (b"", GET):
        async with connected(address) as client:
            await client.say(said)
            assert await client.hear() == ""


async def test_who_goes_on_slowly_is_cut_off_as_well(address, monkeypatch):
    """A time-out that every byte starts anew would be none."""
    monkeypatch.setattr(http_server, "CONNECTION_S", 1.0)
    async with connected(address) as client:
        await client.say(GET)
        async with asyncio.timeout(40):
            while not client.is_cut_off():
                try:
                    await client.say(b"A: x\r\n")
                except ConnectionError:
                    break
                await asyncio.sleep(0.05)


async def test_those_who_wait_do_not_keep_a_probe_out(address):
    """However many there are: only the last few of them are kept."""
    async with AsyncExitStack() as stack:
        silent = []
        for _ in range(4 * http_server.MAX_CONNECTIONS):
            client = await stack.enter_async_context(connected(address))
            await client.say(GET)
            silent.append(client)
        assert (await asked(address, GET + b"\r\n")).startswith("HTTP/1.1 200 ")
        first, last = (
            silent[: -http_server.MAX_CONNECTIONS],
            silent[1 - http_server.MAX_CONNECTIONS :],
        )
        async with asyncio.timeout(40):
            while not all(client.is_cut_off() for client in first):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        assert not any(client.is_cut_off() for client in last)


async def test_many_scrapes_at_once_are_all_answered_in_the_end(address, monkeypatch):
    monkeypatch.setattr(http_server, "MAX_CONNECTIONS", 100)
    request = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"
    answers = await asyncio.gather(*(asked(address, request) for _ in range(90)))
    assert all("extip_addresses_up" in answer for answer in answers)
