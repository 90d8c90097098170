"""One HTTP request to the API server: authorised, bounded in time, counted, errors translated.

Nothing here logs: bodies hold Secrets, headers hold tokens.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from ipaddress import ip_address
from urllib.parse import urlsplit

import aiohttp
from aiohttp.http import HttpProcessingError
from yarl import URL

from extip import __version__
from extip.api.names import FIELD_MANAGER
from extip.errors import ApiUnavailableError
from extip.kube.codec import error_of_body, one_line
from extip.kube.config import ApiEndpoint
from extip.kube.sockets import resolve
from extip.metrics import Metrics

CONNECT_TIMEOUT_S = 10.0
"""Bound on TCP and TLS; a node on the same network answers within milliseconds."""

READ_BUFFER_B = 2**21
"""aiohttp takes lines up to twice this; an object in etcd may have 1.5 MiB."""

_ERROR_BODY_B = 2**16
"""How much of an error's body is read."""

_ERROR_BODY_S = 5.0
"""Bound on reading it. A watch has no bound on the whole, and the connection may break unheard."""

NETWORK_ERRORS = (aiohttp.ClientError, HttpProcessingError, OSError, TimeoutError)
"""Errors of aiohttp for a failed request or stream."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request to the API server."""

    verb: str
    """The verb of RBAC: ``get``, ``list``, ``watch``, ``create``, ``update``, ``patch``, ..."""
    what: str
    """The resource, and the object if it is one, for error texts."""
    path: str
    method: str = "GET"
    query: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    content_type: str = "application/json"
    about_one: bool = False
    """It is about one object, which a 404 has to name."""
    about_leases: bool = False
    """It is a heartbeat, or about the lead: it must not wait for what has time."""
    compressed: bool = False
    """Ask for gzip, unless the server is on this machine: it saves the wire, not the time."""
    timeout: aiohttp.ClientTimeout
    open_timeout_s: float | None = None
    """Bound on the time until the answer begins, where `timeout` has no total."""

    def __str__(self) -> str:
        """Return verb and resource: ``list services``."""
        return f"{self.verb} {self.what}".rstrip()


