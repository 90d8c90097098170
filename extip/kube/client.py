"""The API server as typed calls over `Resource`; bodies go straight into small structs.

Every call is bounded in time and raises a subclass of `ApiError` whose text names the request;
`ConfigurationError` only comes from `connect`. Calls may be cancelled at any point: a write may or
may not have happened then.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from typing import Generic, Protocol, Self, TypeVar, cast

import aiohttp
import msgspec

from extip.api.meta_v1 import KubernetesObject, ObjectMeta
from extip.api.resources import LEASES, Resource
from extip.cache.listwatch import ListerWatcher, Page, Unreadable, WatchEvent
from extip.clock import Clock, LoopClock
from extip.kube.codec import ResourceCodec, version_of
from extip.kube.config import open_endpoint
from extip.kube.instance import Instance
from extip.kube.transport import CONNECT_TIMEOUT_S, HttpTransport, Request
from extip.metrics import Metrics

T = TypeVar("T", bound=KubernetesObject)

REQUEST_TIMEOUT_S = 10.0
"""Bound on reading or writing one object."""

LIST_TIMEOUT_S = 60.0
"""Bound on a list; the API server itself gives up after 60 s."""

OPEN_TIMEOUT_S = 30.0
"""Bound on the beginning of a watch, which may have to queue at a busy server."""

_JSON = "application/json"
_MERGE_PATCH = "application/merge-patch+json"  # RFC 7396


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """A selection of a resource's objects; an empty field selects all."""

    namespace: str = ""
    label_selector: str = ""
    field_selector: str = ""

    def query(self) -> dict[str, str]:
        """Return the selectors as query parameters."""
        selectors = {"labelSelector": self.label_selector, "fieldSelector": self.field_selector}
        return {name: selector for name, selector in selectors.items() if selector}


EVERYTHING = Scope()


ReadLine = Callable[[], Awaitable[bytes]]
"""Returns the next line of an answer that is still coming, empty at the end; raises ApiError."""


class Transport(Protocol):
    """The way to the API server: the network, or a server in this very process."""

    @property
    def server_time_s(self) -> float | None:
        """The server's time in its last answer about a Lease, in seconds since the epoch."""

    async def addresses(self) -> Collection[str]:
        """Return the IPs of the API server; none when its name does not resolve now."""

    async def read(self, request: Request) -> bytes | bytearray:
        """Send, and return the whole body of a successful answer. Raises ApiError."""

    def open(self, request: Request) -> AbstractAsyncContextManager[ReadLine]:
        """Send, and yield how to read a successful answer while it comes. Raises ApiError."""


@asynccontextmanager
async def connect(
    kubeconfig: str,
    *,
    metrics: Metrics,
    context: str = "",
    instance: str | None = None,
    clock: Clock | None = None,
) -> AsyncIterator["ApiClient"]:
    """Yield a client for a context of a kubeconfig, or in-cluster when that is empty.

    With an instance the client knows its objects alone (`Instance`). See `open_endpoint`. Sends
    nothing yet. Raises `ConfigurationError`.
    """
    opened = open_endpoint(kubeconfig, context=context, clock=clock or LoopClock())
    async with opened as endpoint:
        own = None if instance is None else Instance(instance)
        yield ApiClient(HttpTransport(endpoint, metrics), own)


