"""The status of a pool comes after all that people wait for, and tells everything once."""

import asyncio
from functools import wraps
from ipaddress import ip_address

import msgspec

from extip.api.pool_parts import SetAsideAddress
from extip.clock import LoopClock
from extip.metrics import Metrics
from extip.pools import pool_statuses
from extip.pools.policy.pools import compile_pools
from extip.pools.policy.usage import PoolUsage, pool_status_patch
from extip.pools.pool_statuses import APART_S, PoolStatuses
from tests.fakes.virtual_time import run_virtually
from tests.unit.pools.allocation_world import merged, on_the_wire, pool


class World:
    """A pool, and services that get its addresses."""

    def __init__(self):
        self.known = {"p": pool("p", "10.0.0.0/24")}
        self.users = {}
        self.aside = {}
        self.compile()
        self.metrics = Metrics("test")
        self.statuses = PoolStatuses(clock=LoopClock(), metrics=self.metrics)

    def compile(self):
        self.pools = compile_pools(self.known.values())
        self.usage = PoolUsage(self.pools, self.users)
        self.usage.take(self.users)

    def give(self, text, service):
        ip = ip_address(text)
        self.users[ip] = service
        self.usage.take([ip])

    def gauge(self, state, pool="p"):
        labels = {"pool": pool, "state": state}
        return self.metrics.registry.get_sample_value("extip_pool_addresses", labels)

    def plan(self):
        return self.statuses.plan(self.pools, self.known, self.usage, self.aside)

    def show(self, patch=None):
        """Have the watch deliver the write, or another one."""
        status = on_the_wire(patch or self.statuses.writes["p"].patch)["status"]
        known = self.known["p"]
        version = str(int(known.metadata.resource_version) + 1)
        self.known["p"] = msgspec.structs.replace(
            known,
            metadata=msgspec.structs.replace(known.metadata, resource_version=version),
            status=msgspec.convert(
                merged(msgspec.to_builtins(known.status), status), type(known.status)
            ),
        )


async def at_rest():
    world = World()
    assert world.plan() is None
    assert "p" in world.statuses.writes, "a leader brings a status up to date at once"
    world.show()
    await asyncio.sleep(60)
    assert world.plan() is None
    assert not world.statuses.writes
    return world


def with_world(test):
    @wraps(test)
    def run():
        async def main():
            await test(await at_rest())

        run_virtually(main())

    del run.__wrapped__  # or pytest looks for a fixture
    return run


@with_world
async def test_an_address_is_told_a_second_later_with_all_that_were_given_meanwhile(world):
    world.give("10.0.0.1", "a")
    assert world.plan() == APART_S
    assert world.gauge("used") == 1, "a gauge costs no write"
    await asyncio.sleep(0.6)
    world.give("10.0.0.2", "b")
    left_s = world.plan()
    assert not world.statuses.writes, "the claim and the service are written now"
    assert abs(left_s - (APART_S - 0.6)) < 0.001, "the second address does not make it later"
    await asyncio.sleep(left_s)
    assert world.plan() is None
    assert world.statuses.writes["p"].patch["status"]["allocated"] == {
        "10.0.0.1": "a",
        "10.0.0.2": "b",
    }


@with_world
async def test_nothing_is_to_be_looked_at_again_after_a_write(world):
    world.give("10.0.0.1", "a")
    await asyncio.sleep(world.plan())
    world.plan()
    world.show()
    assert world.plan() is None, "what the watch shows is the write itself"
    assert not world.statuses.writes


@with_world
async def test_an_edit_of_the_pool_is_told_at_once(world):
    edited = msgspec.structs.replace(world.known["p"].spec, cidr="10.0.0.0/25")
    world.known["p"] = msgspec.structs.replace(world.known["p"], spec=edited)
    world.compile()
    world.statuses.compare_anew()
    assert world.plan() is None
    assert "p" in world.statuses.writes


@with_world
async def test_an_address_that_is_set_aside_is_told_at_once_for_the_next_leader_reads_it(world):
    world.give("10.0.0.1", "a")
    assert world.plan() == APART_S
    world.aside = {ip_address("10.0.0.9"): SetAsideAddress(message="taken", time="")}
    assert world.plan() is None
    status = world.statuses.writes["p"].patch["status"]
    assert set(status["setAside"]) == {"10.0.0.9"}
    assert status["allocated"] == {"10.0.0.1": "a"}


@with_world
async def test_a_status_that_somebody_undoes_each_time_is_written_once_a_second(world):
    undone = {"status": {"free": 7}}
    world.show(undone)
    assert world.plan() is None
    assert "p" in world.statuses.writes
    world.show()
    world.plan()
    world.show(undone)
    assert world.plan() == APART_S
    assert not world.statuses.writes
    await asyncio.sleep(APART_S)
    assert world.plan() is None
    assert "p" in world.statuses.writes


@with_world
async def test_a_pool_that_is_gone_is_forgotten(world):
    """Also where all statuses are compared anew for that reason."""
    world.give("10.0.0.1", "a")
    await asyncio.sleep(world.plan())
    world.plan()
    assert world.statuses.writes
    del world.known["p"]
    world.compile()
    world.statuses.compare_anew()
    assert world.plan() is None
    assert not world.statuses.writes
    assert [world.gauge(state) for state in ("used", "free", "set aside")] == [None] * 3


def test_pools_with_many_addresses_have_their_turn_one_after_another(monkeypatch):
    """Also while another program undoes the first one's status all the time."""
    looked_at = []

    def patch_of(shown, of, *rest, **also):
        looked_at.append(of.name)
        return pool_status_patch(shown, of, *rest, **also)

    monkeypatch.setattr(pool_statuses, "MAX_LISTED", 2)
    monkeypatch.setattr(pool_statuses, "pool_status_patch", patch_of)

    async def main():
        world = await at_rest()
        world.known |= {f"p{n}": pool(f"p{n}", f"10.0.{n}.0/24") for n in range(1, 5)}
        world.users = {ip_address(f"10.0.{n}.{one}"): "a" for n in range(5) for one in (1, 2)}
        world.compile()
        world.statuses.compare_anew()
        looked_at.clear()
        for number in range(5):
            assert world.plan() == 0.0, "others have their turn at once"
            assert len(looked_at) == number + 1
            world.show({"status": {"free": number}})
        assert sorted(looked_at) == ["p", "p1", "p2", "p3", "p4"]
        assert world.plan() == world.plan() == APART_S, "our last write is a moment ago"
        assert looked_at[5:] == ["p"], "once is enough to know that it has to wait"
        await asyncio.sleep(APART_S)
        assert world.plan() is None
        assert sorted(world.statuses.writes) == ["p", "p1", "p2", "p3", "p4"]

    run_virtually(main())
