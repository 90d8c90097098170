"""Keeps a `Store` equal to the API server's objects: list once, then watch.

Guarantees: the store becomes equal to the server's state after any sequence of faults, without a
restart of extip. Faults are broken, silent or expired streams, refused connections, and restarts.
Deletions that the watch missed are reported like all others. Requests come at most about once a
second, apart from `AT_ONCE`. Each kind of trouble is logged at its begin and at its end. While the
server is away, the store keeps its objects.

An object without a readable name is neither stored nor taken for a deletion. All known objects
stay, and after the end of the stream everything is listed again.

Not guaranteed: that every intermediate version is seen.

The task `run()` owns it. It ends only by cancellation.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from http import HTTPStatus
from random import Random
from typing import Generic, TypeVar

from extip.api.meta_v1 import KubernetesObject
from extip.backoff import Backoff
from extip.cache.listwatch import (
    FROM_CACHE,
    MOST_RECENT,
    EventType,
    ListerWatcher,
    Page,
    Unreadable,
    WatchEvent,
)
from extip.cache.recovery import Recovery
from extip.cache.store import Store
from extip.cache.vanished import Vanished
from extip.clock import Clock
from extip.errors import (
    ApiAccessError,
    ApiError,
    ApiUnavailableError,
    ExpiredError,
    InvalidRequestError,
    NotFoundError,
)
from extip.log import Logger
from extip.metrics import Metrics
from extip.token_bucket import TokenBucket

T = TypeVar("T", bound=KubernetesObject)

TRANSIENT_BACKOFF = Backoff(initial_s=0.8, cap_s=30.0)
"""client-go's reflector backoff. The cap includes the jitter."""

REJECTED_BACKOFF = Backoff(initial_s=5.0, cap_s=60.0)
"""For requests that the server rejects as invalid."""

DENIED_BACKOFF = Backoff(initial_s=2.5, cap_s=60.0, factor=1.05)
"""For failures that a person must mend: RBAC, credentials, a missing CRD. No event tells of the
mend. Each wait is about a fifteenth of the time that the failure has lasted. A right that a process
is not meant to have costs one request a minute in the end."""

REVOKED_BACKOFF = Backoff(initial_s=2.5, cap_s=5.0)
"""The same for a resource that was readable before: others rely on this cache."""

WATCH_TIMEOUT_S = (300, 600)
"""The range of the random `timeoutSeconds`, as in client-go: watches spread over API servers."""

DOUBTS_AT_ONCE = 2
"""Doubted streams that are opened anew at once; one more for each `IDLE_TIMEOUT_S`. In the long run
doubts cost a slow server no more requests than silence does."""

SHORT_S = 1.0
"""Seconds. Two streams begin at least so far apart, except for `AT_ONCE`."""

AT_ONCE = 5
"""Streams that ended early after some events and are opened anew at once; one more for each
`SHORT_S`. During many changes an API server ends streams that it cannot write to fast enough, and
the next events may be urgent."""

_WATCH_AGAIN = (ApiUnavailableError, ApiAccessError)
"""Failures after which the next watch begins from the same version."""

_REPLAYS = 2
"""Streams in a row that the server ends at once, after which everything is listed again. A busy API
server replays to a watch what happened since its version. It ends a watch that it cannot tell the
newest events meanwhile. Where no object matches, the version stays, and the replay becomes longer.
"""

IDLE_TIMEOUT_S = 80.0
"""Seconds. A stream that is silent for longer may be half open, and is opened anew. Servers send
bookmarks about every 60 s. Old servers (1.20) send none before the first change since their start,
so silence alone is no trouble."""

STEADY_S = 5.0
"""Seconds after which a stream ends the trouble before it. One that ends sooner, without an event,
is a failure: its replay was given up."""


