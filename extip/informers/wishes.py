"""The wishes of services and pools about nodes and their interfaces, from their informers."""

from collections.abc import Callable, Mapping

from extip.api.core_v1 import DetailedService
from extip.api.ipcontroller_v1 import EVERY_NODE, NEVER
from extip.api.names import label_value
from extip.cache.derived import Derived
from extip.cache.informer import Informer
from extip.clock import Clock
from extip.endpoints.inputs import EndpointSources
from extip.endpoints.readiness import Readiness
from extip.pools.policy.pools import Pools
from extip.scheduling.policy.snapshot import Wishes
from extip.services.lingering import linger
from extip.services.policy.address_count import spreads
from extip.services.policy.preferred_nodes import NodeList, preferred_nodes
from extip.services.policy.wished_link import LinkWish, wished_link

_ALL_READY: Mapping[str, bool] = {}


class WishSources:
    """Derives the wishes; calls `on_change` after a change of a service's."""

    def __init__(
        self,
        services: Informer[DetailedService],
        *,
        pools: Callable[[], Pools],
        endpoints: EndpointSources[DetailedService],
        withdraws: bool,
        on_change: Callable[[], None],
        clock: Clock,
    ) -> None:
        """Compose; `pools` returns the same object until something in it differs.

        `withdraws` says whether it matters that a service has no ready endpoint.
        """
        self._pools = pools
        self._endpoints = endpoints
        self._readiness: Readiness[DetailedService] | None = None
        if withdraws:
            slices = endpoints.slices
            self._readiness = Readiness(slices, services, on_change=on_change, clock=clock)
            endpoints.need()
        # The IPs of a deleted service stay wanted for a moment: as it said.
        get = services.store.get
        self._preferred: Derived[DetailedService, NodeList, dict[str, tuple[str, ...]]] = Derived(
            get=get, extract=preferred_nodes, combine=dict, on_change=on_change, linger=linger
        )
        self._spread: Derived[DetailedService, tuple[str, int], dict[str, int]] = Derived(
            get=get, extract=spreads, combine=dict, on_change=on_change, linger=linger
        )
        services.add_handler(self._preferred.update)
        services.add_handler(self._spread.update)
        self._links: Derived[DetailedService, LinkWish, dict[str, str]] = Derived(
            get=get, extract=wished_link, combine=dict, on_change=on_change, linger=linger
        )
        services.add_handler(self._links.update)
        self._of_pools: tuple[Pools, Wishes] | None = None

    def current(self) -> Wishes:
        """Return the wishes of now."""
        return self._wishes_of_pools()._replace(
            local_endpoints=self._endpoints.current(),
            preferred_nodes=self._preferred.value(),
            spread=self._spread.value(),
            service_links=self._links.value(),
            unready=_ALL_READY if self._readiness is None else self._readiness.unready(),
        )

    def every_node(self) -> frozenset[str]:
        """Return the pools whose addresses each node has that may."""
        return self._wishes_of_pools().every_node

    def _wishes_of_pools(self) -> Wishes:
        pools = self._pools()
        if self._of_pools is None or self._of_pools[0] is not pools:
            self._of_pools = pools, _wishes_of(pools)
        return self._of_pools[1]


def _wishes_of(pools: Pools) -> Wishes:
    specs = {label_value(pool.name): pool.spec for pool in pools.ordered}
    return Wishes(
        node_selectors={
            name: spec.node_selector
            for name, spec in specs.items()
            if spec.node_selector is not None
        },
        preferring_pools={
            name: spec
            for name, spec in specs.items()
            if spec.preferred_nodes or spec.rebalance == NEVER
        },
        pool_links={name: spec.link for name, spec in specs.items() if spec.link},
        every_node=frozenset(name for name, spec in specs.items() if spec.placement == EVERY_NODE),
    )
