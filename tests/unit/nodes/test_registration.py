"""The IpNode says what the node is, at once when it matters, in virtual time."""

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace
from ipaddress import ip_address, ip_interface
from random import Random
from typing import cast

import msgspec
import pytest

from extip.addresses.ports import AddressTable, LinkTable
from extip.api.conditions import with_condition
from extip.api.ipcontroller_v1 import IpNode, IpNodeStatus
from extip.api.meta_v1 import Condition
from extip.clock import LoopClock
from extip.errors import ApiUnavailableError, ConflictError, LinkNotFoundError, NotFoundError
from extip.kube.client import ApiClient
from extip.net.interfaces import Gateways, Link, ObservedAddress
from extip.net.link_selection import LinkSelection
from extip.nodes.registration import (
    COUNTS_PER_S,
    INTERVAL_S,
    LEFT_S,
    SOON_S,
    NodeRegistration,
)
from tests.fakes.conditions import condition_of
from tests.fakes.interfaces import ethernet
from tests.fakes.tasks import beside
from tests.fakes.virtual_time import run_virtually

ETH0 = ethernet(index=1, promotes_secondaries=True)


class World:
    """A node, and its IpNode at the API server."""

    def __init__(self):
        self.eth0: Link | None = ETH0
        self.claims = 0
        self.nodes = 3
        self.isolated: frozenset[str] = frozenset()
        self.silent: tuple[str, ...] = ()
        self.refused: tuple[str, ...] = ()
        self.routers = frozenset({ip_address("10.0.0.254"), ip_address("10.0.0.2")})
        self.node: IpNode | None = None
        self.watched: IpNode | None = None
        self.reads = 0
        self.away = False
        self.answer_s = 0.0
        self.raced = False
        self.writes: list[float] = []
        self.owners_cleared: list[bool] = []
        self.dumps = 0
        self.registration = NodeRegistration(
            cast("ApiClient", self),
            watched=lambda: self.watched,
            node="n1",
            selection=LinkSelection.parse("eth0"),
            version="1.0",
            claims=lambda: self.claims,
            node_ips=lambda: frozenset({ip_address("10.0.0.2")}),
            isolated=lambda: self.isolated,
            silent=lambda: self.silent,
            refused=lambda: self.refused,
            nodes=lambda: self.nodes,
            links=cast("LinkTable", self),
            addresses=cast("AddressTable", self),
            resync_s=20.0,
            clock=LoopClock(),
            rng=Random(1),  # noqa: S311
        )

    async def link(self, name):
        if self.eth0 is None:
            raise LinkNotFoundError(name)
        return self.eth0

    async def links(self):
        return [] if self.eth0 is None else [self.eth0]

    async def gateways(self):
        return Gateways(self.routers, self.routers & {ip_address("10.0.0.254")})

    async def dump(self):
        self.dumps += 1
        return [
            ObservedAddress(
                interface=ip_interface("10.0.0.1/24"), link_index=1, ours=False, valid_s=None
            )
        ]

    async def get(self, _nodes, *, name):
        assert name == "n1"
        self.check()
        self.reads += 1
        if self.node is None:
            raise NotFoundError("gone", status=404)
        return self.node

    async def create(self, _nodes, node):
        self.check()
        if self.raced:
            self.node, self.raced = node, False
            raise ConflictError("exists", status=409)
        self.node = node
        return node

    async def patch(self, _nodes, patch, *, name, subresource):
        assert (name, subresource) == ("n1", "status")
        self.check()
        if self.node is None:
            raise NotFoundError("gone", status=404)
        if patch["metadata"]["resourceVersion"] != self.node.metadata.resource_version:
            raise ConflictError("changed", status=409)
        fields = msgspec.to_builtins(patch["status"])
        others = {"failedOver": self.node.status.failed_over}  # it merges
        status = msgspec.convert(others | fields, IpNodeStatus)
        self.writes.append(asyncio.get_running_loop().time())
        self.owners_cleared.append("managedFields" in patch["metadata"])
        self.changed(status)
        written = self.node
        await asyncio.sleep(self.answer_s)
        return written

    def changed(self, status):
        """Let somebody have written the status."""
        assert self.node is not None
        version = str(int(self.node.metadata.resource_version or 0) + 1)
        self.node = msgspec.structs.replace(
            self.node,
            metadata=msgspec.structs.replace(self.node.metadata, resource_version=version),
            status=status,
        )

    def judged(self, status):
        """Let the scheduler write its condition."""
        assert self.node is not None
        before = self.node.status
        new = Condition(type="Ready", status=status, reason="Because")
        conditions = with_condition(before.conditions, new, now="")
        self.changed(msgspec.structs.replace(before, conditions=conditions))

    def check(self):
        if self.away:
            raise ApiUnavailableError("away")

    def ready(self):
        assert self.node is not None
        return condition_of(self.node.status.conditions, "LinkReady").status

    @asynccontextmanager
    async def running(self):
        async with beside(self.registration.run()):
            yield self


