"""Where services with local traffic are served, while one of them is replaced."""

import asyncio
from random import Random
from typing import cast

from extip.api.core_v1 import DetailedService, DetailedServiceMeta, DetailedServiceSpec
from extip.api.discovery_v1 import (
    Endpoint,
    EndpointSlice,
    EndpointSliceLabels,
    EndpointSliceMeta,
)
from extip.api.ipcontroller_v1 import IpClaim, IpClaimSpec, ServiceReference
from extip.api.meta_v1 import FullObjectMeta
from extip.api.names import MANAGED_BY, MANAGED_BY_LABEL
from extip.cache.informer import Informer
from extip.cache.store import Store
from extip.clock import LoopClock
from extip.endpoints.inputs import EndpointSources
from extip.kube.client import ApiClient
from extip.metrics import Metrics
from extip.scheduling.policy.filters import KubernetesNode, NodeFacts
from extip.scheduling.policy.snapshot import Snapshot
from extip.services.lingering import LINGER_S
from tests.fakes.virtual_time import run_virtually
from tests.unit.scheduling.rebalance_reference import plan_rebalance


class Services:
    """What is read of an informer."""

    def __init__(self):
        self.store: Store[DetailedService] = Store()
        self.handlers = []

    def add_handler(self, handler):
        self.handlers.append(handler)

    def put(self, name):
        self.store.put(
            DetailedService(
                metadata=DetailedServiceMeta(name=name, namespace="d", uid=f"{name}-uid"),
                spec=DetailedServiceSpec(external_traffic_policy="Local"),
            )
        )
        self.tell(f"d/{name}")

    def delete(self, name):
        self.store.discard(f"d/{name}")
        self.tell(f"d/{name}")

    def tell(self, key):
        for handler in self.handlers:
            handler(key)


class NoServer:
    """Nothing is asked of it."""

    def lister_watcher(self, resource):
        return resource


def served_on(node, service):
    return EndpointSlice(
        metadata=EndpointSliceMeta(
            name=service, namespace="d", labels=EndpointSliceLabels(service=service)
        ),
        endpoints=(Endpoint(node_name=node),),
    )


def claim(number):
    ip = f"10.0.0.{number}"
    return IpClaim(
        metadata=FullObjectMeta(
            name=f"10-0-0-{number}-32", labels={"ipnode": "n1", MANAGED_BY_LABEL: MANAGED_BY}
        ),
        spec=IpClaimSpec(
            cidr=f"{ip}/32",
            node_name="n1",
            services=(ServiceReference(namespace="d", name=f"s{number}", uid=f"s{number}-uid"),),
        ),
    )


def test_a_local_service_that_is_replaced_is_not_rebalanced_to_where_it_has_no_endpoint():
    async def main():
        services = Services()
        sources: EndpointSources[DetailedService] = EndpointSources(
            cast("ApiClient", NoServer()),
            cast("Informer[DetailedService]", services),
            on_change=lambda: None,
            clock=LoopClock(),
            rng=Random(1),  # noqa: S311 - repeatable
            metrics=Metrics("test"),
        )
        sources.slices._synced.set()
        for number in range(3):
            services.put(f"s{number}")
            sources.slices.store.put(served_on("n1", f"s{number}"))
            sources._nodes.update(f"d/s{number}")

        def moves():
            nodes = (
                NodeFacts(name=name, alive=True, kubernetes=KubernetesNode())
                for name in ("n1", "n2")
            )
            cluster = Snapshot(
                nodes=tuple(nodes),
                local_endpoints=sources.current(),
            )
            steady = frozenset({"n1", "n2"})
            claims = [claim(number) for number in range(3)]
            return [
                m.claim.metadata.name
                for m in plan_rebalance(claims, cluster, steady=steady, limit=2)
            ]

        assert moves() == []
        services.delete("s1")
        assert moves() == []  # it may be back in a moment
        await asyncio.sleep(LINGER_S + 0.1)
        assert moves() == ["10-0-0-1-32"]

    run_virtually(main())
