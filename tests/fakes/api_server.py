"""An API server in memory: one resource with versions, conflicts, bookmarks and compaction.

It is a `ListerWatcher` of Services. Faults are queued with `faults_on_list` and
`faults_on_watch`, or injected into open streams with `break_streams`. `requests` tells when it was
asked, on the loop's clock.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from extip.api.core_v1 import Service, ServiceMeta, ServiceSpec
from extip.cache.listwatch import EventType, Page, Unreadable, WatchEvent
from extip.errors import ApiError, ConflictError, ExpiredError, NotFoundError

BOOKMARK_S = 60.0
"""Period of bookmarks on an open watch, as in a real API server."""

Item = WatchEvent[Service] | Unreadable


class End:
    """The server ends the stream, as it does after `timeoutSeconds`."""


@dataclass(eq=False)
class Stream:
    """An open watch."""

    pending: asyncio.Queue[Item | ApiError | End] = field(default_factory=asyncio.Queue)


@dataclass(frozen=True)
class Asked:
    """A request as the server saw it."""

    at_s: float
    verb: str
    resource_version: str


class FakeApiServer:
    """The server, seen from its clients (`list`, `watch`) and from its users (the rest)."""

    def __init__(self) -> None:
        self.objects: dict[str, Service] = {}
        self.revision = 100
        self.compacted = 0
        """Versions up to this are gone: watching from before it gives 410."""
        self.faults_on_list: deque[ApiError] = deque()
        self.faults_on_watch: deque[ApiError | End] = deque()
        """`End` opens the stream and ends it at once."""
        self.bookmarks = True
        """Old servers send none until something has changed since their start."""
        self.requests: list[Asked] = []
        self.cache_lag: Page[Service] | None = None
        """What a list at resourceVersion 0 returns instead of the truth, when set."""
        self.replays: int | None = None
        """It ends at once each stream of a version that is further behind: it is busy."""
        self.opens_s = 0.001
        """Seconds until a stream begins."""
        self._history: list[tuple[int, WatchEvent[Service]]] = []
        self._streams: set[Stream] = set()

    # What users do

    def create(
        self, name: str, *, namespace: str = "default", ips: tuple[str, ...] = ()
    ) -> Service:
        service = Service(
            metadata=ServiceMeta(name=name, namespace=namespace, uid=f"uid-{self.revision + 1}"),
            spec=ServiceSpec(external_ips=ips),
        )
        if service.metadata.key in self.objects:
            raise ConflictError(f"{service.metadata.key} exists", status=409)
        return self._write(EventType.ADDED, service)

    def update(self, key: str, *, ips: tuple[str, ...]) -> Service:
        old = self._known(key)
        new = Service(metadata=old.metadata, spec=ServiceSpec(external_ips=ips))
        return self._write(EventType.MODIFIED, new)

    def delete(self, key: str) -> None:
        self._write(EventType.DELETED, self._known(key))

    # What happens to the server

    def compact(self) -> None:
        """Forget the history, as etcd does every few minutes."""
        self.compacted = self.revision
        self._history.clear()

    def bookmark(self) -> None:
        for stream in self._streams:
            stream.pending.put_nowait(self._bookmark())

    def break_streams(self, error: ApiError | End) -> None:
        for stream in self._streams:
            stream.pending.put_nowait(error)

    def send(self, item: Item) -> None:
        """Put something on every open stream."""
        for stream in self._streams:
            stream.pending.put_nowait(item)

    @property
    def open_streams(self) -> int:
        return len(self._streams)

    def asked(self, verb: str) -> list[Asked]:
        return [request for request in self.requests if request.verb == verb]

    # What clients do

    async def list(self, *, resource_version: str) -> Page[Service]:
        self._note("list", resource_version)
        await asyncio.sleep(0.001)
        if self.faults_on_list:
            raise self.faults_on_list.popleft()
        if resource_version == "0" and self.cache_lag is not None:
            return self.cache_lag
        return self.page()

    def page(self) -> Page[Service]:
        return Page(items=tuple(self.objects.values()), resource_version=str(self.revision))

    @asynccontextmanager
    async def watch(self, *, resource_version: str, timeout_s: int) -> AsyncIterator["_Events"]:
        self._note("watch", resource_version)
        await asyncio.sleep(self.opens_s)
        stream = Stream()
        if self.faults_on_watch:
            fault = self.faults_on_watch.popleft()
            if isinstance(fault, ApiError):
                raise fault
            stream.pending.put_nowait(fault)
        since = int(resource_version)
        if since < self.compacted:
            raise ExpiredError(f"too old resource version: {since}", status=410)
        if self.replays is not None and self.revision - since > self.replays:
            stream.pending.put_nowait(End())
        for revision, event in self._history:
            if revision > since:
                stream.pending.put_nowait(event)
        self._streams.add(stream)
        try:
            yield _Events(self, stream, asyncio.get_running_loop().time() + timeout_s)
        finally:
            self._streams.discard(stream)

    def _note(self, verb: str, resource_version: str) -> None:
        now = asyncio.get_running_loop().time()
        self.requests.append(Asked(now, verb, resource_version))

    def _known(self, key: str) -> Service:
        if key not in self.objects:
            raise NotFoundError(f"{key} not found", status=404)
        return self.objects[key]

    def _write(self, kind: EventType, service: Service) -> Service:
        self.revision += 1
        old = service.metadata
        meta = ServiceMeta(
            name=old.name,
            namespace=old.namespace,
            uid=old.uid,
            resource_version=str(self.revision),
        )
        new = Service(metadata=meta, spec=service.spec)
        if kind is EventType.DELETED:
            del self.objects[meta.key]
        else:
            self.objects[meta.key] = new
        event = WatchEvent(kind, new)
        self._history.append((self.revision, event))
        for stream in self._streams:
            stream.pending.put_nowait(event)
        return new

    def _bookmark(self) -> WatchEvent[Service]:
        meta = ServiceMeta(resource_version=str(self.revision))
        return WatchEvent(EventType.BOOKMARK, Service(metadata=meta))


class _Events:
    """What a client reads from a stream, bookmarks included."""

    def __init__(self, server: FakeApiServer, stream: Stream, until_s: float) -> None:
        self._server = server
        self._stream = stream
        self._until_s = until_s
        self._bookmark_s = asyncio.get_running_loop().time() + BOOKMARK_S

    def __aiter__(self) -> "_Events":
        return self

    async def __anext__(self) -> Item:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout_at(min(self._bookmark_s, self._until_s)):
                item = await self._stream.pending.get()
        except TimeoutError:
            if loop.time() >= self._until_s:
                raise StopAsyncIteration from None
            self._bookmark_s += BOOKMARK_S
            return self._server._bookmark() if self._server.bookmarks else await anext(self)
        if isinstance(item, ApiError):
            raise item
        if isinstance(item, End):
            raise StopAsyncIteration
        return item