def play(scenario, **state):
    async def main():
        world = World()
        for name, value in state.items():
            setattr(world, name, value)
        async with world.running():
            await scenario(world)

    run_virtually(main())


def test_a_fail_over_that_no_scheduler_ends_is_ended_by_the_node_that_lives():
    """As beside a scheduler of an older version, which does not know the field."""

    async def scenario(world):
        await asyncio.sleep(1.0)
        for named in ({"a": 1}, {"a": 1, "b": 2}):  # another one begins meanwhile
            world.changed(msgspec.structs.replace(world.node.status, failed_over=named))
            await asyncio.sleep(LEFT_S - 1.0)
            assert world.node.status.failed_over == named
        await asyncio.sleep(2 * INTERVAL_S + 1.0)
        assert world.node.status.failed_over is None
        assert world.ready() == "True"
        assert len(world.writes) == 2

    play(scenario)


def test_in_a_large_cluster_numbers_wait_longer_and_nothing_else_does():
    async def scenario(world):
        await asyncio.sleep(0.1)
        for number in range(1, 3):  # none, then some: soon
            world.claims = number
            world.registration.trigger()
            await asyncio.sleep(INTERVAL_S)
        assert world.node.status.claims == 1
        world.routers = frozenset({ip_address("10.0.0.253")})
        await asyncio.sleep(2 * INTERVAL_S)
        assert world.node.status.gateways == ("10.0.0.253",)
        world.routers |= {ip_address("10.0.0.254")}
        await asyncio.sleep(2 * INTERVAL_S)
        assert world.node.status.gateways == ("10.0.0.254", "10.0.0.253")
        before = len(world.writes)
        for number in range(3, 303):
            world.claims = number
            world.registration.trigger()
            await asyncio.sleep(2.0)
        assert world.owners_cleared == [True] + [False] * (len(world.writes) - 1)
        assert 1 < len(world.writes) - before <= 1 + 600 / (world.nodes / COUNTS_PER_S)

    play(scenario, nodes=1000)


@pytest.mark.parametrize("raced", [False, True])
def test_it_is_made_and_then_left_alone(raced):
    async def scenario(world):
        await asyncio.sleep(0.1)
        assert world.node.metadata.name == "n1"
        (link,) = world.node.status.links
        assert (link.name, link.addresses, link.up) == ("eth0", ("10.0.0.1/24",), True)
        assert world.ready() == "True"
        for _ in range(100):
            world.registration.trigger()
            await asyncio.sleep(1)
        assert len(world.writes) == 1
        assert world.dumps <= 8  # triggers cost a look at one interface, resyncs all of it

    play(scenario, raced=raced)


def test_the_carrier_is_told_of_at_once():
    async def scenario(world):
        await asyncio.sleep(0.1)
        world.eth0 = replace(ETH0, carrier=False)
        world.registration.trigger()
        await asyncio.sleep(0.1)
        assert world.ready() == "False"
        world.eth0 = None
        world.registration.trigger()
        await asyncio.sleep(2 * INTERVAL_S)
        assert condition_of(world.node.status.conditions, "LinkReady").reason == "LinkMissing"

    play(scenario)


def test_numbers_can_wait():
    async def scenario(world):
        for number in range(200):
            world.claims = number
            world.registration.trigger()
            await asyncio.sleep(0.1)
        await asyncio.sleep(INTERVAL_S + 0.1)
        assert world.node.status.claims == 199
        assert len(world.writes) <= 2 + 20 / INTERVAL_S

    play(scenario)


def test_it_is_made_again_when_somebody_deletes_it():
    async def scenario(world):
        await asyncio.sleep(0.1)
        world.node = None
        await asyncio.sleep(25)
        assert world.ready() == "True"

    play(scenario)