class ApiClient:
    """Typed calls over a transport; `connect` makes one over the network."""

    def __init__(self, transport: Transport, instance: Instance | None = None) -> None:
        """`instance` has the objects that are listed and watched; None: all, of any instance."""
        self._transport = transport
        self._instance = instance
        self._codecs: dict[object, object] = {}

    @property
    def server_time_s(self) -> float | None:
        """The server's time in its last answer about a Lease, in seconds since the epoch.

        None where the answer had none.
        """
        return self._transport.server_time_s

    async def addresses(self) -> Collection[str]:
        """Return the IPs of the API server; none when its name does not resolve now."""
        return await self._transport.addresses()

    async def server_version(self) -> tuple[int, int]:
        """Return the major and minor version of Kubernetes; zeros for what is no number."""
        request = Request(
            verb="get", what="version", path="/version", timeout=_within(REQUEST_TIMEOUT_S)
        )
        return version_of(await self._transport.read(request), request=str(request))

    def lister_watcher(
        self,
        resource: Resource[T],
        *,
        label_selector: str = "",
        namespace: str = "",
        field_selector: str = "",
    ) -> ListerWatcher[T]:
        """Return what an informer needs to cache the resource."""
        scope = Scope(
            namespace=namespace, label_selector=label_selector, field_selector=field_selector
        )
        return _ResourceListerWatcher(self, resource, scope)

    async def list(
        self,
        resource: Resource[T],
        scope: Scope = EVERYTHING,
        *,
        resource_version: str = "",
        limit: int = 0,
        continue_token: str = "",
    ) -> Page[T]:
        """Return all objects, or the first `limit` of them (0: all)."""
        query = self._narrowed(resource, scope).query()
        if resource_version:
            query["resourceVersion"] = resource_version
        if limit:
            query["limit"] = str(limit)
        if continue_token:
            query["continue"] = continue_token
        request = Request(
            verb="list",
            what=resource.plural,
            path=resource.path(namespace=scope.namespace),
            query=query,
            about_leases=resource is LEASES,
            compressed=True,
            timeout=_within(LIST_TIMEOUT_S),
        )
        body = await self._transport.read(request)
        return self._codec(resource).decode_list(body, request=str(request))

    @asynccontextmanager
    async def watch(
        self,
        resource: Resource[T],
        scope: Scope = EVERYTHING,
        *,
        resource_version: str,
        timeout_s: int,
    ) -> AsyncIterator["WatchStream[T]"]:
        """Open a watch from that version on, with bookmarks; see `ListerWatcher.watch`."""
        request = Request(
            verb="watch",
            what=resource.plural,
            path=resource.path(namespace=scope.namespace),
            query={
                **self._narrowed(resource, scope).query(),
                "watch": "1",
                "resourceVersion": resource_version,
                "allowWatchBookmarks": "true",
                "timeoutSeconds": str(timeout_s),
            },
            # No `sock_read`: aiohttp drops that timer when the framing of a body is damaged, and
            # tells no reader. The reflector watches for silence.
            timeout=aiohttp.ClientTimeout(sock_connect=CONNECT_TIMEOUT_S),
            open_timeout_s=OPEN_TIMEOUT_S,
        )
        async with self._transport.open(request) as readline:
            yield WatchStream(readline, self._codec(resource), request=str(request))

    async def get(self, resource: Resource[T], *, name: str, namespace: str = "") -> T:
        """Return one object."""
        target = ObjectMeta(name=name, namespace=namespace)
        return await self._call(resource, _about("get", resource, target))

    async def create(self, resource: Resource[T], body: T) -> T:
        """Create an object. Raises `ConflictError` when there is one of that name."""
        encoded = self._codec(resource).encode(self._marked(resource, body))
        return await self._call(resource, _about("create", resource, body.metadata, encoded))

    async def replace(self, resource: Resource[T], body: T, *, subresource: str = "") -> T:
        """Replace an object; raises `ConflictError` unless its resourceVersion is current."""
        encoded = self._codec(resource).encode(self._marked(resource, body))
        request = _about("update", resource, body.metadata, encoded, subresource=subresource)
        return await self._call(resource, request)

    async def patch(
        self,
        resource: Resource[T],
        patch: object,
        *,
        name: str,
        namespace: str = "",
        subresource: str = "",
        trial: bool = False,
    ) -> T:
        """Apply a merge patch (RFC 7396): anything that encodes to JSON.

        With ``metadata.resourceVersion`` in it, raises `ConflictError` unless that is current. A
        `trial` has the same answer, and changes nothing.
        """
        target = ObjectMeta(name=name, namespace=namespace)
        encoded = msgspec.json.encode(patch)
        request = _about("patch", resource, target, encoded, subresource=subresource)
        if trial:
            request = replace(request, query={"dryRun": "All"})
        return await self._call(resource, request)

    async def delete(
        self, resource: Resource[T], *, name: str, namespace: str = "", seen: T | None = None
    ) -> None:
        """Delete an object; it stays for a while when it has finalizers.

        Raises `ConflictError` when it is not any more as it was `seen`.
        """
        target = ObjectMeta(name=name, namespace=namespace)
        body = None if seen is None else _delete_options(seen.metadata)
        await self._transport.read(_about("delete", resource, target, body))

    def sees(self, labels: dict[str, str] | None) -> bool:
        """Whether lists and watches show an object with these labels."""
        return self._instance is None or self._instance.has(labels)

    def _narrowed(self, resource: Resource[T], scope: Scope) -> Scope:
        if self._instance is None:
            return scope
        selector = self._instance.narrowed(resource, scope.label_selector)
        return replace(scope, label_selector=selector)

    def _marked(self, resource: Resource[T], body: T) -> T:
        return body if self._instance is None else self._instance.marked(resource, body)

    async def _call(self, resource: Resource[T], request: Request) -> T:
        return self._codec(resource).decode_object(await self._transport.read(request))

    def _codec(self, resource: Resource[T]) -> ResourceCodec[T]:
        codec = self._codecs.get(resource)
        if codec is None:
            codec = self._codecs[resource] = ResourceCodec(resource)
        return cast("ResourceCodec[T]", codec)  # the key determines T


