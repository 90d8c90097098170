"""Where Nodes have no pod network, EndpointSlices say what pods have; and nobody waits for long."""

import asyncio
from contextlib import asynccontextmanager
from typing import Any, cast

from extip.api.core_v1 import Node, NodeMeta, NodeSpec
from extip.api.discovery_v1 import Endpoint, EndpointSlice, EndpointTarget
from extip.clock import LoopClock
from extip.guard.addresses_in_use import ClusterIps
from extip.guard.pod_inputs import PodSources
from extip.net.interfaces import IPAddress
from extip.services.policy.requests import parse_ip
from tests.fakes.tasks import beside
from tests.fakes.virtual_time import run_virtually

POD = EndpointTarget(kind="Pod")


class Informed:
    """An informer as far as it matters here."""

    def __init__(self) -> None:
        self.store: dict[str, Any] = {}
        self.synced = asyncio.Event()
        self._handlers: list[Any] = []

    @property
    def has_synced(self):
        return self.synced.is_set()

    async def wait_synced(self):
        await self.synced.wait()

    def add_handler(self, handler):
        self._handlers.append(handler)

    def put(self, key, item):
        self.store[key] = item
        for handler in self._handlers:
            handler(key)


class Rig:
    def __init__(self):
        self.nodes, self.slices = Informed(), Informed()
        self.begun = self.changes = 0
        self.asked: set[IPAddress] = set()
        self.pods = PodSources(
            cast("Any", self.nodes),
            cast("Any", self.slices),
            asked=self.asked,
            begin=self._begin,
            on_change=self._change,
            clock=LoopClock(),
        )

    def _begin(self):
        self.begun += 1

    def _change(self):
        self.changes += 1

    def waits(self):
        return self.pods.awaited

    def node(self, name, *networks):
        node = Node(metadata=NodeMeta(name=name), spec=NodeSpec(pod_cidrs=networks or None))
        self.nodes.put(name, node)

    def endpoints(self, key, *ips, target=POD):
        found = EndpointSlice(
            endpoints=tuple(Endpoint(addresses=(ip,), target=target) for ip in ips)
        )
        self.slices.put(key, found)

    def ask(self, *texts):
        wanted = {ip for text in texts if (ip := parse_ip(text)) is not None}
        self.asked |= wanted
        self.pods.look_at(wanted)

    def use(self):
        return self.pods.in_use(ClusterIps(dict[str, Any]().get))

    def having(self):
        return {*map(str, self.use().pod_ips)}

    @asynccontextmanager
    async def running(self):
        async with beside(*(c.run() for c in self.pods.components())):
            yield self


def test_nobody_watches_slices_while_all_nodes_have_pod_networks():
    async def main():
        async with Rig().running() as rig:
            rig.node("n1", "10.244.1.0/24")
            await asyncio.sleep(10)
            assert (rig.begun, rig.changes, rig.waits(), rig.pods.gap()) == (0, 0, False, "")

    run_virtually(main())


def test_pods_are_known_once_a_node_has_no_network_and_it_is_said_that_others_are_not():
    async def main():
        async with Rig().running() as rig:
            for name in ("n1", "n2", "n3", "n4"):
                rig.node(name)
            assert rig.begun == 1
            assert rig.waits()
            assert "(n1, n2, n3, ...)" in rig.pods.gap()
            rig.slices.synced.set()
            assert not rig.waits()
            rig.endpoints("ns/web-x", "10.0.7.7", "fd00:7::7")
            rig.endpoints("ns/outside", "10.0.7.8", target=None)
            rig.ask("10.0.7.7", "10.0.7.8", "10.0.7.9")
            assert rig.having() == {"10.0.7.7"}
            before = rig.changes
            rig.endpoints("ns/other", "10.0.7.10")
            assert rig.changes == before
            rig.endpoints("ns/other", "10.0.7.9")
            assert rig.changes == before + 1
            assert rig.having() == {"10.0.7.7", "10.0.7.9"}
            rig.endpoints("ns/web-x")
            assert rig.having() == {"10.0.7.9"}

    run_virtually(main())


def test_slices_that_cannot_be_read_hold_nothing_up_for_long():
    async def main():
        async with Rig().running() as rig:
            rig.node("n1")
            await asyncio.sleep(1)
            assert rig.waits()
            await asyncio.sleep(2)
            assert not rig.waits()
            assert rig.changes == 1

    run_virtually(main())


def test_a_start_goes_on_as_soon_as_slices_are_there():
    async def main():
        async with Rig().running() as rig:
            rig.node("n1")
            await asyncio.sleep(0.1)
            assert rig.changes == 0
            rig.slices.synced.set()
            await asyncio.sleep(0.1)
            assert rig.changes == 1

    run_virtually(main())


def test_a_node_that_comes_later_has_time_to_be_given_its_network_and_holds_nothing_up():
    async def main():
        async with Rig().running() as rig:
            rig.node("n1", "10.244.1.0/24")
            rig.use()
            rig.node("n2")
            assert not rig.waits()
            await asyncio.sleep(1)
            rig.node("n2", "10.244.2.0/24")
            await asyncio.sleep(60)
            assert rig.begun == 0
            rig.node("n3")
            await asyncio.sleep(60)
            assert rig.begun == 1
            assert not rig.waits()

    run_virtually(main())
