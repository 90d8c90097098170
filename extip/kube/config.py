"""Where the API server is and who we are there, as kubernetes_asyncio reads it.

A new CA bundle or client certificate is picked up by a restart; a new token without one.
"""

import re
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
from yarl import URL

from extip.clock import Clock
from extip.errors import ConfigurationError
from extip.kube.codec import one_line
from extip.kube.credentials import Credentials, load_in_time
from extip.kube.kubeconfig import choose_context
from extip.kube.loaders import ClientConfiguration, loaders
from extip.kube.sockets import open_socket

_SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")

_READY_S = 3.0
"""How long a connection is kept for the next request. That serves bursts; what is older than a
death takes to be found (`--monitor`) may have died of the same cause."""

_CONNECTIONS = 100
"""At most at once for each kind of request; those that last, watches, are not among them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiEndpoint:
    """How to reach the API server."""

    session: aiohttp.ClientSession
    streams: aiohttp.ClientSession
    """For watches. Each has a connection of its own, opened for it: one that lies ready since an
    earlier request may be dead by now, and a watch is what everything waits for."""
    leases: aiohttp.ClientSession
    """For heartbeats and election. A call that is not answered costs the connection that it was on;
    with those of other requests among them, one dead one after the other would be tried."""
    server: str
    """URL without a trailing slash."""
    credentials: Credentials
    proxy: str | None
    tls_server_name: str | None


@asynccontextmanager
async def open_endpoint(
    kubeconfig: str, *, context: str = "", clock: Clock, service_account: Path = _SERVICE_ACCOUNT
) -> AsyncIterator[ApiEndpoint]:
    """Read the configuration and open a session; sends nothing.

    `kubeconfig` is a path, or several as in ``$KUBECONFIG``; empty means the service account of the
    pod that this runs in. An empty `context` is the current one. Raises `ConfigurationError`, one
    line that says what to mend.
    """
    if context and not kubeconfig:
        raise ConfigurationError(f"there is no kubeconfig that could have a context {context!r}")
    source = Kubeconfig(kubeconfig, context) if kubeconfig else InCluster(service_account)
    reload = partial(load_in_time, source.reload, source=source.name)
    refresh = partial(load_in_time, source.refresh, source=source.name)
    header = await reload()
    configuration = source.configuration
    with _mended_by_a_person(source.name):
        _check_url("server", configuration.host)
        proxy = configuration.proxy or _proxy_from_environment(configuration.host)
        if proxy:
            _check_url("proxy", proxy)
        _check_server_name(configuration.tls_server_name)
        tls = configuration.tls()
    session = _session(ssl=tls, limit=_CONNECTIONS, keepalive_timeout=_READY_S)
    streams = _session(ssl=tls, limit=0, force_close=True)
    leases = _session(ssl=tls, limit=_CONNECTIONS)
    try:
        yield ApiEndpoint(
            session=session,
            streams=streams,
            leases=leases,
            server=configuration.host,
            credentials=Credentials(header, refresh=refresh, reload=reload, clock=clock),
            proxy=proxy,
            tls_server_name=configuration.tls_server_name,
        )
    finally:
        for opened in (session, streams, leases):
            await opened.close()


def _session(**connector: Any) -> aiohttp.ClientSession:  # noqa: ANN401 - as aiohttp takes them
    """Return a session whose sockets notice a dead peer.

    Without `trust_env`: that reads ~/.netrc in a thread for every request, and fails the request
    when that file names our server.
    """
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(socket_factory=open_socket, **connector)
    )


class InCluster:
    """The service account of the pod, as the kubelet mounts it."""

    name = "in-cluster configuration"

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.configuration = ClientConfiguration()

    async def reload(self) -> str:
        """Read the token file."""
        library = loaders().incluster_config
        loader = library.InClusterConfigLoader(
            token_filename=str(self._directory / "token"),
            cert_filename=str(self._directory / "ca.crt"),
            try_refresh_token=False,  # `Credentials` does it
        )
        with _mended_by_a_person(
            self.name,
            advice="not in a pod? Give --kubeconfig PATH, such as ~/.kube/config",
        ):
            configuration = ClientConfiguration()
            loader.load_and_set(configuration)
        self.configuration = configuration
        return configuration.header()

    refresh = reload


class Kubeconfig:
    """A context of one or more kubeconfig files."""

    def __init__(self, paths: str, context: str = "") -> None:
        self.name = f"kubeconfig {paths}"
        self._paths = paths
        self._context = context
        self._loader: Any = None
        self.configuration = ClientConfiguration()

    async def reload(self) -> str:
        """Read the files, and whatever they name: token file, exec plugin, identity provider."""
        with _mended_by_a_person(self.name):
            paths, context = choose_context(self._paths, self._context)
            configuration = ClientConfiguration()
            loader = await loaders().load_kube_config(
                config_file=paths, context=context, client_configuration=configuration
            )
        self.configuration, self._loader = configuration, loader
        return configuration.header()

    async def refresh(self) -> str:
        """Ask the same sources again; a plugin's token is kept until it says that it expires."""
        with _mended_by_a_person(self.name):
            await self._loader.load_and_set(self.configuration)
        return self.configuration.header()


