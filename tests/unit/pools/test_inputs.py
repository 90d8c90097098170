"""What allocation learns of services, while one of them is replaced."""

import asyncio
from collections.abc import Callable
from typing import cast

import msgspec

from extip.api.core_v1 import DetailedService, LabelledNamespace
from extip.api.ipcontroller_v1 import IpClaimPool
from extip.cache.informer import Informer
from extip.cache.store import Store
from extip.pools.inputs import AllocationSources
from extip.services.lingering import LINGER_S
from extip.services.policy.requests import Owner
from tests.fakes.virtual_time import run_virtually
from tests.unit.pools.allocation_world import service_json


class Cache:
    """What is read of an informer."""

    def __init__(self):
        self.store: Store[DetailedService] = Store()
        self.handlers: list[Callable[[str], None]] = []

    def add_handler(self, handler):
        self.handlers.append(handler)

    def put(self, name, *, uid, port):
        wire = service_json(name, type="LoadBalancer")
        wire["metadata"]["uid"] = uid
        wire["spec"]["ports"] = [{"port": port, "protocol": "TCP"}]
        service = msgspec.json.decode(msgspec.json.encode(wire), type=DetailedService)
        self.store.put(service)
        self._tell(service.metadata.key)

    def delete(self, key):
        self.store.discard(key)
        self._tell(key)

    def _tell(self, key):
        for handler in self.handlers:
            handler(key)


def test_the_ports_of_a_service_that_is_replaced_are_nobody_elses_meanwhile():
    """Or whoever waits for one of them at a shared address has it, and the address is lost."""

    async def main():
        services = Cache()
        sources = AllocationSources(
            services=cast("Informer[DetailedService]", services),
            pools=cast("Informer[IpClaimPool]", Cache()),
            namespaces=cast("Informer[LabelledNamespace]", Cache()),
            lb_class="",
            allowed=(),
            on_change=lambda: None,
        )
        services.put("a", uid="1", port=80)
        owner = Owner(kind="Service", namespace="default", name="a", uid="1")
        services.delete("default/a")
        await asyncio.sleep(LINGER_S / 2)
        inputs = sources.current()
        (request,) = sources.address_requests.changes().values()
        assert request is not None
        assert request.owner == owner
        assert inputs.ports(owner) == {("TCP", 80)}
        services.put("a", uid="2", port=81)
        assert sources.current().ports(owner) == {("TCP", 81)}
        assert set(sources.address_requests.changes()) == {"default/a"}
        services.delete("default/a")
        await asyncio.sleep(LINGER_S + 0.1)
        inputs = sources.current()
        assert sources.address_requests.changes() == {"default/a": None}
        assert inputs.ports(owner) == frozenset()
        sources.address_requests.forget()
        assert sources.address_requests.changes() == {}

    run_virtually(main())
