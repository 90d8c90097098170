"""A node is judged by its heartbeats where the scheduler looks, and not before that is clear."""

import asyncio
from typing import cast

from extip.api.coordination_v1 import Lease, LeaseSpec
from extip.clock import LoopClock
from extip.liveness.node_monitor import NodeMonitor
from extip.liveness.policy import Verdict
from extip.nodes.verdict_sources import VerdictSources
from extip.scheduling.policy.filters import KubernetesNode, NodeFacts
from tests.fakes.virtual_time import run_virtually

PATIENCE_S = 4.0
HELD = Lease(spec=LeaseSpec(holder_identity="n1"))


class World:
    """What a monitor and a cache of Leases say of one node."""

    def __init__(self):
        self.state = Verdict.UNKNOWN
        self.began_at: float | None = None
        self.leases: dict[str, Lease] = {}
        self.kubernetes: dict[str, KubernetesNode] = {"n1": KubernetesNode()}
        self.sources = VerdictSources(
            cast("NodeMonitor", self),
            facts=self.facts,
            lease=self.leases.get,
            kubernetes=self.kubernetes,
            namespace="here",
            patience_s=PATIENCE_S,
            ignored=frozenset(),
            clock=LoopClock(),
        )

    def verdict(self, _node):
        return self.state

    def since(self, _node):
        return self.began_at

    def leaving(self, _node):
        return ""

    def facts(self, name):
        alive = self.state is Verdict.ALIVE
        return NodeFacts(name=name, alive=alive, kubernetes=self.kubernetes.get(name))

    def reason(self):
        condition = self.sources.judge("n1")
        return None if condition is None else condition.reason


def test_heartbeats_in_another_namespace_are_none():
    async def main():
        world = World()
        world.leases["there/extip-node-n1"] = HELD
        assert world.reason() == "HeartbeatNotFound"
        world.leases["here/extip-node-n1"] = HELD
        world.state = Verdict.ALIVE
        assert world.reason() == "Eligible"

    run_virtually(main())


def test_a_node_of_which_nothing_is_known_is_not_judged_at_once():
    """Late for a moment, or the scheduler has just begun to look."""

    async def main():
        world = World()
        world.leases["here/extip-node-n1"] = HELD
        assert world.reason() is None
        world.began_at = asyncio.get_running_loop().time()
        await asyncio.sleep(PATIENCE_S - 0.1)
        assert world.reason() is None
        await asyncio.sleep(0.2)
        assert world.reason() == "HeartbeatUnknown"
        world.state = Verdict.DEAD
        assert world.reason() == "NodeDead"

    run_virtually(main())


def test_a_kubernetes_node_of_almost_its_name_is_proposed():
    async def main():
        world = World()
        world.state = Verdict.ALIVE
        world.kubernetes["n1.example.com"] = world.kubernetes.pop("n1")
        condition = world.sources.judge("n1")
        assert condition is not None
        assert condition.message.endswith("--hostname n1.example.com")

    run_virtually(main())
