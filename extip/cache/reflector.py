"""Keeps a `Store` equal to what the API server has: list once, then watch.

Guarantees: after any sequence of faults (broken, silent or expired streams, refused connections,
a server that restarts) the store becomes equal to the server's state without a restart; objects
that vanished unseen are reported like any other deletion; but for a few at once (`AT_ONCE`),
requests never come faster than about one a second, whatever the server does; each kind of trouble
is logged once when it begins and once when it is over. While the server is away the store keeps
what was last known.

An object that cannot be told from others (it does not even have a name) is neither stored nor
taken for a deletion: what is known stays, and once the stream has ended everything is listed again.

Not guaranteed: that every intermediate version is seen.

One task, `run()`, owns it; it ends only by cancellation.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from http import HTTPStatus
from random import Random
from typing import Generic, TypeVar

from extip.api.meta_v1 import KubernetesObject
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
from extip.plan.announcement import TokenBucket
from extip.plan.backoff import Backoff

T = TypeVar("T", bound=KubernetesObject)

TRANSIENT_BACKOFF = Backoff(initial_s=0.8, cap_s=30.0)
"""client-go's reflector backoff; the cap holds with jitter."""

REJECTED_BACKOFF = Backoff(initial_s=5.0, cap_s=60.0)
"""For requests that the server understands and does not take."""

DENIED_BACKOFF = Backoff(initial_s=2.5, cap_s=60.0, factor=1.05)
"""For what a person must mend: RBAC, credentials, a missing CRD. Nobody tells when that is done. A
wait is a fifteenth of the time that it lasts already: a right that a process never had, since it is
not meant to, costs a request a minute in the end."""

REVOKED_BACKOFF = Backoff(initial_s=2.5, cap_s=5.0)
"""The same for what was read before: what is missed now others count on."""

WATCH_TIMEOUT_S = (300, 600)
"""Range of the random `timeoutSeconds`, as client-go has it: watches spread over API servers."""

DOUBTS_AT_ONCE = 2
"""Streams that are opened anew since they were doubted; one more for each `IDLE_TIMEOUT_S`. However
slow a server is, doubts ask no more of it in the long run than silence alone."""

SHORT_S = 1.0
"""A stream that ends sooner with nothing on it is a failure; but for `AT_ONCE`, the next one begins
no sooner than this after it began."""

AT_ONCE = 5
"""Streams that ended early, but had something on them, and are opened anew at once; one more for
each `SHORT_S` that passes. While very much changes an API server ends streams that it cannot write
to fast enough, and what follows may be what everybody waits for."""

_WATCH_AGAIN = (ApiUnavailableError, ApiAccessError)
"""Failures that say nothing against the version: the next watch goes on from there."""

IDLE_TIMEOUT_S = 80.0
"""A stream on which nothing is heard for longer may be half open, and is opened anew. Servers send
bookmarks about every 60 s; old ones (1.20) send none until something has changed since their start,
so silence alone is no trouble."""

STEADY_S = 5.0
"""A stream that holds this long ends the trouble before it."""


class Reflector(Generic[T]):
    """Lists and watches one resource into a store, and hands on the keys that changed."""

    def __init__(  # noqa: PLR0913 - wired by the informer alone
        self,
        resource_name: str,
        lister_watcher: ListerWatcher[T],
        store: Store[T],
        *,
        changed: Callable[[Iterable[str]], None],
        vanished: Vanished[T] | None = None,
        clock: Clock,
        rng: Random,
        metrics: Metrics,
        logger: Logger,
    ) -> None:
        """Compose; with `vanished`, that has the last word on what leaves the store."""
        self._vanished = vanished
        self._lister_watcher = lister_watcher
        self._store = store
        self._changed = changed
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
        self._missed = False
        self._allowed = False
        """It could be listed, so the kind is there and the right was."""
        self._silence_said = False
        self._error: ApiError | None = None
        self.last_contact_s: float | None = None
        """When the server was last heard, on the clock's timeline; None for never."""

    @property
    def healthy(self) -> bool:
        """Whether nothing is in the way of the store being up to date."""
        return self.last_contact_s is not None and not self._recovery.ongoing

    @property
    def trouble(self) -> tuple[ApiError, float] | None:
        """The last failure, while nothing has been steady since; None when all is well.

        With it the time, on the clock's timeline, since when nothing has succeeded.
        """
        if self._error is None or not self._recovery.ongoing:
            return None
        return self._error, max(self._recovery.since_s, self.last_contact_s or 0.0)

    async def run(self) -> None:
        """List and watch for ever. Raises nothing but what the `changed` callback raises."""
        at = FROM_CACHE
        while True:
            await self._list(at)
            await self._watch()
            # Whatever made the watch unusable, another list from a cache could be as old.
            at = MOST_RECENT

    def doubt(self, since_s: float) -> None:
        """Open the stream anew if it is older than that time and has brought nothing since.

        For who has learned that connections which were open then may be dead. What was missed
        follows on the new one. One that was asked for before and has not begun counts as well.
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
                if isinstance(error, ExpiredError):
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
        self._changed(self._store.replace(page.items, keep=keep))

    async def _watch(self) -> None:
        """Watch, again and again, from the last version seen, until only a list can help."""
        while True:
            began_s = self._clock.monotonic()
            self._heard = False
            failure: ApiError | None = None
            end = ""
            try:
                end = await self._stream()
            except ApiError as error:
                failure = error
            now_s = self._clock.monotonic()
            lasted_s = now_s - began_s
            progress = self._heard and (lasted_s >= SHORT_S or self._at_once.take(now_s))
            if end == "ended" and lasted_s < SHORT_S and not self._heard:
                failure = ApiUnavailableError("the server ended the stream at once")
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
                self._at_once.take(self._clock.monotonic())  # it has been waited for
            if failure is not None and not isinstance(failure, _WATCH_AGAIN):
                return

    async def _stream(self) -> str:
        """Apply what one stream brings; return why it is over: ``ended``, ``idle``, ``doubted``."""
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
        """Apply what one stream brings; return whether it was given up because it was silent."""
        opening = self._lister_watcher.watch(
            resource_version=self._resource_version,
            timeout_s=self._rng.randint(*WATCH_TIMEOUT_S),
        )
        async with opening as events:
            steady = asyncio.get_running_loop().call_later(STEADY_S, self._recovery.steady)
            try:
                return await self._read(events)
            finally:
                steady.cancel()

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
            self._changed((key,))

    def _contact(self) -> float:
        self.last_contact_s = self._spoke_s = now_s = self._clock.monotonic()
        return now_s

    def _failed(self, error: ApiError, *, established: bool = False) -> float:
        """Note the failure; return the delay before the next request.

        What had been working for a while is tried again at once, and so is a list when the version
        has expired: after an outage that is progress, unless it expires again and again.
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
        """Say it once for each object, however often it comes by."""
        self._unreadable.inc()
        self._missed |= not unreadable.key
        if unreadable.key not in self._unreadable_said:
            self._unreadable_said.add(unreadable.key)
            self._logger.warning(
                "object_unreadable", object=unreadable.key, error=unreadable.reason
            )


def _reason(error: ApiError) -> str:
    """Name the kind of an error, for the log and the metric: a handful of values."""
    if isinstance(error, ExpiredError):
        return "expired"
    if isinstance(error, ApiAccessError):
        return "denied"
    if isinstance(error, ApiUnavailableError):
        return "throttled" if error.status == HTTPStatus.TOO_MANY_REQUESTS else "unavailable"
    return "rejected"
