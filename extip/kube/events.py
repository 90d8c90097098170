"""Kubernetes Events about objects, where ``kubectl describe`` shows them.

The same thing about the same object is one Event whose count and time go up, also over restarts:
its name follows from the object and the text. Recording never blocks and never fails; what cannot
be written is dropped, counted, and said once. While the server is away Events wait. An Event that
failed is tried again after all others. So it holds them up for one try and one pause at most. RBAC:
create, get and patch on ``events``.
"""

import asyncio
from collections import OrderedDict
from dataclasses import dataclass, replace
from hashlib import sha256
from http import HTTPStatus
from typing import Literal

from extip.api.core_v1 import Event, EventSource, ObjectReference
from extip.api.meta_v1 import ObjectMeta
from extip.api.resources import EVENTS
from extip.backoff import Backoff
from extip.clock import Clock
from extip.errors import ApiError, ApiUnavailableError, ConflictError, NotFoundError
from extip.kube.client import ApiClient
from extip.log import get_logger
from extip.metrics import Metrics

__all__ = ["EventRecorder", "ObjectReference", "event_name"]

COMPONENT = "extip"

PENDING_MAX = 10_000
"""Events that wait to be written; beyond that the oldest is dropped. Whoever records something does
so once, when it begins: room for each address of a large cluster, in 10 MB."""

BURST = 25
"""Events that may be written at once, as client-go's spam filter allows per object."""

INTERVAL_S = 1.0
"""Seconds between writes after the burst: whatever happens here, the API server does not suffer."""

MESSAGE_MAX = 1024
"""Characters of a message that the API server accepts."""

_RETRY = Backoff(initial_s=1.0, cap_s=60.0)
"""While the server is away."""

