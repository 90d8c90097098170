"""The scheduler's verdict on each node is in its IpNode: soon, slowly and once, in virtual time."""

import asyncio
from contextlib import asynccontextmanager
from itertools import pairwise
from random import Random
from typing import cast

import msgspec
from msgspec.structs import replace

from extip.api.conditions import find_condition
from extip.api.ipcontroller_v1 import IpNode, IpNodeStatus
from extip.api.meta_v1 import Condition, FullObjectMeta
from extip.clock import LoopClock
from extip.errors import ApiUnavailableError, ConflictError
from extip.kube.client import ApiClient
from extip.nodes.verdicts import PACE_S, SETTLE_S, WRITE_S, NodeVerdicts
from tests.fakes.conditions import condition_of
from tests.fakes.tasks import beside
from tests.fakes.virtual_time import run_virtually

LINK = Condition(type="LinkReady", status="True", reason="LinkUp")


class World:
    """IpNodes at the API server, a cache of them, and what is known of each."""

    def __init__(self, count):
        names = [f"n{number:03d}" for number in range(count)]
        self.records = {
            name: IpNode(
                metadata=FullObjectMeta(name=name, resource_version="1"),
                status=IpNodeStatus(conditions=(LINK,)),
            )
            for name in names
        }
        self.server = dict(self.records)
        self.alive = dict.fromkeys(names, True)
        self.warm = True
        self.away: str | bool = False
        self.writes: list[tuple[float, str]] = []
        self.attempts = 0
        self.stuck = ""
        self.verdicts = NodeVerdicts(
            self.records,
            self.judge,
            cast("ApiClient", self),
            clock=LoopClock(),
            rng=Random(1),  # noqa: S311
        )

    def judge(self, name):
        if not self.warm:
            return None
        return Condition(type="Ready", status=str(self.alive[name]), reason="Because")

    async def patch(self, _nodes, patch, *, name, subresource):
        assert subresource == "status"
        self.attempts += 1
        if self.away == "hangs" or name == self.stuck:
            await asyncio.sleep(60)
        if self.away:
            raise ApiUnavailableError("away")
        patch = msgspec.to_builtins(patch)
        known = self.server[name]
        if patch["metadata"]["resourceVersion"] != known.metadata.resource_version:
            raise ConflictError("changed", status=409)
        conditions = msgspec.convert(patch["status"]["conditions"], tuple[Condition, ...])
        self.change(name, conditions)
        self.records[name] = self.server[name]
        self.writes.append((asyncio.get_running_loop().time(), name))
        return self.server[name]

    def change(self, name, conditions):
        known = self.server[name]
        version = str(int(known.metadata.resource_version) + 1)
        self.server[name] = replace(
            known,
            metadata=replace(known.metadata, resource_version=version),
            status=replace(known.status, conditions=conditions),
        )

    def says(self, name):
        found = find_condition(self.server[name].status.conditions, "Ready")
        return "" if found is None else found.status

    @asynccontextmanager
    async def leading(self):
        async with beside(self.verdicts.run()):
            yield


def play(scenario, count=3):
    run_virtually(scenario(World(count)))


def test_an_ip_node_tells_within_seconds_that_its_controller_is_gone():
    async def scenario(world):
        async with world.leading():
            await asyncio.sleep(SETTLE_S + 3 * PACE_S)
            assert [world.says(name) for name in world.server] == ["True"] * 3
            world.alive["n001"] = False
            world.verdicts.trigger()
            await asyncio.sleep(SETTLE_S + PACE_S)
            assert world.says("n001") == "False"
            assert condition_of(world.server["n001"].status.conditions, "LinkReady") == LINK
            before = world.attempts
            for _ in range(50):
                world.verdicts.trigger()
                await asyncio.sleep(1)
            assert world.attempts == before  # nothing has changed

    play(scenario)


