"""A small HTTP server that a stranger on the network cannot keep busy.

Whoever reaches the port may ask, so no client, slow, silent or one of thousands, may keep extip
from its work: one request a connection, few connections, and each for a few seconds unless a
handler keeps it.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from extip.errors import ConfigurationError

Answer = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
"""Answers a GET or HEAD; an answer that is prepared already is a stream that has ended."""

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

_Ends = dict[web.RequestHandler, tuple[asyncio.Transport, asyncio.TimerHandle]]
"""The connections, the oldest first, each with the timer that cuts it off."""


class BoundedServer:
    """Serves on one TCP port until cancelled."""

    def __init__(self, listen: tuple[str, int], answer: Answer, *, flag: str, what: str) -> None:
        """Compose; `flag` and `what` (it serves) are for the text of an error."""
        self._host, self._port = listen
        self._answer = answer
        self._flag, self._what = flag, what
        self._ends: _Ends = {}

    async def run(self) -> None:
        """Serve; raises ConfigurationError when the address cannot be bound."""
        server = _Server(self._guarded, self._ends, access_log=None, **_LIMITS)
        runner = web.ServerRunner(server, shutdown_timeout=_SHUTDOWN_S)
        await runner.setup()
        try:
            await self._bind(runner)
            await asyncio.get_running_loop().create_future()  # until cancelled
        finally:
            await runner.cleanup()

    def keep(self, request: web.BaseRequest) -> None:
        """Let a connection last longer than `CONNECTION_S`; it still counts as one of few."""
        if request.protocol in self._ends:
            self._ends[request.protocol][1].cancel()

    async def _bind(self, runner: web.ServerRunner) -> None:
        try:
            await web.TCPSite(runner, self._host, self._port, backlog=_BACKLOG).start()
        except OSError as error:
            raise ConfigurationError(
                f"{self._flag}: cannot listen on {self._host}:{self._port} ({error.strerror}); "
                f"choose another address, or an empty one for no {self._what}"
            ) from error

    async def _guarded(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.method not in ("GET", "HEAD"):
            response: web.StreamResponse = web.Response(status=405, headers={"Allow": "GET, HEAD"})
        else:
            response = await self._answer(request)
        if not response.prepared:
            response.headers["Server"] = "extip"  # not which versions of what
            response.force_close()
        return response


class _Server(web.Server):
    """Keeps few connections, each for a short time."""

    def __init__(self, handler: Any, ends: _Ends, **limits: Any) -> None:  # noqa: ANN401 - as there
        super().__init__(handler, **limits)
        self._ends = ends

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
