"""A small HTTP API server on 127.0.0.1 that can misbehave as real ones, and what sits before them.

It serves a `FakeApiServer`'s Services, and any other path as a plain store of JSON objects. A fault
takes the place of an answer: queue some with `faults`, or set one for good with `always`.
"""

import asyncio
import gzip
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import msgspec

from extip.errors import ApiError
from tests.fakes.api_server import FakeApiServer

SERVICES_PATH = "/api/v1/services"


@dataclass(frozen=True)
class Received:
    """A request."""

    at_s: float
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes

    @property
    def is_watch(self) -> bool:
        return self.query.get("watch") == "1"


class Exchange:
    """A request, and the means to answer it."""

    def __init__(self, server: "HttpApiServer", request: Received, writer: asyncio.StreamWriter):
        self.server = server
        self.request = request
        self.writer = writer
        self.keep_alive = True

    async def answer(
        self, status: int, body: object, *, content_type: str = "application/json", **headers: str
    ) -> None:
        """Send a whole answer; `body` is bytes, or anything that encodes to JSON."""
        raw = body if isinstance(body, bytes) else msgspec.json.encode(body)
        if "gzip" in self.request.headers["accept-encoding"] and len(raw) > 2**17:
            raw, headers["Content-Encoding"] = gzip.compress(raw, 1), "gzip"
        self._head(
            status, {"Content-Type": content_type, "Content-Length": str(len(raw))} | headers
        )
        self.writer.write(raw)
        await self.writer.drain()

    def start(self) -> None:
        """Begin a stream."""
        self._head(200, {"Content-Type": "application/json", "Transfer-Encoding": "chunked"})

    async def chunk(self, data: bytes) -> None:
        self.writer.write(b"%x\r\n%s\r\n" % (len(data), data))
        await self.writer.drain()

    async def event(self, kind: str, body: object) -> None:
        await self.chunk(msgspec.json.encode({"type": kind, "object": body}) + b"\n")

    def end(self) -> None:
        self.writer.write(b"0\r\n\r\n")

    def close(self) -> None:
        self.keep_alive = False

    def _head(self, status: int, headers: dict[str, str]) -> None:
        lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        self.writer.write("\r\n".join([*lines, "", ""]).encode())


Fault = Callable[[Exchange], Awaitable[None]]


async def half_open(_: Exchange) -> None:
    """Never answer, as behind a firewall that lost the connection."""
    await asyncio.get_running_loop().create_future()


