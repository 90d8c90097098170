"""Which services have no ready endpoint, and whether that has lasted."""

import asyncio
from typing import Any

import pytest

from extip.api.discovery_v1 import (
    Endpoint,
    EndpointConditions,
    EndpointSlice,
    EndpointSliceLabels,
    EndpointSliceMeta,
)
from extip.clock import LoopClock
from extip.endpoints.readiness import SETTLE_S, Readiness
from extip.services.lingering import LINGER_S
from tests.fakes.virtual_time import run_virtually
from tests.unit.endpoints.test_inputs import Services

READY, NOT_READY = True, False


def informer() -> Any:
    return Services()


class World:
    """Services, their slices, and what is said of them."""

    def __init__(self, **options):
        self.services = informer()
        self.slices = informer()
        self.slices.has_synced = True
        self.told = 0
        self.readiness: Readiness[Any] = Readiness(
            self.slices,
            self.services,
            on_change=self._tell,
            clock=LoopClock(),
            **options,
        )

    def _tell(self):
        self.told += 1

    def endpoints(self, service, *ready, name=""):
        """Write a slice of a service, with endpoints that are ready, or not."""
        labels = EndpointSliceLabels(service=service) if service else None
        endpoints = tuple(
            Endpoint(conditions=EndpointConditions(ready=one), node_name=None) for one in ready
        )
        name = name or service
        meta = EndpointSliceMeta(name=name, namespace="d", labels=labels)
        self.slices.store.put(EndpointSlice(metadata=meta, endpoints=endpoints))
        self.slices.tell(f"d/{name}")

    def unready(self):
        return dict(self.readiness.unready())


def play(scenario, **options):
    async def main():
        await scenario(World(**options))

    run_virtually(main())


def test_a_service_without_a_ready_endpoint_counts_after_a_while():
    async def scenario(world):
        world.services.put("web")
        world.endpoints("web", READY)
        assert world.unready() == {}
        world.endpoints("web", NOT_READY)
        assert world.unready() == {"d/web": False}
        told = world.told
        await asyncio.sleep(SETTLE_S + 0.1)
        assert world.unready() == {"d/web": True}
        assert world.told > told
        world.endpoints("web", NOT_READY, READY)
        assert world.unready() == {}

    play(scenario)


def test_a_rolling_restart_does_not_count():
    async def scenario(world):
        world.services.put("web")
        for _ in range(4):
            world.endpoints("web", NOT_READY)
            await asyncio.sleep(SETTLE_S * 0.9)
            assert world.unready() == {"d/web": False}
            world.endpoints("web", READY)
            await asyncio.sleep(SETTLE_S * 0.2)
            assert world.unready() == {}

    play(scenario)


@pytest.mark.parametrize("ready", [True, None])
def test_one_ready_endpoint_in_any_slice_is_enough(ready):
    """None counts as ready, and so does an endpoint that is on no node."""

    async def scenario(world):
        world.services.put("web")
        world.endpoints("web", NOT_READY, name="web-1")
        world.endpoints("web", ready, name="web-2")
        assert world.unready() == {}
        world.slices.delete("web-2")
        assert world.unready() == {"d/web": False}

    play(scenario)


def test_a_slice_may_change_its_service_and_a_service_may_go():
    async def scenario(world):
        for name in ("web", "db"):
            world.services.put(name)
        world.endpoints("web", READY, name="one")
        assert world.unready() == {"d/db": False}
        world.endpoints("db", READY, name="one")
        assert world.unready() == {"d/web": False}
        world.services.delete("web")
        await asyncio.sleep(LINGER_S + 0.1)
        assert world.unready() == {}
        world.endpoints("", READY, name="one")
        assert world.unready() == {"d/db": False}

    play(scenario)


def test_a_service_that_is_deleted_counts_as_long_as_its_ips_stay_wanted():
    """Else an IP that is down would come up for the last two seconds of its service."""

    async def scenario(world):
        world.services.put("web")
        world.endpoints("web", NOT_READY)
        assert world.unready() == {"d/web": False}
        await asyncio.sleep(SETTLE_S + 0.1)
        world.services.delete("web")
        await asyncio.sleep(LINGER_S)
        assert world.unready() == {"d/web": True}
        await asyncio.sleep(0.1)
        assert world.unready() == {}

    play(scenario)


def test_a_service_that_is_replaced_begins_no_new_time():
    async def scenario(world):
        world.services.put("web")
        world.endpoints("web", NOT_READY)
        assert world.unready() == {"d/web": False}
        await asyncio.sleep(SETTLE_S + 0.1)
        world.services.delete("web")
        await asyncio.sleep(LINGER_S / 2)
        world.services.put("web")
        for _ in range(3):
            assert world.unready() == {"d/web": True}
            await asyncio.sleep(LINGER_S)
        world.endpoints("web", READY)
        assert world.unready() == {}

    play(scenario)


def test_only_services_that_count_are_followed():
    async def scenario(world):
        for name in ("web", "quiet"):
            world.services.put(name)
            world.endpoints(name, NOT_READY)
        assert world.unready() == {"d/web": False}

    play(scenario, counts=lambda service: service.metadata.name == "web")


def test_before_the_slices_are_known_nothing_has_lasted():
    """A new leader leaves up what is up, and down what is down. Their time begins after that."""

    async def scenario(world):
        world.slices.has_synced = False
        world.services.put("web")
        world.services.put("db")
        await asyncio.sleep(2 * SETTLE_S)
        assert world.unready() == {"d/web": False, "d/db": False}
        world.endpoints("db", READY)
        world.slices.has_synced = True
        assert world.unready() == {"d/web": False}
        await asyncio.sleep(SETTLE_S + 0.1)
        assert world.unready() == {"d/web": True}

    play(scenario)


def test_the_same_object_is_returned_while_nothing_changes():
    async def scenario(world):
        world.services.put("web")
        first = world.readiness.unready()
        world.endpoints("web", NOT_READY)
        assert world.readiness.unready() is first

    play(scenario)
