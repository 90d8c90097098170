"""The HTTP endpoints: ``/livez``, ``/readyz`` and ``/metrics``; and ``/metrics`` alone elsewhere.

Liveness answers whether this process still works; it never depends on the API server, since
restarting extip cannot mend that. Readiness names each condition that does not hold.

Whoever reaches the port may ask, so no client, slow, silent or one of thousands, may keep extip
from its work: one request a connection, few connections, each for a few seconds, and one page of
metrics made at a time.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from extip.clock import LoopClock
from extip.errors import ConfigurationError

Check = Callable[[], str]
"""Returns the empty string when all is well, otherwise what is in the way."""

MAX_CONNECTIONS = 32
"""A kubelet's probes and a few scrapers need one each, for milliseconds. When one more comes, the
oldest is cut off: it is the one that has kept silent the longest, and a probe gets through."""

CONNECTION_S = 10.0
"""A connection is cut off this long after it was made; scrapers wait for 10 s by default."""

_LIMITS = {"max_line_size": 4096, "max_headers": 64, "max_field_size": 8190, "lingering_time": 0.0}
"""Limits of a request, in bytes. Its body is not read."""

_BACKLOG = 32
"""Connections that the kernel keeps waiting, and that are taken on between two other tasks."""

_SHUTDOWN_S = 0.5


Page = Callable[[str], Awaitable[web.Response]]
"""Makes a page for the client that has this IP."""


class MetricsPage:
    """The metrics, for those who may read them; it is made once at a time, however many ask."""

    def __init__(self, registry: CollectorRegistry, *, may_read: Callable[[str], bool]) -> None:
        self._registry = registry
        self._may_read = may_read
        self._clock = LoopClock()
        self._rendering = asyncio.Lock()

    async def __call__(self, client: str) -> web.Response:
        """Return the page, or 403 with the address as it was seen: it may be a translated one."""
        if not self._may_read(client):
            return web.Response(status=403, text=f"{client}: not in --metrics-allow-cidr\n")
        async with self._rendering:
            body = generate_latest(self._registry)
            await self._clock.sleep(0)  # other tasks come before the next one
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})


def health_pages(live: Mapping[str, Check], ready: Mapping[str, Check]) -> dict[str, Page]:
    """Return the pages that tell whether this process works, and whether it is of use now."""

    async def livez(_client: str) -> web.Response:
        return _report(live)

    async def readyz(_client: str) -> web.Response:
        return _report(ready)

    return {"/livez": livez, "/healthz": livez, "/readyz": readyz}


class HttpServer:
    """Serves pages on one TCP port until cancelled; `flag` is the one that says where."""

    def __init__(self, listen: tuple[str, int], pages: Mapping[str, Page], *, flag: str) -> None:
        self._host, self._port = listen
        self._pages = pages
        self._flag = flag

    async def run(self) -> None:
        """Serve; raises ConfigurationError when the address cannot be bound."""
        runner = web.ServerRunner(
            _BoundedServer(self._answer, access_log=None, **_LIMITS), shutdown_timeout=_SHUTDOWN_S
        )
        await runner.setup()
        try:
            await self._bind(runner)
            await asyncio.get_running_loop().create_future()  # until cancelled
        finally:
            await runner.cleanup()

    async def _bind(self, runner: web.ServerRunner) -> None:
        try:
            await web.TCPSite(runner, self._host, self._port, backlog=_BACKLOG).start()
        except OSError as error:
            raise ConfigurationError(
                f"{self._flag}: cannot listen on {self._host}:{self._port} ({error.strerror}); "
                "choose another address, or an empty one for no endpoint"
            ) from error

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        page = self._pages.get(request.path)
        if request.method not in ("GET", "HEAD"):
            response = web.Response(status=405, headers={"Allow": "GET, HEAD"})
        elif page is None:
            response = web.Response(status=404)
        else:
            response = await page(request.remote or "")
        response.headers["Server"] = "extip"  # not which versions of what
        response.force_close()
        return response


class _BoundedServer(web.Server):
    """Keeps few connections, each for a short time."""

    def __init__(self, handler: Any, **limits: Any) -> None:  # noqa: ANN401 - as in the library
        super().__init__(handler, **limits)
        self._ends: dict[web.RequestHandler, tuple[asyncio.Transport, asyncio.TimerHandle]] = {}

    def connection_made(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        """Take a connection on, in place of the oldest when there are enough."""
        super().connection_made(handler, transport)
        if len(self._ends) >= MAX_CONNECTIONS:
            oldest, timer = self._ends.pop(next(iter(self._ends)))
            timer.cancel()
            oldest.abort()
        loop = asyncio.get_running_loop()
        self._ends[handler] = transport, loop.call_later(CONNECTION_S, transport.abort)

    def connection_lost(
        self, handler: web.RequestHandler, exc: BaseException | None = None
    ) -> None:
        """Forget a connection."""
        _, timer = self._ends.pop(handler, (None, None))
        if timer is not None:
            timer.cancel()
        super().connection_lost(handler, exc)


def _report(checks: Mapping[str, Check]) -> web.Response:
    """Answer 200 ``ok``, or 503 with a line for each check, failed ones with their reason."""
    failures = {name: reason for name, check in checks.items() if (reason := check())}
    if not failures:
        return web.Response(text="ok\n")
    lines = [
        f"[-] {name}: {failures[name]}" if name in failures else f"[+] {name}" for name in checks
    ]
    return web.Response(status=503, text="\n".join(lines) + "\n")
