"""The wishes of a service hold as long as its IPs stay wanted."""

import asyncio
from random import Random
from typing import cast

from extip.api.core_v1 import DetailedService, DetailedServiceMeta
from extip.api.names import (
    ADDRESS_COUNT_ANNOTATION,
    LINK_ANNOTATION,
    PREFERRED_NODES_ANNOTATION,
)
from extip.cache.informer import Informer
from extip.cache.store import Store
from extip.clock import LoopClock
from extip.endpoints.inputs import EndpointSources
from extip.informers.wishes import WishSources
from extip.kube.client import ApiClient
from extip.metrics import Metrics
from extip.pools.policy.pools import Pools
from extip.services.lingering import LINGER_S
from tests.fakes.virtual_time import run_virtually

KEY = "shop/web"
WISHES = {
    LINK_ANNOTATION: "dmz0",
    PREFERRED_NODES_ANNOTATION: "n2",
    ADDRESS_COUNT_ANNOTATION: "2",
}


class Services:
    """What is read of an informer."""

    def __init__(self):
        self.store: Store[DetailedService] = Store()
        self.handlers = []

    def add_handler(self, handler):
        self.handlers.append(handler)

    def put(self, annotations):
        meta = DetailedServiceMeta(namespace="shop", name="web", annotations=annotations)
        self.store.put(DetailedService(metadata=meta))
        self.tell()

    def delete(self):
        self.store.discard(KEY)
        self.tell()

    def tell(self):
        for handler in self.handlers:
            handler(KEY)


class NoServer:
    """Nothing is asked of it."""

    def lister_watcher(self, resource):
        return resource


def test_a_service_that_is_replaced_keeps_its_wishes():
    """Without them its IPs would go to another interface or node, and back."""

    async def main():
        services, clock = Services(), LoopClock()
        informer = cast("Informer[DetailedService]", services)
        endpoints: EndpointSources[DetailedService] = EndpointSources(
            cast("ApiClient", NoServer()),
            informer,
            on_change=lambda: None,
            clock=clock,
            rng=Random(1),  # noqa: S311 - repeatable
            metrics=Metrics("test"),
        )
        sources = WishSources(
            informer,
            pools=Pools,
            endpoints=endpoints,
            withdraws=False,
            on_change=lambda: None,
            clock=clock,
        )

        def wishes():
            now = sources.current()
            return dict(now.service_links), dict(now.preferred_nodes), dict(now.spread)

        services.put(WISHES)
        before = wishes()
        assert all(before)
        services.delete()
        assert wishes() == before
        await asyncio.sleep(LINGER_S / 2)
        services.put({})
        assert wishes() == ({}, {}, {}), "the new one has none"
        services.put(WISHES)
        services.delete()
        await asyncio.sleep(LINGER_S + 0.1)
        assert wishes() == ({}, {}, {})

    run_virtually(main())