def test_it_waits_for_the_server():
    async def scenario(world):
        await asyncio.sleep(60)
        assert world.node is None
        world.away = False
        await asyncio.sleep(16)
        assert world.ready() == "True"

    play(scenario, away=True)


def test_what_a_person_asks_of_the_node_stays():
    async def scenario(world):
        await asyncio.sleep(0.1)
        spec = msgspec.structs.replace(world.node.spec, draining=True)
        world.node = msgspec.structs.replace(world.node, spec=spec)
        world.claims = 3
        world.registration.trigger()
        await asyncio.sleep(2 * INTERVAL_S)
        assert world.node.spec.draining
        assert world.node.status.claims == 3

    play(scenario)


def test_being_isolated_is_told_at_once():
    async def scenario(world):
        await asyncio.sleep(1)
        world.isolated = frozenset({"eth0"})
        world.registration.trigger()
        await asyncio.sleep(0.1)
        assert world.ready() == "False"
        world.isolated = frozenset()
        world.registration.trigger()
        await asyncio.sleep(0.1)
        assert world.ready() == "True"

    play(scenario)


def test_silent_neighbours_are_told_at_once_and_so_is_their_return():
    async def scenario(world):
        await asyncio.sleep(1)
        for silent in (("n2",), ()):
            world.silent = silent
            world.registration.trigger()
            await asyncio.sleep(0.1)
            assert world.node.status.silent == (silent or None)

    play(scenario)


def test_ips_that_it_would_refuse_are_told_at_once():
    async def scenario(world):
        await asyncio.sleep(1)
        for refused in (("10.0.0.1/32",), ()):
            world.refused = refused
            world.registration.trigger()
            await asyncio.sleep(0.1)
            assert world.node.status.refused == (refused or None)

    play(scenario)


def test_a_record_that_somebody_deletes_is_back_however_often_the_node_is_looked_at():
    async def scenario(world):
        await asyncio.sleep(1)
        world.node = None
        for _ in range(25):
            world.registration.trigger()
            await asyncio.sleep(1)
        assert world.node is not None
        assert world.ready() == "True"

    play(scenario)


def test_a_record_that_is_deleted_while_a_write_of_it_is_answered_is_back_at_once():
    async def scenario(world):
        await asyncio.sleep(1)
        world.answer_s = 0.1
        world.silent = ("n2",)
        world.registration.trigger()
        await asyncio.sleep(0.05)
        world.node = world.watched = None
        world.registration.on_record("n1")
        await asyncio.sleep(1)
        assert world.node is not None
        assert world.node.status.silent == ("n2",)
        assert world.ready() == "True"

    play(scenario)


def test_another_mac_is_told_at_once():
    """By its MAC others tell a node of the cluster, which has an IP yet, from a stranger."""

    async def scenario(world):
        await asyncio.sleep(1)
        for number in range(1, 4):
            world.eth0 = replace(ETH0, mac=bytes([2, 0, 0, 0, 9, number]))
            world.registration.trigger()
            await asyncio.sleep(0.5)
            (link,) = world.node.status.links
            assert link.mac == f"02:00:00:00:09:0{number}"

    play(scenario)


@pytest.mark.parametrize("watched", [True, False])
def test_what_the_scheduler_concludes_of_the_node_stays(watched):
    """Nor does it delay that the carrier is lost, where the watch has brought it."""

    async def scenario(world):
        await asyncio.sleep(1)
        world.judged("True")
        if watched:
            world.watched = world.node
        reads = world.reads
        world.eth0 = replace(ETH0, carrier=False)
        world.registration.trigger()
        await asyncio.sleep(0.1)
        assert world.ready() == "False"
        assert condition_of(world.node.status.conditions, "Ready").status == "True"
        assert world.reads == reads + (not watched)
        world.judged("False")
        await asyncio.sleep(2 * INTERVAL_S)
        assert condition_of(world.node.status.conditions, "Ready").status == "False"
        assert len(world.writes) == 2

    play(scenario)


def test_a_node_that_is_empty_says_so_soon():
    async def scenario(world):
        await asyncio.sleep(0.1)
        for claims in (2, 0):
            world.claims = claims
            world.registration.trigger()
            await asyncio.sleep(SOON_S + 0.1)
            assert world.node.status.claims == claims
        for world.claims in (1, 0) * 100:
            world.registration.trigger()
            await asyncio.sleep(0.1)
        assert len(world.writes) <= 3 + 20 / SOON_S

    play(scenario)