class Reflector(Generic[T]):
    """Lists and watches one resource into a store, and hands on the keys that changed."""

    def __init__(  # noqa: PLR0913 - wired by the informer alone
        self,
        resource_name: str,
        lister_watcher: ListerWatcher[T],
        store: Store[T],
        *,
        on_change: Callable[[Iterable[str]], None],
        vanished: Vanished[T] | None = None,
        clock: Clock,
        rng: Random,
        metrics: Metrics,
        logger: Logger,
    ) -> None:
        """Compose; with `vanished`, that decides which objects leave the store."""
        self._vanished = vanished
        self._lister_watcher = lister_watcher
        self._store = store
        self._on_change = on_change
        self._clock = clock
        self._rng = rng
        self._logger = logger
        self._recovery = Recovery(clock=clock, rng=rng, logger=logger)
        self._resource_name = resource_name
        self._restarts = metrics.watch_restarts
        self._lists = metrics.lists.labels(resource_name)
        self._events = metrics.watch_events.labels(resource_name)
        self._unreadable = metrics.unreadable_objects.labels(resource_name)
        self._unreadable_said: set[str] = set()
        self._at_once = TokenBucket(rate=1 / SHORT_S, burst=AT_ONCE, tokens=AT_ONCE)
        self._doubts = TokenBucket(
            rate=1 / IDLE_TIMEOUT_S, burst=DOUBTS_AT_ONCE, tokens=DOUBTS_AT_ONCE
        )
        self._stream_ends: asyncio.Timeout | None = None
        self._spoke_s = 0.0
        self._resource_version = ""
        self._heard = False
        self._ended_at_once = 0
        """Such streams in a row, from the same version."""
        self._missed = False
        self._allowed = False
        """A list has succeeded: the kind exists, and the right to read it did."""
        self._silence_said = False
        self._error: ApiError | None = None
        self.last_contact_s: float | None = None
        """The time of the last contact with the server, on the clock's timeline; None for none."""

    @property
    def healthy(self) -> bool:
        """Whether there was a contact, and no failure is ongoing."""
        return self.last_contact_s is not None and not self._recovery.ongoing

    @property
    def trouble(self) -> tuple[ApiError, float] | None:
        """The last failure and its begin, until a stream is steady; None when all is well.

        The time is that of the last success, on the clock's timeline.
        """
        if self._error is None or not self._recovery.ongoing:
            return None
        return self._error, max(self._recovery.since_s, self.last_contact_s or 0.0)

    async def run(self) -> None:
        """List and watch, until cancelled. It raises only errors of the `on_change` callback."""
        at = FROM_CACHE
        while True:
            await self._list(at)
            at = await self._watch()

    def doubt(self, since_s: float) -> None:
        """Open the stream anew if it is older than that time, and has delivered nothing since.

        The caller has learned that connections of that time may be dead. Missed events follow on
        the new stream. A stream that was requested before that time and has not begun counts, too.
        """
        ends = self._stream_ends
        if ends is None or self._spoke_s > since_s:
            return
        now_s = self._clock.monotonic()
        if self._doubts.take(now_s):
            self._stream_ends = None
            self._logger.info("watch_doubted", after_s=round(now_s - self._spoke_s, 1))
            ends.reschedule(now_s)

    async def _list(self, resource_version: str) -> None:
        while True:
            try:
                page = await self._lister_watcher.list(resource_version=resource_version)
            except ApiError as error:
                ahead = resource_version != FROM_CACHE and _is_ahead(error)
                if ahead or isinstance(error, ExpiredError):
                    resource_version = MOST_RECENT
                await self._clock.sleep(self._failed(error))
            else:
                self._replace(page)
                return

    def _replace(self, page: Page[T]) -> None:
        self._contact()
        self._allowed = True
        self._lists.inc()
        self._missed = False
        self._ended_at_once = 0
        for unreadable in page.unreadable:
            self._skip(unreadable)
        self._resource_version = page.resource_version
        unreadable_keys = {u.key for u in page.unreadable}
        keep = set(self._store) if self._missed else unreadable_keys
        if self._vanished is not None and not self._missed:
            keep = set(self._store)
            here = unreadable_keys.union(item.metadata.key for item in page.items)
            for key in keep:
                (self._vanished.seen if key in here else self._vanished.gone)(key)
        self._on_change(self._store.replace(page.items, keep=keep))

    async def _watch(self) -> str:
        """Watch from the last version, again and again, until only a list can help.

        Return the resourceVersion for that list.
        """
        while self._ended_at_once < _REPLAYS:
            began_s = self._clock.monotonic()
            self._heard = False
            end = ""
            try:
                end = await self._stream()
                failure = self._given_up(end)
            except ApiError as error:
                failure = error
            now_s = self._clock.monotonic()
            lasted_s = now_s - began_s
            progress = self._heard and (lasted_s >= SHORT_S or self._at_once.take(now_s))
            if self._missed and (failure is None or isinstance(failure, _WATCH_AGAIN)):
                failure = InvalidRequestError("some object could not be told from the others")
            if failure is None:
                self._count_restart(end)
                delay_s = 0.0 if progress else SHORT_S - lasted_s
            else:
                self._count_restart(_reason(failure))
                established = lasted_s >= STEADY_S or progress
                delay_s = self._failed(failure, established=established)
            if delay_s > 0:
                await self._clock.sleep(delay_s)
                self._at_once.take(self._clock.monotonic())  # this stream has waited
            if failure is not None and not isinstance(failure, _WATCH_AGAIN):
                return MOST_RECENT  # a list from a cache could be as old as the version
        return self._resource_version

    def _given_up(self, end: str) -> ApiError | None:
        """Return the failure of a stream that the server ended before it told anything.

        Its time counts from its opening (`_spoke_s`), which may take long at a busy server.
        """
        lasted_s = self._clock.monotonic() - self._spoke_s
        if end != "ended" or self._heard or lasted_s >= STEADY_S:
            return None
        self._ended_at_once += 1
        return ApiUnavailableError("the server ended the stream at once")

    async def _stream(self) -> str:
        """Apply the events of one stream; return its end: ``ended``, ``idle``, ``doubted``."""
        self._spoke_s = self._clock.monotonic()
        doubted = asyncio.timeout(None)
        try:
            async with doubted:
                self._stream_ends = doubted
                return "idle" if await self._follow() else "ended"
        except TimeoutError:
            if not doubted.expired():
                raise
            return "doubted"
        finally:
            self._stream_ends = None

    async def _follow(self) -> bool:
        """Apply the events of one stream; return whether it was given up as silent."""
        opening = self._lister_watcher.watch(
            resource_version=self._resource_version,
            timeout_s=self._rng.randint(*WATCH_TIMEOUT_S),
        )
        async with opening as events:
            steady = asyncio.get_running_loop().call_later(STEADY_S, self._is_steady)
            try:
                return await self._read(events)
            finally:
                steady.cancel()

    def _is_steady(self) -> None:
        """Note that the stream holds."""
        self._ended_at_once = 0
        self._recovery.steady()

    async def _read(self, events: AsyncIterator[WatchEvent[T] | Unreadable]) -> bool:
        armed_s = self._contact()
        idle = asyncio.timeout(IDLE_TIMEOUT_S)
        try:
            async with idle:
                async for event in events:
                    heard_s = self._contact()
                    self._apply(event)
                    if heard_s - armed_s > 1.0:  # not for each event of a flood
                        armed_s = heard_s
                        idle.reschedule(heard_s + IDLE_TIMEOUT_S)
        except TimeoutError:
            if not idle.expired():
                raise
            if not self._silence_said:
                self._silence_said = True
                self._logger.info("watch_silent", after_s=IDLE_TIMEOUT_S)
            return True
        return False

    def _apply(self, event: WatchEvent[T] | Unreadable) -> None:
        self._heard = True
        self._ended_at_once = 0
        self._silence_said = False
        self._events.inc()
        if isinstance(event, Unreadable):
            self._skip(event)
            self._resource_version = event.resource_version or self._resource_version
            return
        version = event.object.metadata.resource_version
        self._resource_version = version or self._resource_version
        if event.type is EventType.BOOKMARK:
            return
        if event.type is not EventType.DELETED:
            if self._vanished is not None:
                self._vanished.seen(event.object.metadata.key)
            key = self._store.put(event.object)
        elif self._vanished is not None:
            self._vanished.gone(event.object.metadata.key)
            return
        else:
            key = self._store.remove(event.object)
        if key is not None:
            self._on_change((key,))

    def _contact(self) -> float:
        self.last_contact_s = self._spoke_s = now_s = self._clock.monotonic()
        return now_s

    def _failed(self, error: ApiError, *, established: bool = False) -> float:
        """Note the failure; return the delay before the next request.

        A stream that had worked for some time is opened again at once. After an expired version the
        list comes at once, too: after an outage that is progress, unless it expires again.
        """
        self._error = error
        if isinstance(error, NotFoundError) and self._vanished is not None:
            self._vanished.suspect()
        transient = isinstance(error, ApiUnavailableError | ExpiredError)
        denied = isinstance(error, ApiAccessError | NotFoundError)
        mended_by_hand = REVOKED_BACKOFF if self._allowed else DENIED_BACKOFF
        slow = mended_by_hand if denied else REJECTED_BACKOFF
        retry_after_s = error.retry_after_s if isinstance(error, ApiUnavailableError) else None
        reason = _reason(error)
        return self._recovery.failed(
            reason,
            str(error),
            TRANSIENT_BACKOFF if transient else slow,
            retry_after_s=retry_after_s,
            at_once=isinstance(error, ExpiredError) and not self._recovery.saw(reason),
            worked=transient and established,
        )

    def _count_restart(self, reason: str) -> None:
        self._restarts.labels(self._resource_name, reason).inc()

    def _skip(self, unreadable: Unreadable) -> None:
        """Log an unreadable object once."""
        self._unreadable.inc()
        self._missed |= not unreadable.key
        if unreadable.key not in self._unreadable_said:
            self._unreadable_said.add(unreadable.key)
            self._logger.warning(
                "object_unreadable", object=unreadable.key, error=unreadable.reason
            )


def _is_ahead(error: ApiError) -> bool:
    """Whether a list may be of a version that this server does not have (yet)."""
    return isinstance(error, ApiUnavailableError) and error.status == HTTPStatus.GATEWAY_TIMEOUT


def _reason(error: ApiError) -> str:
    """Return the kind of an error, for the log and the metric: one of a few values."""
    if isinstance(error, ExpiredError):
        return "expired"
    if isinstance(error, ApiAccessError):
        return "denied"
    if isinstance(error, ApiUnavailableError):
        return "throttled" if error.status == HTTPStatus.TOO_MANY_REQUESTS else "unavailable"
    return "rejected"
