"""Serves the page and its stream of changes (server-sent events, WHATWG HTML section 9.2).

Nobody can change anything by it. It asks for no password, so it belongs on loopback, and is reached
by `kubectl port-forward` or ssh. A page of another site that a person has open cannot read it: it
is answered only under an IP address or `localhost`, which no name of another site is (DNS
rebinding).
"""

import re
from contextlib import aclosing, suppress
from ipaddress import ip_address
from pathlib import Path

import msgspec
from aiohttp import web

from extip.clock import LoopClock
from extip.http_server import BoundedServer
from extip.page.feed import Feed, TooSlowError
from extip.page.policy.view import Update

_STATIC = Path(__file__).parent / "static"
_FILES = {
    "/": ("index.html", "text/html"),
    "/page.css": ("page.css", "text/css"),
    "/page.js": ("page.js", "text/javascript"),
}
_STREAM = "/stream"
_PORT = re.compile(r":\d+\Z")

_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}

_RETRY_MS = 1000
"""A browser whose stream ended asks again after so long."""


class PageServer:
    """Serves on one TCP port until cancelled."""

    def __init__(self, listen: tuple[str, int], feed: Feed) -> None:
        self._server = BoundedServer(listen, self._answer, flag="--ui", what="page")
        self._feed = feed
        self._clock = LoopClock()

    async def run(self) -> None:
        """Serve; raises ConfigurationError when the address cannot be bound."""
        await self._server.run()

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        if not _is_direct(request.host):
            text = (
                "ask for this page under an IP address or localhost, as kubectl port-forward does"
            )
            return web.Response(status=421, text=f"{text}\n")  # Misdirected Request, RFC 9110
        if request.path == _STREAM and request.method == "GET":
            return await self._stream(request)
        if request.path not in _FILES:
            return web.Response(status=404)
        name, content_type = _FILES[request.path]
        text = (_STATIC / name).read_text()
        return web.Response(text=text, content_type=content_type, headers=_HEADERS)

    async def _stream(self, request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse(headers={**_HEADERS, "Content-Type": "text/event-stream"})
        response.force_close()
        self._server.keep(request)
        await response.prepare(request)
        await response.write(b"retry: %d\n\n" % _RETRY_MS)
        with suppress(ConnectionError, TooSlowError):
            async with aclosing(self._feed.updates()) as updates:
                async for update in updates:
                    await response.write(_event(update))  # waits only for a full socket
                    await self._clock.sleep(0)  # other tasks come before the next part
        return response


def _event(update: Update) -> bytes:
    """Return an event of the stream; a comment for an update without content."""
    return b"data: %b\n\n" % msgspec.json.encode(update) if update else b":\n\n"


def _is_direct(host: str) -> bool:
    """Whether a request names this server by an address or as localhost, and not by a DNS name."""
    name = host.rpartition(":")[0] if _PORT.search(host) else host
    if name.lower() == "localhost":
        return True
    try:
        ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True