def test_a_mass_event_is_told_slowly_and_the_bad_news_first():
    async def scenario(world):
        async with world.leading():
            world.alive["n099"] = False
            await asyncio.sleep(SETTLE_S + 200 * PACE_S)
            assert len(world.writes) == 100
            assert world.writes[0][1] == "n099"
            times = [at for at, _ in world.writes]
            assert min(b - a for a, b in pairwise(times)) >= PACE_S * 0.99

    play(scenario, count=100)


def test_what_is_over_in_a_moment_is_not_told():
    async def scenario(world):
        async with world.leading():
            await asyncio.sleep(SETTLE_S + 3 * PACE_S)
            world.alive["n001"] = False
            world.verdicts.trigger()
            await asyncio.sleep(SETTLE_S / 2)
            world.alive["n001"] = True
            world.verdicts.trigger()
            await asyncio.sleep(3 * SETTLE_S)
            assert len(world.writes) == 3

    play(scenario)


def test_nothing_is_said_before_it_is_known():
    async def scenario(world):
        world.warm = False
        async with world.leading():
            await asyncio.sleep(60)
            assert world.attempts == 0
            world.warm = True
            world.verdicts.trigger()
            await asyncio.sleep(SETTLE_S + 3 * PACE_S)
            assert len(world.writes) == 3

    play(scenario)


def test_a_controller_that_writes_at_the_same_time_loses_nothing():
    async def scenario(world):
        down = replace(LINK, status="False", reason="NoCarrier")
        world.change("n000", (down,))  # the watch has not brought it yet
        async with world.leading():
            await asyncio.sleep(SETTLE_S + PACE_S)
            assert condition_of(world.server["n000"].status.conditions, "LinkReady") == down
            assert world.says("n000") == ""
            world.records["n000"] = world.server["n000"]
            await asyncio.sleep(2 * SETTLE_S)
            assert condition_of(world.server["n000"].status.conditions, "LinkReady") == down
            assert world.says("n000") == "True"

    play(scenario, count=1)


def test_one_ip_node_that_cannot_be_written_keeps_no_other_waiting():
    """An admission webhook may refuse that very one, or hang over it."""

    async def scenario(world):
        world.stuck = "n000"
        async with world.leading():
            await asyncio.sleep(SETTLE_S + WRITE_S + 1 + SETTLE_S + 3 * PACE_S)
            assert [world.says(name) for name in world.server] == ["", "True", "True"]
            world.alive["n002"] = False
            world.verdicts.trigger()
            await asyncio.sleep(30 + WRITE_S + SETTLE_S + PACE_S)
            assert [world.says(name) for name in world.server] == ["", "True", "False"]

    play(scenario)


def test_a_write_that_fails_again_and_again_makes_no_other_late():
    """Before, news of one node waited for up to 30 s while another one's write went on to fail."""

    async def scenario(world):
        world.stuck = "n000"
        async with world.leading():
            await asyncio.sleep(100)
            for round_ in range(30):
                world.alive["n002"] = round_ % 2 == 1
                world.verdicts.trigger()
                await asyncio.sleep(2 * SETTLE_S + WRITE_S + 2 * PACE_S)
                assert world.says("n002") == str(world.alive["n002"])
            assert world.attempts - len(world.writes) <= 20
            world.stuck = ""
            await asyncio.sleep(40)
            assert world.says("n000") == "True"

    play(scenario)


def test_an_api_server_that_does_not_answer_is_left_alone():
    async def scenario(world):
        for fault in (True, "hangs"):
            world.away = fault
            async with world.leading():
                before = world.attempts
                await asyncio.sleep(120)
                assert 3 <= world.attempts - before <= 12
                world.away = False
                await asyncio.sleep(30 + WRITE_S + SETTLE_S + 3 * PACE_S)
                assert [world.says(name) for name in world.server] == ["True"] * 3
            for name in world.server:
                world.change(name, (LINK,))
                world.records[name] = world.server[name]

    play(scenario)
