"""The services that have no ready endpoint anywhere, and whether that has lasted.

While EndpointSlices are not known nothing has lasted: what is up stays up, and what is down stays
down. A service that is deleted counts for a moment longer, since its IPs stay wanted as long. It
owns no task: informers that others run call it.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from math import inf
from typing import Generic, TypeVar

from extip.api.core_v1 import AnyService
from extip.api.discovery_v1 import EndpointSlice
from extip.cache.derived import Linger
from extip.cache.informer import Informer
from extip.clock import Clock
from extip.endpoints.policy.serving_nodes import ready_service
from extip.services.lingering import linger

SETTLE_S = 5.0
"""Seconds without a ready endpoint that count: a pod that is replaced takes no longer, mostly."""

_TICK_S = 0.01
"""A timer may fire a moment early, or before another one that is due at the same time."""

S = TypeVar("S", bound=AnyService)


class Readiness(Generic[S]):
    """Follows services and their EndpointSlices."""

    def __init__(
        self,
        slices: Informer[EndpointSlice],
        services: Informer[S],
        *,
        counts: Callable[[S], bool] = lambda _: True,
        on_change: Callable[[], None],
        clock: Clock,
        linger: Linger = linger,
    ) -> None:
        """Follow the services that `counts` returns True of."""
        self._slices = slices
        self._services = services
        self._counts = counts
        self._on_change = on_change
        self._clock = clock
        self._linger = linger
        self._pieces: dict[str, str] = {}
        """The service of each slice with a ready endpoint."""
        self._ready: Counter[str] = Counter()
        """How many such slices each service has."""
        self._since: dict[str, float] = {}
        """The time since which a service has none."""
        self._current: Mapping[str, bool] | None = None
        self._known = False
        slices.add_handler(self._on_slice)
        services.add_handler(self._on_service)

    def unready(self) -> Mapping[str, bool]:
        """Return the services without a ready endpoint, and whether that has lasted.

        The key is ``namespace/name``. The same object is returned until something changes.
        """
        if self._slices.has_synced and not self._known:
            self._known, self._current = True, None
            for service in self._since:
                self._begin(service)
        if self._current is None:
            ended = self._clock.monotonic() - SETTLE_S if self._known else -inf
            self._current = {service: since <= ended for service, since in self._since.items()}
        return self._current

    def _begin(self, service: str) -> None:
        self._since[service] = self._clock.monotonic()
        asyncio.get_running_loop().call_later(SETTLE_S + _TICK_S, self._changed)

    def _changed(self) -> None:
        self._current = None
        self._on_change()

    def _on_slice(self, key: str) -> None:
        piece = self._slices.store.get(key)
        before = self._pieces.pop(key, "")
        after = "" if piece is None else ready_service(piece)
        if before:
            self._ready[before] -= 1
        if after:
            self._pieces[key] = after
            self._ready[after] += 1
        for service in {before, after} - {""}:
            self._look(service)

    def _on_service(self, service: str) -> None:
        if service in self._since and service not in self._services.store:
            self._linger(lambda: self._look_later(service))  # it may be created again meanwhile
        else:
            self._look(service)

    def _look_later(self, service: str) -> None:
        # Its IPs are no longer wanted by then. Else they would come up for the last moment.
        asyncio.get_running_loop().call_later(_TICK_S, self._look, service)

    def _look(self, service: str) -> None:
        found = self._services.store.get(service)
        unready = found is not None and self._counts(found) and self._ready[service] <= 0
        if not self._ready[service]:
            del self._ready[service]
        if unready is (service in self._since):
            return
        if unready:
            self._begin(service)
        else:
            del self._since[service]
        self._changed()
