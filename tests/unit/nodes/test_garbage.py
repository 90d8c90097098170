"""A node is forgotten when nothing is left of it, and a wrong namespace is found out."""

import asyncio
from types import SimpleNamespace
from typing import cast

import pytest
from structlog.testing import capture_logs

from extip.api.ipcontroller_v1 import IpClaim, IpClaimSpec
from extip.liveness.node_monitor import NodeMonitor
from extip.liveness.policy import Verdict
from extip.nodes.garbage import StaleNodeCollector
from tests.fakes.virtual_time import run_virtually

DEAD, ALIVE = Verdict.DEAD, Verdict.ALIVE


class World:
    """What is there, and what the collector made of it."""

    def __init__(self, **verdicts):
        self.verdicts = verdicts
        self.records: dict[str, object] = {}
        self.leases: dict[str, object] = {}
        self.claims: dict[str, IpClaim] = {}
        self.told = 0
        self.ready = True
        self.stale_nodes = StaleNodeCollector(
            cast(
                "NodeMonitor",
                SimpleNamespace(nodes=lambda: self.verdicts, forget=self.verdicts.pop),
            ),
            records=self.records,
            leases=self.leases,
            claims=self.claims,
            namespace="x",
            after_s=4.0,
            ready=lambda: self.ready,
            on_change=self._changed,
        )

    def _changed(self, node):
        assert node not in self.verdicts
        self.told += 1

    def add(self, node, *, record=True, lease=True):
        if record:
            self.records[node] = object()
        if lease:
            self.leases[f"x/extip-node-{node}"] = object()

    def remove_record(self, node):
        del self.records[node]
        self.stale_nodes.on_record(node)

    def remove_lease(self, node):
        del self.leases[f"x/extip-node-{node}"]
        self.stale_nodes.on_lease(f"x/extip-node-{node}")


@pytest.mark.parametrize("order", [("record", "lease"), ("lease", "record")])
def test_a_dead_node_is_forgotten_once_nothing_is_left_of_it(order):
    async def main():
        world = World(a=DEAD, b=ALIVE)
        world.add("a")
        world.add("b")
        for what in order:
            assert set(world.verdicts) == {"a", "b"}
            (world.remove_record if what == "record" else world.remove_lease)("a")
            await asyncio.sleep(5)
        assert set(world.verdicts) == {"b"}
        assert world.told == 1

    run_virtually(main())


def test_whoever_lives_or_is_named_stays():
    async def main():
        world = World(a=DEAD, b=ALIVE)
        world.claims["c"] = IpClaim(spec=IpClaimSpec(cidr="10.0.0.1/32", node_name="a"))
        world.stale_nodes.trigger()
        await asyncio.sleep(5)
        assert set(world.verdicts) == {"a", "b"}
        del world.claims["c"]
        world.stale_nodes.on_claim("c")
        await asyncio.sleep(5)
        assert set(world.verdicts) == {"b"}

    run_virtually(main())


def test_nothing_is_forgotten_before_all_is_known():
    async def main():
        world = World(a=DEAD)
        world.ready = False
        world.stale_nodes.trigger()
        await asyncio.sleep(5)
        assert set(world.verdicts) == {"a"}

    run_virtually(main())


def test_controllers_with_heartbeats_elsewhere_are_told_of_once():
    async def main():
        world = World()
        with capture_logs() as logs:
            for _ in range(3):
                world.add("a", lease=False)
                world.stale_nodes.on_record("a")
                await asyncio.sleep(5)
            assert [(e["event"], e["namespace"]) for e in logs] == [("heartbeats_not_found", "x")]
            assert "--namespace" in logs[0]["reason"]
            world.add("a")
            world.stale_nodes.trigger()
            await asyncio.sleep(5)
            assert len(logs) == 1

    run_virtually(main())


def test_controllers_that_start_a_moment_after_their_record_are_no_matter():
    async def main():
        world = World()
        with capture_logs() as logs:
            world.add("a", lease=False)
            world.stale_nodes.on_record("a")
            await asyncio.sleep(1)
            world.add("a")
            await asyncio.sleep(5)
        assert logs == []

    run_virtually(main())
