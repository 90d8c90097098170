"""Nodes that their neighbours call silent, from IpNodes and Leases to the verdict."""

import asyncio
from typing import cast

import pytest

from extip.api.coordination_v1 import Lease, LeaseSpec
from extip.api.ipcontroller_v1 import IpNode, IpNodeStatus
from extip.api.meta_v1 import FullObjectMeta
from extip.api.names import heartbeat_lease
from extip.clock import LoopClock
from extip.liveness.node_monitor import NodeMonitor
from extip.liveness.policy import Verdict
from extip.liveness.suspects import Suspects
from extip.metrics import Metrics
from extip.uplink.inputs import UplinkSource
from tests.fakes.tasks import beside
from tests.fakes.virtual_time import run_virtually

DUE_S = 100.0


class World:
    """Four nodes that are well."""

    def __init__(self):
        self.records: dict[str, IpNode] = {}
        self.leases: dict[str, Lease] = {}
        self.verdicts = dict.fromkeys("abcd", Verdict.ALIVE)
        self.refuses = False
        self.asked = 0
        self.reading = asyncio.Event()
        self.told: list[tuple[str, bool]] = []
        self.metrics = Metrics("test")
        self.suspects = Suspects(
            cast("NodeMonitor", self),
            self.records,
            self.leases,
            cast("UplinkSource", self),
            clock=LoopClock(),
            metrics=self.metrics,
        )
        self.suspects.add_handler(lambda node, withdrawn: self.told.append((node, withdrawn)))
        self._version = 0
        for node in "abcd":
            self.report(node)
            self.beat(node)

    def nodes(self):
        return self.verdicts

    async def condemn(self, node):
        self.reading.set()
        await asyncio.sleep(0.005)
        self.asked += 1
        if self.refuses:
            return None
        self.verdicts[node] = Verdict.DEAD
        return DUE_S

    def acquit(self, node):
        self.verdicts[node] = Verdict.ALIVE

    def unsettled(self):
        return frozenset()

    def report(self, witness, *silent):
        self._version += 1
        self.records[witness] = IpNode(
            metadata=FullObjectMeta(name=witness, resource_version=str(self._version)),
            status=IpNodeStatus(silent=silent or None),
        )
        self.suspects.on_record(witness)

    def beat(self, node):
        self._version += 1
        name = heartbeat_lease(node)
        self.leases[f"ns/{name}"] = Lease(
            metadata=FullObjectMeta(name=name, namespace="ns", resource_version=str(self._version)),
            spec=LeaseSpec(holder_identity=node, renew_time=f"t{self._version}"),
        )
        self.suspects.on_lease(f"ns/{name}")

    def count(self, result):
        name = "extip_suspicions_total"
        return self.metrics.registry.get_sample_value(name, {"result": result}) or 0


def play(scenario):
    async def main():
        world = World()
        async with beside(world.suspects.run()):
            await asyncio.sleep(10.0)
            world.report("b", "a")
            world.report("c", "a")
            await scenario(world)

    run_virtually(main())


def test_a_node_that_two_call_silent_is_condemned_once_and_told_of():
    async def scenario(world):
        await asyncio.sleep(1.0)
        assert world.verdicts["a"] is Verdict.DEAD
        assert world.asked == 1
        assert world.told == [("a", False)]
        assert world.count("dead") == 1

    play(scenario)


def test_a_heartbeat_before_that_is_an_objection():
    async def scenario(world):
        await asyncio.sleep(0.05)
        world.beat("a")
        await asyncio.sleep(1.0)
        assert world.asked == 0
        assert world.told == []
        assert world.count("objected") == 1

    play(scenario)


@pytest.mark.parametrize("sign", ["heartbeat", "answers"])
def test_a_sign_of_life_after_that_withdraws_it_and_the_node_is_left_alone(sign):
    async def scenario(world):
        await asyncio.sleep(1.0)
        if sign == "heartbeat":
            world.beat("a")
            assert world.told == [("a", False), ("a", True)]
            world.verdicts["a"] = Verdict.ALIVE
        world.report("b")
        world.report("c")
        assert world.verdicts["a"] is Verdict.ALIVE
        assert world.told == [("a", False), ("a", True)]
        assert world.count("withdrawn") == 1
        await asyncio.sleep(10.0)
        world.report("b", "a")
        world.report("c", "a")
        await asyncio.sleep(1.0)
        assert world.asked == 1, "it was wrong a moment ago"

    play(scenario)


def test_a_node_that_comes_back_when_it_would_have_been_dead_anyway_was_not_suspected_wrongly():
    async def scenario(world):
        await asyncio.sleep(1.0)
        await asyncio.sleep(DUE_S)
        world.beat("a")
        assert world.told == [("a", False)]
        assert world.count("withdrawn") == 0

    play(scenario)


def test_a_node_that_has_been_dead_for_long_is_not_alive_since_nobody_accuses_it_any_more():
    """Its neighbours' controllers restart: they know nobody that is silent."""

    async def scenario(world):
        await asyncio.sleep(DUE_S + 1.0)
        world.report("b")
        world.report("c")
        assert world.verdicts["a"] is Verdict.DEAD
        assert world.told == [("a", False)]

    play(scenario)


def test_a_node_whose_neighbours_take_that_back_during_the_read_stays_alive():
    async def scenario(world):
        await world.reading.wait()
        world.report("b")
        world.report("c")
        await asyncio.sleep(1.0)
        assert world.asked == 1
        assert world.verdicts["a"] is Verdict.ALIVE
        assert world.told == []
        assert world.count("dead") == 0

    play(scenario)


def test_a_read_that_shows_life_condemns_nobody():
    async def scenario(world):
        world.refuses = True
        await asyncio.sleep(1.0)
        assert world.asked == 1
        assert world.told == []

    play(scenario)


def test_a_witness_whose_record_is_gone_accuses_nobody():
    async def scenario(world):
        del world.records["c"]
        world.suspects.on_record("c")
        await asyncio.sleep(1.0)
        assert world.asked == 0

    play(scenario)
