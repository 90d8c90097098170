"""Where services with ``externalTrafficPolicy: Local`` are served.

EndpointSlices change with every pod of the cluster, so nobody watches them before the first such
service is there.
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
from extip.kube.client import ApiClient
from extip.metrics import Metrics
from extip.modes.lingering import linger
from extip.plan.endpoints import Placed, keeps_local, placed, together
from extip.supervisor import Component

_PATIENCE_S = 0.5
"""How long placement waits for the first list, and with it every move. Without one, such services
are placed like others."""

_NOWHERE: frozenset[str] = frozenset()


S = TypeVar("S", bound=AnyService)


class EndpointSources(Generic[S]):
    """Follows from the informer of services, which somebody else runs."""

    def __init__(  # noqa: PLR0913 - a composition of ports
        self,
        client: ApiClient,
        services: Informer[S],
        *,
        local: Callable[[S], bool] = keeps_local,
        changed: Callable[[], None],
        clock: Clock,
        rng: Random,
        metrics: Metrics,
    ) -> None:
        self._changed = changed
        self._clock = clock
        self._needed = asyncio.Event()
        self._impatient_at = 0.0
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
            changed=self._local_changed,
            linger=linger,  # what it asked for is wanted as long, and then no other node's
        )
        self._nodes: Derived[EndpointSlice, Placed, Mapping[str, frozenset[str]]] = Derived(
            get=self.slices.store.get, extract=self._placed, combine=together, changed=changed
        )
        services.add_handler(self._local.update)
        self.slices.add_handler(self._nodes.update)

    def current(self) -> Mapping[str, frozenset[str]]:
        """Return the nodes that serve each such service, by ``namespace/name``.

        Empty while EndpointSlices cannot be read: better some node than none.
        """
        if not self.slices.has_synced:
            return {}
        nodes = self._nodes.value()
        return {service: nodes.get(service, _NOWHERE) for service in self._local.value()}

    @property
    def awaited(self) -> bool:
        """Whether it is worth waiting a moment longer for the first list."""
        return (
            bool(self._impatient_at)
            and not self.slices.has_synced
            and self._clock.monotonic() < self._impatient_at
        )

    def doubt(self, since_s: float) -> None:
        """Watch anew if nothing was heard since that time."""
        self.slices.doubt(since_s)

    def need(self) -> None:
        """Have them watched from now on, for another reason."""
        self._needed.set()

    def components(self) -> list[Component]:
        """Return what has to run."""
        return [Component(self.slices.name, self._run)]

    async def _run(self) -> None:
        await self._needed.wait()
        await self.slices.run()

    def _local_changed(self) -> None:
        if not self._impatient_at:
            self._impatient_at = self._clock.monotonic() + _PATIENCE_S
            self._needed.set()
            asyncio.get_running_loop().call_later(_PATIENCE_S, self._changed)
        for key in self.slices.store:
            self._nodes.update(key)
        self._changed()

    def _placed(self, piece: EndpointSlice) -> Placed | None:
        found = placed(piece)
        return found if found is not None and found[0] in self._local.value() else None


def _key(service: AnyService) -> str:
    return f"{service.metadata.namespace}/{service.metadata.name}"