_TRIES = 5
"""How often an Event is tried where an admission webhook fails, which may be so for one namespace
and for ever. The answer is 500, as it is while etcd has trouble, which ends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pending:
    reference: ObjectReference
    type: str
    reason: str
    message: str
    first: str
    last: str
    count: int
    tries: int = 0
    """How often a webhook failed."""


class EventRecorder:
    """Writes Events in the background; a component whose task is `run()`."""

    def __init__(
        self, client: ApiClient, *, clock: Clock, metrics: Metrics, instance: str = ""
    ) -> None:
        """`instance` is the reporting node or pod, if that says anything."""
        self._client = client
        self._clock = clock
        self._instance = instance
        self._recorded = metrics.events_recorded
        self._pending: OrderedDict[str, _Pending] = OrderedDict()
        self._failed: OrderedDict[str, _Pending] = OrderedDict()
        """Events that have failed, and later Events of the same namespace."""
        self._wake = asyncio.Event()
        self._said: set[str] = set()
        self._overflown = False
        self._logger = get_logger("events")

    def record(
        self,
        reference: ObjectReference,
        *,
        type: Literal["Normal", "Warning"],  # noqa: A002 - the API's word
        reason: str,
        message: str,
    ) -> None:
        """Note that something happened to an object; returns at once.

        `reason` is one CamelCase word for programs, `message` a sentence for people.
        """
        now = self._now()
        name = event_name(reference, reason, message)
        for waiting in (self._pending, self._failed):
            known = waiting.get(name)
            if known is not None:
                waiting[name] = replace(known, last=now, count=known.count + 1)
                return
        if self._is_full():
            (self._failed or self._pending).popitem(last=False)
            self._dropped()
        self._pending[name] = _Pending(
            reference=reference,
            type=type,
            reason=reason,
            message=message[:MESSAGE_MAX],
            first=now,
            last=now,
            count=1,
        )
        self._wake.set()

    async def run(self) -> None:
        """Write what is recorded; ends only by cancellation. What waits then is lost."""
        tokens, refilled_s = float(BURST), self._clock.monotonic()
        failures = 0
        while True:
            await self._next()
            now_s = self._clock.monotonic()
            tokens = min(float(BURST), tokens + (now_s - refilled_s) / INTERVAL_S)
            refilled_s = now_s
            if tokens < 1.0:
                await self._clock.sleep((1.0 - tokens) * INTERVAL_S)
                continue
            tokens -= 1.0
            failures = 0 if await self._write_oldest() else failures + 1
            if failures:
                await self._clock.sleep(_RETRY.delay_s(failures, 0.0))

    async def _next(self) -> None:
        while not (self._pending or self._failed):
            self._wake.clear()
            await self._wake.wait()

    async def _write_oldest(self) -> bool:
        """Write one Event; return False when the server is away and it waits for another try."""
        name, pending = (self._pending or self._failed).popitem(last=False)
        try:
            await self._write(name, pending)
        except ApiUnavailableError as error:
            if error.status == HTTPStatus.INTERNAL_SERVER_ERROR and "webhook" in str(error):
                await self._refused(name, pending, error)
                return True
            self._say("unavailable", error)
            self._put_back(name, pending)
            return False
        except ApiError as error:
            self._say(type(error).__name__, error)
            self._recorded.labels("failed").inc()
        else:
            self._recorded.labels("written").inc()
        return True

    async def _write(self, name: str, pending: _Pending) -> None:
        """Create the Event, or count it up where it exists. Raises ApiError."""
        event = self._event(name, pending)
        try:
            await self._client.create(EVENTS, event)
        except ConflictError:
            namespace = event.metadata.namespace
            try:
                known = await self._client.get(EVENTS, name=name, namespace=namespace)
                await self._client.patch(
                    EVENTS,
                    {"count": known.count + pending.count, "lastTimestamp": pending.last},
                    name=name,
                    namespace=namespace,
                )
            except NotFoundError:  # it expired in between (the server keeps Events for an hour)
                await self._client.create(EVENTS, event)

    def _event(self, name: str, pending: _Pending) -> Event:
        return Event(
            # Events about cluster-scoped objects live in this namespace, by convention.
            metadata=ObjectMeta(name=name, namespace=pending.reference.namespace or "default"),
            involved_object=pending.reference,
            type=pending.type,
            reason=pending.reason,
            message=pending.message,
            source=EventSource(component=COMPONENT, host=self._instance),
            first_timestamp=pending.first,
            last_timestamp=pending.last,
            count=pending.count,
            reporting_component=COMPONENT,
            reporting_instance=self._instance,
        )

    async def _refused(self, name: str, pending: _Pending, error: ApiError) -> None:
        """Have an Event tried again after all others, a few times and not at once."""
        if pending.tries + 1 >= _TRIES:
            self._say("refused", error)
            self._recorded.labels("failed").inc()
            return
        self._put_back(name, replace(pending, tries=pending.tries + 1))
        await self._clock.sleep(INTERVAL_S)

    def _put_back(self, name: str, pending: _Pending) -> None:
        """Queue it again behind all others, together with what came in meanwhile.

        What is wrong may be wrong for its whole namespace, whose other Events go there as well.
        """
        newer = self._pending.pop(name, None)
        if newer is not None:
            pending = replace(
                newer, first=pending.first, count=newer.count + pending.count, tries=pending.tries
            )
        elif self._is_full():
            self._dropped()
            return
        self._failed[name] = pending
        namespace = pending.reference.namespace
        for other in [n for n, p in self._pending.items() if p.reference.namespace == namespace]:
            self._failed[other] = self._pending.pop(other)

    def _is_full(self) -> bool:
        return len(self._pending) + len(self._failed) >= PENDING_MAX

    def _dropped(self) -> None:
        self._recorded.labels("dropped").inc()
        if not self._overflown:
            self._overflown = True
            self._logger.warning("events_dropped", waiting=PENDING_MAX)

    def _say(self, kind: str, error: ApiError) -> None:
        if kind not in self._said:
            self._said.add(kind)
            self._logger.warning("event_not_written", error=str(error))

    def _now(self) -> str:
        return self._clock.utcnow().strftime("%Y-%m-%dT%H:%M:%SZ")


def event_name(reference: ObjectReference, reason: str, message: str) -> str:
    """Name an Event after its object and what it says; at most 253 characters (RFC 1123)."""
    identity = f"{reference.kind}\0{reference.uid}\0{reason}\0{message}"
    digest = sha256(identity.encode()).hexdigest()[:16]
    return f"{reference.name[:230].rstrip('.-')}.{digest}"