class WatchStream(Generic[T]):
    """The events of one open watch."""

    def __init__(self, readline: ReadLine, codec: ResourceCodec[T], *, request: str) -> None:
        self._readline = readline
        self._codec = codec
        self._request = request

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> WatchEvent[T] | Unreadable:
        line = await self._readline()
        if not line:
            raise StopAsyncIteration
        return self._codec.decode_event(line, request=self._request)


class _ResourceListerWatcher(Generic[T]):
    """One resource of one scope, as an informer sees it."""

    def __init__(self, client: ApiClient, resource: Resource[T], scope: Scope) -> None:
        self._client = client
        self._resource = resource
        self._scope = scope

    async def list(self, *, resource_version: str) -> Page[T]:
        return await self._client.list(
            self._resource, self._scope, resource_version=resource_version
        )

    def watch(
        self, *, resource_version: str, timeout_s: int
    ) -> AbstractAsyncContextManager[WatchStream[T]]:
        return self._client.watch(
            self._resource, self._scope, resource_version=resource_version, timeout_s=timeout_s
        )


_METHODS = {
    "get": "GET",
    "create": "POST",
    "update": "PUT",
    "patch": "PATCH",
    "delete": "DELETE",
}


def _about(
    verb: str,
    resource: Resource[T],
    target: ObjectMeta,
    body: bytes | None = None,
    *,
    subresource: str = "",
) -> Request:
    """Build the request about one object; `target` needs a name and a namespace only."""
    plural = f"{resource.plural}/{subresource}" if subresource else resource.plural
    return Request(
        verb=verb,
        what=f"{plural} {target.key}",
        path=resource.path(
            namespace=target.namespace,
            name="" if verb == "create" else target.name,
            subresource=subresource,
        ),
        method=_METHODS[verb],
        body=body,
        content_type=_MERGE_PATCH if verb == "patch" else _JSON,
        about_one=True,
        about_leases=resource is LEASES,
        timeout=_within(REQUEST_TIMEOUT_S),
    )


def _delete_options(seen: ObjectMeta) -> bytes:
    preconditions = {"uid": seen.uid, "resourceVersion": seen.resource_version}
    options = {"kind": "DeleteOptions", "apiVersion": "v1", "preconditions": preconditions}
    return msgspec.json.encode(options)


def _within(total_s: float) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(total=total_s, sock_connect=CONNECT_TIMEOUT_S)
