"""A small HTTP server that a stranger on the network cannot keep busy.

Whoever reaches the port may ask, so no client, slow, silent or one of thousands, may keep extip
from its work: one request a connection, few connections, and each for a few seconds unless a
handler keeps it. With TLS a connection counts, and its time runs, from its first packet on: one
that never ends its handshake is one of few, too, and is cut off as soon.
"""

import asyncio
from asyncio.sslproto import SSLProtocol
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any

from aiohttp import web

from extip.errors import ConfigurationError
from extip.tls import Certificate

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

_GOODBYE_S = 1.0
"""How long a client may take to end TLS in order, once it has its answer."""


class BoundedServer:
    """Serves on one TCP port until cancelled."""

    def __init__(
        self,
        listen: tuple[str, int],
        answer: Answer,
        *,
        flag: str,
        what: str,
        certificate: Certificate | None = None,
    ) -> None:
        """Compose; `flag` and `what` (it serves) are for the text of an error.

        With a certificate it speaks TLS alone.
        """
        self._host, self._port = listen
        self._answer = answer
        self._flag, self._what = flag, what
        self._certificate = certificate
        self._ends = _Ends()

    async def run(self) -> None:
        """Serve; raises ConfigurationError without an address to bind or a certificate."""
        if self._certificate is not None:
            self._certificate.load()
        server = _Server(self._guarded, self._ends, self._certificate, access_log=None, **_LIMITS)
        runner = web.ServerRunner(server, shutdown_timeout=_SHUTDOWN_S)
        await runner.setup()
        try:
            await self._bind(runner)
            await asyncio.get_running_loop().create_future()  # until cancelled
        finally:
            await runner.cleanup()
            self._ends.cut_all()

    def keep(self, request: web.BaseRequest) -> None:
        """Let a connection last longer than `CONNECTION_S`; it still counts as one of few."""
        self._ends.keep(request.protocol)

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
            _sign(response)
        return response


def _sign(response: web.StreamResponse) -> None:
    response.headers["Server"] = "extip"  # not which versions of what
    response.force_close()


class _Ends:
    """The connections, the oldest first, each with the timer that cuts it off."""

    def __init__(self) -> None:
        self._ends: dict[asyncio.BaseProtocol, tuple[asyncio.Transport, asyncio.TimerHandle]] = {}

    def add(self, handler: asyncio.BaseProtocol, transport: asyncio.Transport) -> None:
        """Take a connection on, in place of the oldest when there are enough."""
        if len(self._ends) >= MAX_CONNECTIONS:
            oldest, timer = self._ends.pop(next(iter(self._ends)))
            timer.cancel()
            oldest.abort()
        loop = asyncio.get_running_loop()
        self._ends[handler] = transport, loop.call_later(CONNECTION_S, transport.abort)

    def keep(self, handler: asyncio.BaseProtocol) -> None:
        """Let a connection last."""
        if handler in self._ends:
            self._ends[handler][1].cancel()

    def forget(self, handler: asyncio.BaseProtocol) -> None:
        """Forget a connection that has ended."""
        _, timer = self._ends.pop(handler, (None, None))
        if timer is not None:
            timer.cancel()

    def cut_all(self) -> None:
        """Cut all off: those without a request yet are known here alone."""
        for handler, (transport, _) in list(self._ends.items()):
            self.forget(handler)
            transport.abort()


class _Server(web.Server):
    """Keeps few connections, each for a short time."""

    def __init__(
        self,
        handler: Any,  # noqa: ANN401 - as there
        ends: _Ends,
        certificate: Certificate | None,
        **limits: Any,  # noqa: ANN401
    ) -> None:
        super().__init__(handler, **limits)
        self._limits = limits
        self._ends = ends
        self._certificate = certificate

    def __call__(self) -> Any:  # noqa: ANN401 - a handler, or what is between it and the socket
        """Return the protocol of a new connection."""
        handler = _Handler(self, loop=asyncio.get_running_loop(), **self._limits)
        if self._certificate is None:
            return handler
        return _Tls(handler, self._ends, self._certificate)

    def connection_made(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        """Take a connection on; one with TLS is known since before its handshake."""
        super().connection_made(handler, transport)
        if self._certificate is None:
            self._ends.add(handler, transport)

    def connection_lost(
        self, handler: web.RequestHandler, exc: BaseException | None = None
    ) -> None:
        """Forget a connection."""
        self._ends.forget(handler)
        super().connection_lost(handler, exc)


class _Handler(web.RequestHandler):
    """Answers what is no sound request, and logs none: whoever reaches the port can send many."""

    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = HTTPStatus.INTERNAL_SERVER_ERROR,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Return the answer; only a failure of extip itself is logged."""
        if status == HTTPStatus.BAD_REQUEST and request.writer.output_size == 0:
            response: web.StreamResponse = web.Response(status=status)
        else:
            response = super().handle_error(request, status, exc, message)
        _sign(response)
        return response


class _Tls(SSLProtocol):
    """TLS between a socket and a handler, as asyncio makes it for a server.

    asyncio tells nobody of a connection whose handshake has not ended. So this tells of it.
    """

    def __init__(self, handler: web.RequestHandler, ends: _Ends, certificate: Certificate) -> None:
        super().__init__(
            asyncio.get_running_loop(),
            handler,
            certificate.context(),
            None,  # type: ignore[arg-type]  # nobody waits for the end of the handshake
            server_side=True,
            ssl_shutdown_timeout=_GOODBYE_S,
        )
        self._handler, self._ends = handler, ends

    def connection_made(self, transport: Any) -> None:  # noqa: ANN401 - as there
        """Take the connection on, and begin the handshake."""
        self._ends.add(self._handler, transport)
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Forget the connection, also one that never had a request."""
        self._ends.forget(self._handler)
        super().connection_lost(exc)