class HttpTransport:
    """Sends requests over the sessions of an endpoint; implements `client.Transport`."""

    def __init__(self, endpoint: ApiEndpoint, metrics: Metrics) -> None:
        self._endpoint = endpoint
        self._requests = metrics.api_requests
        self._compress = not _is_loopback(endpoint.server)
        self.server_time_s: float | None = None
        """The `Date` of the last answer about a Lease, in seconds since the epoch."""

    async def addresses(self) -> frozenset[str]:
        """Return the IPs of the API server; none when its name does not resolve now."""
        return await resolve(urlsplit(self._endpoint.server).hostname or "")

    @asynccontextmanager
    async def open(self, request: Request) -> AsyncIterator[Callable[[], Awaitable[bytes]]]:
        """Send, and yield how to read the lines of a successful answer while they come."""
        async with self._open(request) as response:

            async def readline() -> bytes:
                try:
                    return await response.content.readline()
                except NETWORK_ERRORS as error:
                    raise self._unavailable(request, error) from error

            yield readline

    @asynccontextmanager
    async def _open(self, request: Request) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send, and yield a successful response whose body is still to be read.

        Raises the `ApiError` that fits. After a 401 the credentials are read anew and, if they
        differ, tried once. Leaving the block before the end of the body closes the connection.
        """
        credentials = self._endpoint.credentials
        header = await credentials.header()
        response = await self._send(request, header)
        unauthorized = response.status == HTTPStatus.UNAUTHORIZED
        if unauthorized and await credentials.rejected(header):
            response.close()
            response = await self._send(request, await credentials.header())
        try:
            if not HTTPStatus.OK <= response.status < HTTPStatus.MULTIPLE_CHOICES:
                await self._refuse(request, response)
            yield response
        finally:
            # Back to the pool when the body was read to its end. Otherwise there is nothing to wait
            # for: a polite end of TLS would keep the connection until the server answers it.
            if response.connection is not None and response.connection.transport is not None:
                response.connection.transport.abort()
            response.release()

    async def read(self, request: Request) -> bytearray:
        """Send, and return the whole body, held in memory once."""
        async with self._open(request) as response:
            body = bytearray()
            try:
                async for chunk in response.content.iter_any():
                    body += chunk
            except NETWORK_ERRORS as error:
                raise self._unavailable(request, error) from error
            return body

    def _unavailable(self, request: Request, error: Exception) -> ApiUnavailableError:
        """Say for a person why there is no answer; names the server."""
        return ApiUnavailableError(_explain(error, self._endpoint.server), request=str(request))

    async def _send(self, request: Request, authorization: str) -> aiohttp.ClientResponse:
        endpoint = self._endpoint
        headers = {
            "Accept": "application/json",
            "Accept-Encoding": "gzip" if request.compressed and self._compress else "identity",
            "User-Agent": f"{FIELD_MANAGER}/{__version__}",
        }
        if authorization:
            headers["Authorization"] = authorization
        if request.body is not None:
            headers["Content-Type"] = request.content_type
        try:
            async with asyncio.timeout(request.open_timeout_s):
                response = await self._session(request).request(
                    request.method,
                    endpoint.server + request.path,
                    params=request.query,
                    data=request.body,
                    headers=headers,
                    timeout=request.timeout,
                    allow_redirects=False,  # the token is for this server alone
                    proxy=endpoint.proxy,
                    server_hostname=endpoint.tls_server_name,
                    read_bufsize=READ_BUFFER_B,
                )
        except NETWORK_ERRORS as error:
            self._requests.labels(request.verb, "0").inc()
            raise self._unavailable(request, error) from error
        self._requests.labels(request.verb, str(response.status)).inc()
        if request.about_leases:
            self.server_time_s = _time_s(response.headers.get("Date", ""))
        return response

    def _session(self, request: Request) -> aiohttp.ClientSession:
        if request.verb == "watch":
            return self._endpoint.streams
        return self._endpoint.leases if request.about_leases else self._endpoint.session

    async def _refuse(self, request: Request, response: aiohttp.ClientResponse) -> None:
        try:
            async with asyncio.timeout(_ERROR_BODY_S):
                body = await response.content.read(_ERROR_BODY_B)
        except NETWORK_ERRORS:
            body = b""  # the status says enough
        raise error_of_body(
            response.status,
            body,
            request=str(request),
            retry_after_s=_retry_after_s(response.headers.get("Retry-After", "")),
            about_one=request.about_one,
        )


def _explain(error: Exception, server: str) -> str:
    match error:
        case aiohttp.ClientConnectorError():
            text = _explain_connecting(error, server)
        case aiohttp.ConnectionTimeoutError():
            text = f"cannot connect to {server}: timed out"
        case TimeoutError():
            text = f"no answer from {server} in time"
        case aiohttp.ClientHttpProxyError():  # its own text has the password for the proxy
            text = f"the proxy before {server} answers {error.status}"
        case aiohttp.ServerDisconnectedError():
            text = f"{server} closed the connection"
        case aiohttp.ClientPayloadError():
            text = f"the answer of {server} broke off"
        case _:
            text = f"{server}: {one_line(str(error)) or type(error).__name__}"
    return text


def _explain_connecting(error: aiohttp.ClientConnectorError, server: str) -> str:
    if _is_of_proxy(error, server):
        server = f"the proxy {error.host}:{error.port}"
    match error:
        case aiohttp.ClientConnectorCertificateError():
            reason = error.certificate_error
            text = getattr(reason, "verify_message", "") or str(reason)
            return f"the certificate of {server} is not trusted: {one_line(text)}"
        case aiohttp.ClientSSLError():
            return f"TLS with {server} failed: {one_line(str(error.os_error))}"
        case aiohttp.ClientConnectorDNSError():
            return f"the name of {server} does not resolve: {error.os_error.strerror}"
        case _:
            # asyncio's own text names the address again, but not what happened.
            number = error.os_error.errno
            text = os.strerror(number) if number else one_line(str(error.os_error))
            return f"cannot connect to {server}: {text}"


def _is_of_proxy(error: aiohttp.ClientConnectorError, server: str) -> bool:
    named = isinstance(
        error, aiohttp.ClientConnectorDNSError
    )  # never the server's when it is an IP
    other = named and error.host != URL(server).raw_host
    return other or isinstance(error, aiohttp.ClientProxyConnectionError)


def _retry_after_s(header: str) -> float | None:
    """Return the seconds; API servers send no dates, and a date is no more than a hint."""
    return float(header) if header.isascii() and header.isdigit() else None


def _time_s(header: str) -> float | None:
    """Return an HTTP date in seconds since the epoch; None for what is none."""
    try:
        return parsedate_to_datetime(header).timestamp()
    except (ValueError, OverflowError):
        return None


def _is_loopback(server: str) -> bool:
    host = urlsplit(server).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