def _proxy_from_environment(server: str) -> str | None:
    """Return what ``HTTPS_PROXY`` (``HTTP_PROXY``) says, unless ``NO_PROXY`` names the host.

    As in Go's clients, ``NO_PROXY`` may hold networks.
    """
    url = urlsplit(server)
    proxies = getproxies()
    exceptions = proxies.get("no", "").split(",")
    if proxy_bypass(url.netloc) or any(_contains(n.strip(), url.hostname) for n in exceptions):
        return None
    return proxies.get(url.scheme)


def _contains(network: str, host: str | None) -> bool:
    try:
        return ip_address(host or "") in ip_network(network)
    except ValueError:
        return False


def _check_url(what: str, text: str) -> None:
    """Find what would make every request to that URL fail. Raises ValueError.

    What it says holds no password, for it is logged.
    """
    bare = _without_user(text)
    try:
        url = URL(text)
        (url.raw_host or "").encode("idna")  # as resolving it does
    except UnicodeError:
        raise ValueError(f"the {what} {bare!r}: not a host name") from None
    except ValueError as error:
        reason = str(error) if bare == text else "not a URL"  # it may quote any part
        raise ValueError(f"the {what} {bare!r}: {reason}") from None
    if what == "server" and url.user is not None:
        raise ValueError(f"the {what} {bare!r}: user and password belong among the users")
    if url.scheme not in ("http", "https") or not url.host or not url.port:
        raise ValueError(f"the {what} {bare!r} is not http(s)://HOST:PORT")


def _check_server_name(name: object) -> None:
    """Find what would make every TLS handshake fail. Raises ValueError."""
    try:
        if name is None or (isinstance(name, str) and name.encode("idna")):
            return
    except UnicodeError:
        pass
    raise ValueError(f"the tls-server-name {name!r}: not a host name")


def _without_user(url: str) -> str:
    """Return the text without user and password, however odd the rest of it is."""
    scheme = re.match(r"[A-Za-z][A-Za-z0-9+.-]*://|", url)
    start = scheme.end() if scheme else 0
    return url[:start] + url[start:].rpartition("@")[2]


@contextmanager
def _mended_by_a_person(source: str, *, advice: str = "") -> Iterator[None]:
    """Turn whatever reading a configuration can raise into one line."""
    end = f" - {advice}" if advice else ""
    try:
        yield
    except ssl.SSLError as error:
        raise ConfigurationError(
            f"{source}: its certificates or keys are unusable: {one_line(str(error))}{end}"
        ) from error
    except OSError as error:
        what = _text(error)
        if error.filename:
            named = source.endswith(f" {error.filename}")  # the kubeconfig itself
            what = f"{'' if named else f'{error.filename}: '}{error.strerror}"
        raise ConfigurationError(f"{source}: {what}{end}") from error
    except (loaders().ConfigException, ValueError) as error:
        # The library says so also of files that may not be read.
        text = one_line(str(error)).replace("File does not exists", "cannot read the file")
        text = text.removesuffix(".") if end else text
        raise ConfigurationError(f"{source}: {text}{end}") from error
    except (aiohttp.ClientError, RuntimeError) as error:
        # The identity provider does not answer; a plugin cannot be read from.
        raise ConfigurationError(f"{source}: no credentials: {_text(error)}{end}") from error
    except (TypeError, KeyError, AttributeError, AssertionError) as error:
        # kubernetes_asyncio takes the shape of the file for granted.
        raise ConfigurationError(f"{source}: malformed: {_text(error)}{end}") from error


def _text(error: Exception) -> str:
    return one_line(str(error)) or type(error).__name__
