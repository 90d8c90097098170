"""Whatever is not answered, everything else is written as if it were."""

import asyncio
from collections import Counter
from typing import cast

import pytest

from extip.api.conditions import find_condition
from extip.api.ipcontroller_v1 import ASSIGNED
from extip.clock import LoopClock
from extip.errors import ApiUnavailableError
from extip.log import Logger
from extip.scheduling.scheduler import CONCURRENCY
from extip.writes.lanes import WRITE_S
from tests.fakes.recorder import RecordingLogger
from tests.fakes.virtual_time import run_virtually, virtually
from tests.unit.pools import test_allocator
from tests.unit.pools.allocation_world import pool, service_json
from tests.unit.scheduling.test_scheduler import (
    LATENCY_S,
    ClaimServer,
    World,
    assigned,
    ips,
)

NEVER_S = 1e6


class HangingServer(ClaimServer):
    """Some of its writes are never answered."""

    def __init__(self):
        super().__init__()
        self.hung: set[str] = set()
        """Names of claims that cannot be created or changed."""
        self.status_hangs = False

    async def create(self, claim):
        await self._hang(claim)
        return await super().create(claim)

    async def patch(self, claim, patch):
        if "spec" in patch:
            await self._hang(claim)
        return await super().patch(claim, patch)

    async def patch_status(self, claim, patch):
        if self.status_hangs:
            await asyncio.sleep(NEVER_S)
        return await super().patch_status(claim, patch)

    async def _hang(self, claim):
        if claim.metadata.name in self.hung:
            self.tries.append(("hung", claim.metadata.name))
            await asyncio.sleep(NEVER_S)


class HangingServices(test_allocator.Server):
    """Writes to services may hang; the watch shows at once what was written."""

    def __init__(self):
        super().__init__()
        self.hangs = False
        self.set_pool(pool("p", "10.7.0.0/22"))

    async def publish(self, update):
        if self.hangs:
            await asyncio.sleep(NEVER_S)
        await super().publish(update)
        self.show()

    def add_many(self, count):
        """Have so many new load balancers."""
        for number in range(count):
            name = f"s{number}"
            self.services[name] = service_json(name, type="LoadBalancer")
        self.show()


class SlowServices(HangingServices):
    """Answers as late as the server of claims; knows when."""

    def __init__(self, latency_s=LATENCY_S):
        super().__init__()
        self.latency_s = latency_s
        self.published_at: dict[str, float] = {}

    async def publish(self, update):
        await asyncio.sleep(self.latency_s)
        await super().publish(update)
        self.published_at[str(update.ingress[0].ip)] = LoopClock().monotonic()


class TimedServer(ClaimServer):
    """Knows when claims were made."""

    def __init__(self):
        super().__init__()
        self.created_at: dict[str, float] = {}

    async def create(self, claim):
        created = await super().create(claim)
        ip = claim.spec.cidr.split("/")[0]
        self.created_at[ip] = LoopClock().monotonic()
        return created


@virtually
async def test_a_service_says_its_address_as_soon_as_a_claim_does_however_many_are_new():
    services, server = SlowServices(), TimedServer()
    async with World(server=server, allocator=services.allocator).running() as world:
        services.add_many(100)
        world.scheduler.trigger()
        await asyncio.sleep(2)
        lags = [services.published_at[ip] - at for ip, at in server.created_at.items()]
        assert len(lags) == 100
        assert max(lags) < 3 * LATENCY_S


@virtually
async def test_new_claims_do_not_wait_for_services_that_are_slow_to_write():
    """One at a time they would take as long as all the services: the last one minutes."""
    services, server = SlowServices(latency_s=20 * LATENCY_S), TimedServer()
    async with World(server=server, allocator=services.allocator).running() as world:
        services.add_many(200)
        began_s = LoopClock().monotonic()
        world.scheduler.trigger()
        await asyncio.sleep(5)
        assert len(server.created_at) == 200
        assert max(server.created_at.values()) - began_s < 2 * 200 / CONCURRENCY * LATENCY_S
        assert len(services.published_at) == 200


async def moved_within(world, bound_s):
    """Let n2 die; return once none of its claims names it, or fail."""
    world.alive = {"n1", "n3"}
    world.scheduler.trigger_at_once()
    async with asyncio.timeout(bound_s):
        while "n2" in world.placed().values():  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.005)


@pytest.mark.parametrize("count", [8, 60])
def test_a_dead_nodes_claims_move_at_once_while_writes_to_services_hang(count):
    async def scenario():
        services = HangingServices()
        async with World(allocator=services.allocator).running() as world:
            await world.ask(*ips(30), wait_s=5)
            services.hangs = True
            services.add_many(count)
            world.scheduler.trigger()
            await asyncio.sleep(2)
            await moved_within(world, 0.4)
            await asyncio.sleep(8)
            claims = world.server.objects.values()
            assert len(claims) == 30 + count
            assert all(assigned(claim).status == "True" for claim in claims)
            services.hangs = False
            await asyncio.sleep(60)
            assert all(s["status"]["loadBalancer"] for s in services.services.values())

    run_virtually(scenario())


@pytest.mark.parametrize("phase_s", [0.0, 3.9])
def test_a_dead_nodes_claims_move_at_once_while_what_is_said_of_claims_hangs(phase_s):
    async def scenario():
        server = HangingServer()
        server.status_hangs = True
        async with World(server=server).running() as world:
            await world.ask(*ips(90), wait_s=2 + phase_s)
            await moved_within(world, 0.1)

    run_virtually(scenario())


