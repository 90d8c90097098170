"""The nodes that serve each service with ``externalTrafficPolicy: Local``.

EndpointSlices change with every pod of the cluster. So they are not watched before the first such
service exists.
"""

import asyncio
from collections.abc import Callable, Mapping
from random import Random
from typing import Generic, TypeVar

from extip.api.core_v1 import AnyService
from extip.api.discovery_v1 import EndpointSlice
from extip.api.resources import ENDPOINT_SLICES, ENDPOINT_SLICES_V1BETA1
from extip.cache.derived import Derived
from extip.cache.fallback import FallbackListerWatcher
from extip.cache.informer import Informer
from extip.clock import Clock
from extip.endpoints.policy.serving_nodes import (
    ServingNodes,
    keeps_local,
    nodes_by_service,
    serving_nodes,
)
from extip.kube.client import ApiClient
from extip.metrics import Metrics
from extip.services.lingering import linger
from extip.supervisor import Component

_PATIENCE_S = 0.5
"""Seconds for which placement, and with it every move, waits for the first list. After that such
services are placed like others."""

_NOWHERE: frozenset[str] = frozenset()


S = TypeVar("S", bound=AnyService)


class EndpointSources(Generic[S]):
    """Derives the nodes from EndpointSlices, and from an informer of services that others run."""

    def __init__(  # noqa: PLR0913 - a composition of parts
        self,
        client: ApiClient,
        services: Informer[S],
        *,
        local: Callable[[S], bool] = keeps_local,
        on_change: Callable[[], None],
        clock: Clock,
        rng: Random,
        metrics: Metrics,
    ) -> None:
        self._on_change = on_change
        self._clock = clock
        self._needed = asyncio.Event()
        self._impatient_at = 0.0
        self._current: Mapping[str, frozenset[str]] = {}
        self._of: tuple[object, object] | None = None
        """The nodes and services that `_current` was made of."""
        self.slices: Informer[EndpointSlice] = Informer(
            "endpointslices",
            FallbackListerWatcher(
                client.lister_watcher(ENDPOINT_SLICES),
                client.lister_watcher(ENDPOINT_SLICES_V1BETA1),
            ),
            clock=clock,
            rng=rng,
            metrics=metrics,
        )
        self._local: Derived[S, str, frozenset[str]] = Derived(
            get=services.store.get,
            extract=lambda service: _key(service) if local(service) else None,
            combine=frozenset,
            on_change=self._local_changed,
            linger=linger,  # the IPs of a deleted service stay wanted as long, on the same node
        )
        self._nodes: Derived[EndpointSlice, ServingNodes, Mapping[str, frozenset[str]]] = Derived(
            get=self.slices.store.get,
            extract=self._serving_nodes,
            combine=nodes_by_service,
            on_change=on_change,
        )
        services.add_handler(self._local.update)
        self.slices.add_handler(self._nodes.update)

    def current(self) -> Mapping[str, frozenset[str]]:
        """Return the nodes that serve each such service, by ``namespace/name``.

        It is empty while EndpointSlices cannot be read: then any node may hold such an IP. The
        same object is returned until something changes.
        """
        if not self.slices.has_synced:
            return self._current
        nodes, local = self._nodes.value(), self._local.value()
        if self._of is None or self._of[0] is not nodes or self._of[1] is not local:
            self._of = nodes, local
            self._current = {service: nodes.get(service, _NOWHERE) for service in local}
        return self._current

    @property
    def awaited(self) -> bool:
        """Whether placement should wait a moment longer for the first list."""
        return (
            bool(self._impatient_at)
            and not self.slices.has_synced
            and self._clock.monotonic() < self._impatient_at
        )

    def doubt(self, since_s: float) -> None:
        """Open the watch anew if it has delivered nothing since that time."""
        self.slices.doubt(since_s)

    def need(self) -> None:
        """Watch EndpointSlices from now on, for another reason."""
        self._needed.set()

    def expect(self, patience_s: float = _PATIENCE_S) -> None:
        """Watch EndpointSlices from now on, and wait so long for the first list; once."""
        if not self._impatient_at:
            self._impatient_at = self._clock.monotonic() + patience_s
            self._needed.set()
            asyncio.get_running_loop().call_later(patience_s, self._on_change)

    def components(self) -> list[Component]:
        """Return the components to run."""
        return [Component(self.slices.name, self._run)]

    async def _run(self) -> None:
        await self._needed.wait()
        await self.slices.run()

    def _local_changed(self) -> None:
        self.expect()
        for key in self.slices.store:
            self._nodes.update(key)
        self._on_change()

    def _serving_nodes(self, piece: EndpointSlice) -> ServingNodes | None:
        found = serving_nodes(piece)
        return found if found is not None and found[0] in self._local.value() else None


def _key(service: AnyService) -> str:
    return f"{service.metadata.namespace}/{service.metadata.name}"
