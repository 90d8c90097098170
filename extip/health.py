"""The HTTP endpoints: ``/livez``, ``/readyz`` and ``/metrics``; and ``/metrics`` alone elsewhere.

Liveness answers whether this process still works; it never depends on the API server, since
restarting extip cannot mend that. Readiness names each condition that does not hold. One page of
metrics is made at a time.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from extip.clock import LoopClock
from extip.http_server import BoundedServer
from extip.tls import Certificate

Check = Callable[[], str]
"""Returns the empty string when all is well, otherwise what is in the way."""

Page = Callable[[web.BaseRequest], Awaitable[web.Response]]
"""Makes a page for whoever asks."""


class MetricsPage:
    """The metrics; they are made once at a time, however many ask."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self._clock = LoopClock()
        self._rendering = asyncio.Lock()

    async def __call__(self, _request: web.BaseRequest) -> web.Response:
        """Return the page."""
        async with self._rendering:
            body = generate_latest(self._registry)
            await self._clock.sleep(0)  # other tasks come before the next one
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})


def shown_to(page: Page, may_read: Callable[[str], bool], *, otherwise: str) -> Page:
    """Return the page for clients whose IP may read it.

    Others get 403 with their address as it was seen: it may be a translated one.
    """

    async def shown(request: web.BaseRequest) -> web.Response:
        client = request.remote or ""
        if may_read(client):
            return await page(request)
        return web.Response(status=403, text=f"{client}: {otherwise}\n")

    return shown


def health_pages(live: Mapping[str, Check], ready: Mapping[str, Check]) -> dict[str, Page]:
    """Return the pages that tell whether this process works, and whether it is of use now."""

    async def livez(_request: web.BaseRequest) -> web.Response:
        return _report(live)

    async def readyz(_request: web.BaseRequest) -> web.Response:
        return _report(ready)

    return {"/livez": livez, "/healthz": livez, "/readyz": readyz}


class HttpServer:
    """Serves pages on one TCP port until cancelled; `flag` is the one that says where."""

    def __init__(
        self,
        listen: tuple[str, int],
        pages: Mapping[str, Page],
        *,
        flag: str,
        certificate: Certificate | None = None,
    ) -> None:
        self._server = BoundedServer(
            listen, self._answer, flag=flag, what="endpoint", certificate=certificate
        )
        self._pages = pages

    async def run(self) -> None:
        """Serve; raises ConfigurationError without an address to bind or a certificate."""
        await self._server.run()

    async def _answer(self, request: web.BaseRequest) -> web.Response:
        page = self._pages.get(request.path)
        return web.Response(status=404) if page is None else await page(request)


def _report(checks: Mapping[str, Check]) -> web.Response:
    """Answer 200 ``ok``, or 503 with a line for each check, failed ones with their reason."""
    failures = {name: reason for name, check in checks.items() if (reason := check())}
    if not failures:
        return web.Response(text="ok\n")
    lines = [
        f"[-] {name}: {failures[name]}" if name in failures else f"[+] {name}" for name in checks
    ]
    return web.Response(status=503, text="\n".join(lines) + "\n")