async def half_refused(exchange: Exchange) -> None:
    """Refuse, and never send the body that was announced."""
    exchange.writer.write(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 200\r\n\r\n")
    await half_open(exchange)


async def closed(exchange: Exchange) -> None:
    """Close the connection without an answer."""
    exchange.close()


async def ended_at_once(exchange: Exchange) -> None:
    """Open the stream, and end it."""
    exchange.start()
    exchange.end()


async def truncated(exchange: Exchange) -> None:
    """Break off in the middle of a chunk."""
    exchange.start()
    exchange.writer.write(b'1000\r\n{"type":"ADDED","obj')
    await exchange.writer.drain()
    exchange.close()


async def bad_framing(exchange: Exchange) -> None:
    """Send something that is no chunk where one should begin, and stay."""
    exchange.start()
    exchange.writer.write(b"HTTP/1.1 502 Bad Gateway\r\n\r\n")
    await exchange.writer.drain()
    await half_open(exchange)


async def cut_line(exchange: Exchange) -> None:
    """End the stream properly, but in the middle of a line."""
    exchange.start()
    await exchange.chunk(b'{"type":"ADDED","obj')
    exchange.end()


def line(data: bytes) -> Fault:
    """Open the stream, and send that."""

    async def fault(exchange: Exchange) -> None:
        exchange.start()
        await exchange.chunk(data)
        await asyncio.get_running_loop().create_future()

    return fault


def refused(status: int, body: bytes = b"", **headers: str) -> Fault:
    """Answer so, in plain text, as proxies and overloaded servers do."""

    async def fault(exchange: Exchange) -> None:
        await exchange.answer(status, body, content_type="text/plain", **headers)

    return fault


def status(code: int, reason: str, message: str, *, name: str = "") -> Fault:
    """Answer with a Status object; `name` is that of the object that it is about."""

    async def fault(exchange: Exchange) -> None:
        await exchange.answer(code, status_body(code, reason, message, name=name))

    return fault


def error_event(code: int, reason: str, message: str) -> Fault:
    """Answer with a stream whose only event is an error."""
    event = {"type": "ERROR", "object": status_body(code, reason, message)}
    return line(msgspec.json.encode(event) + b"\n")


def slow(seconds: float) -> Fault:
    """Answer as usual, later."""

    async def fault(exchange: Exchange) -> None:
        await asyncio.sleep(seconds)
        await exchange.server.serve(exchange)

    return fault


def status_body(code: int, reason: str, message: str, *, name: str = "") -> dict[str, Any]:
    return {
        "kind": "Status",
        "status": "Failure",
        "code": code,
        "reason": reason,
        "message": message,
        "details": {"name": name},
    }


class HttpApiServer:
    """Listens while its context is open."""

    def __init__(self, api: FakeApiServer | None = None) -> None:
        self.api = api or FakeApiServer()
        self.objects: dict[str, dict[str, Any]] = {}
        self.requests: list[Received] = []
        self.faults: deque[Fault] = deque()
        self.always: Fault | None = None
        self.only_watches = False
        """Faults hit watches, not lists."""
        self.accepts = ""
        """The only bearer token that is accepted; empty accepts all."""
        self.url = ""
        self._tasks: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def listening(self) -> AsyncIterator["HttpApiServer"]:
        listener = await asyncio.start_server(self._connected, "127.0.0.1", 0, limit=2**22)
        self.url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
        try:
            yield self
        finally:
            listener.close()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await listener.wait_closed()

    async def serve(self, exchange: Exchange) -> None:
        """Answer as a healthy server."""
        request = exchange.request
        if self.accepts and request.headers.get("authorization") != f"Bearer {self.accepts}":
            body = status_body(401, "Unauthorized", "Unauthorized")
            await exchange.answer(401, body)
        elif request.path != SERVICES_PATH:
            await self._serve_object(exchange)
        elif request.is_watch:
            await self._serve_watch(exchange)
        else:
            page = await self.api.list(resource_version=request.query.get("resourceVersion", ""))
            await exchange.answer(
                200, {"metadata": {"resourceVersion": page.resource_version}, "items": page.items}
            )

    async def _serve_watch(self, exchange: Exchange) -> None:
        query = exchange.request.query
        opening = self.api.watch(
            resource_version=query["resourceVersion"], timeout_s=int(query["timeoutSeconds"])
        )
        started = False
        try:
            async with opening as events:
                exchange.start()
                started = True
                await exchange.writer.drain()
                async for event in events:
                    await exchange.chunk(msgspec.json.encode(event) + b"\n")
                exchange.end()
        except ApiError as error:
            if started:  # as when the server is killed
                exchange.close()
                return
            await exchange.answer(error.status, status_body(error.status, "Expired", str(error)))

    async def _serve_object(self, exchange: Exchange) -> None:
        """Keep JSON objects by path: create, get, replace, merge-patch, delete."""
        request = exchange.request
        sent = msgspec.json.decode(request.body) if request.body else {}
        path = request.path
        if request.method == "POST":
            path = f"{path}/{sent['metadata']['name']}"
            if path in self.objects:
                await exchange.answer(409, status_body(409, "AlreadyExists", f"{path} exists"))
                return
        elif path not in self.objects:
            name = path.removesuffix("/status").rpartition("/")[2]
            await exchange.answer(404, status_body(404, "NotFound", f"{path} not found", name=name))
            return
        known = self.objects.get(path, {})
        if request.method == "DELETE":
            required = sent.get("preconditions", {})
            if any(known["metadata"].get(key) != value for key, value in required.items()):
                await exchange.answer(409, status_body(409, "Conflict", f"{path} changed"))
                return
            await exchange.answer(200, self.objects.pop(path))
            return
        if request.method == "PUT" and _version(sent) not in ("", _version(known)):
            await exchange.answer(409, status_body(409, "Conflict", f"{path} changed"))
            return
        if request.method != "GET":
            self.api.revision += 1
            new = merged(known, sent) if request.method == "PATCH" else sent
            meta = {"uid": f"{path}-{self.api.revision}"} | new["metadata"]
            meta |= {"resourceVersion": str(self.api.revision)}
            self.objects[path] = new | {"metadata": meta}
        await exchange.answer(201 if request.method == "POST" else 200, self.objects[path])

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            while await self._exchange(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the client went away
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        method, target, _ = head[0].split(" ")
        headers = {
            name.lower(): value for name, _, value in (h.partition(": ") for h in head[1:] if h)
        }
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        url = urlsplit(target)
        request = Received(
            asyncio.get_running_loop().time(),
            method,
            url.path,
            dict(parse_qsl(url.query)),
            headers,
            body,
        )
        self.requests.append(request)
        exchange = Exchange(self, request, writer)
        await self._pick(request)(exchange)
        await writer.drain()
        return exchange.keep_alive

    def _pick(self, request: Received) -> Fault:
        if self.only_watches and not request.is_watch:
            return self.serve
        if self.faults:
            return self.faults.popleft()
        return self.always or self.serve


def _version(body: dict[str, Any]) -> str:
    version: str = body.get("metadata", {}).get("resourceVersion", "")
    return version


def merged(known: dict[str, Any], patch: dict[str, Any]) -> dict[str, Any]:
    """Merge as RFC 7396 says."""
    result = dict(known)
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        elif isinstance(value, dict):
            result[name] = merged(result.get(name) or {}, value)
        else:
            result[name] = value
    return result