@pytest.mark.parametrize("phase_s", [0.7, 3.9])
def test_one_claim_whose_write_hangs_delays_no_other(phase_s):
    async def scenario():
        server = HangingServer()
        server.hung = {"10-0-9-9-32"}
        async with World(server=server).running() as world:
            await world.ask(*ips(90), "10.0.9.9", wait_s=2 + phase_s)
            await moved_within(world, 0.1)
            await asyncio.sleep(2)
            claims = world.server.objects.values()
            assert len(claims) == 90
            assert all(find_condition(c.status.conditions, ASSIGNED) is not None for c in claims)
            server.hung.clear()
            await asyncio.sleep(20)
            assert "10.0.9.9/32" in world.placed()

    run_virtually(scenario())


@virtually
async def test_moves_that_hang_delay_the_others_for_a_moment_only():
    server = HangingServer()
    async with World(server=server).running() as world:
        await world.ask(*ips(200), wait_s=5)
        dead = [c for c in server.objects.values() if c.spec.node_name == "n2"]
        server.hung = {claim.metadata.name for claim in dead[:40]}
        world.alive = {"n1", "n3"}
        world.scheduler.trigger_at_once()
        await asyncio.sleep(2)
        assert Counter(world.placed().values())["n2"] == 40
        server.hung.clear()
        await asyncio.sleep(20)
        assert "n2" not in world.placed().values()


@virtually
async def test_new_claims_that_hang_delay_no_move_and_new_ones_hardly():
    server = HangingServer()
    async with World(server=server).running() as world:
        await world.ask(*ips(30), wait_s=5)
        hung = [f"10.0.8.{n}" for n in range(1, 91)]
        server.hung = {f"{ip.replace('.', '-')}-32" for ip in hung}
        await world.ask(*ips(30), *hung, wait_s=1)
        await moved_within(world, 0.1)
        await asyncio.sleep(5)
        await world.ask(*ips(40), *hung, wait_s=1)
        assert len(world.placed()) == 40
        server.tries.clear()
        await asyncio.sleep(30)
        tries = Counter(name for kind, name in server.tries if kind == "hung")
        assert max(tries.values()) < 8, "each is put off"


@virtually
async def test_it_is_even_though_claims_are_planned_anew_while_writes_are_on_their_way():
    async with World().running() as world:
        world.ips = ips(90)
        for _ in range(20):
            world.scheduler.trigger_at_once()
            await asyncio.sleep(0.004)
        await asyncio.sleep(2)
        assert sorted(Counter(world.placed().values()).values()) == [30, 30, 30]
        assert world.server.writes.count(("create", "10-0-1-1-32")) == 1
        assert world.moves == []


@virtually
async def test_nothing_is_answered_is_said_only_when_nothing_is():
    server = HangingServer()
    world = World(server=server)
    logger = RecordingLogger()
    world.scheduler._write_reports._log = cast("Logger", logger)

    async def renew_the_lease():
        while True:
            await asyncio.sleep(2)
            if server.error is None:
                world.scheduler.answered(0.01)

    async with world.running():
        renewing = asyncio.ensure_future(renew_the_lease())
        server.hung = {"10-0-1-1-32", "10-0-1-2-32", "10-0-1-3-32", "10-0-1-4-32", "10-0-1-5-32"}
        await world.ask(*ips(50), wait_s=20)
        for number in range(50, 60):
            await world.ask(*ips(number), wait_s=1)
        assert logger.events().count("writes_failed") == 1
        server.hung.clear()
        await asyncio.sleep(40)
        assert logger.events() == ["writes_failed", "writes_succeeded"]
        server.error = ApiUnavailableError("no route")
        await world.ask(*ips(80), wait_s=10)
        assert logger.events().count("nothing_answered") == 1
        server.error = None
        await asyncio.sleep(20)
        assert logger.events()[-2:] == ["answered_again", "writes_succeeded"]
        assert len(server.objects) == 80
        renewing.cancel()


@virtually
async def test_a_server_that_is_away_is_asked_ever_less_and_all_is_written_when_it_is_back():
    async with World().running() as world:
        world.server.error = ApiUnavailableError("no route")
        await world.ask(*ips(60), wait_s=30)
        world.server.tries.clear()
        await asyncio.sleep(30)
        assert len(world.server.tries) < 30 / 7.5 * 60
        world.server.error = None
        world.scheduler.retry()
        await asyncio.sleep(0.5)
        assert len(world.placed()) == 60


@virtually
async def test_a_mass_move_is_not_planned_anew_for_each_write():
    async with World().running() as world:
        await world.ask(*ips(300), wait_s=5)
        passes = len(world.rejected)
        await moved_within(world, 1)
        assert len(world.rejected) - passes < 6


@virtually
async def test_who_does_not_lead_any_more_has_no_write_on_its_way():
    server = HangingServer()
    async with World(server=server).running() as world:
        server.hung = {"10-0-1-1-32"}
        server.status_hangs = True
        await world.ask(*ips(50), wait_s=0.1)
        begun = LoopClock().monotonic()
    assert LoopClock().monotonic() == begun, "it waited for what hangs"
    assert WRITE_S < 15 - 10, "lease duration less renew deadline"
    assert not any(server.active.values())
    tries = len(server.tries)
    await asyncio.sleep(60)
    assert len(server.tries) == tries
