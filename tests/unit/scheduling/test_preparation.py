"""Standbys are written when all else is done, are kept current, and cost nothing at rest."""

import asyncio
from collections import Counter
from ipaddress import ip_address
from itertools import permutations
from typing import cast

from msgspec.structs import replace

from extip.api.ipcontroller_v1 import IpClaimSpec
from extip.api.names import STANDBY_LABEL
from extip.log import Logger
from extip.scheduling.policy.filters import KubernetesNode
from extip.scheduling.policy.placement import Strategy
from tests.fakes.recorder import RecordingLogger
from tests.fakes.virtual_time import virtually
from tests.unit.scheduling.test_scheduler import ClaimServer, World, hand_made, ips, verb_of

PREPARED_S = 60
SLOW_S = 3.5
"""For that long a write of a standby is under way; it is given up a bit later."""


class OldServer(ClaimServer):
    """A server whose definition of IpClaim does not have the field."""

    def _store(self, claim, labels, spec, *args, **kwargs):
        spec = IpClaimSpec(cidr=spec.cidr, node_name=spec.node_name, services=spec.services)
        return super()._store(claim, labels, spec, *args, **kwargs)


class SlowServer(ClaimServer):
    """A server that takes long to write a standby."""

    async def patch(self, claim, patch):
        if verb_of(patch) == "standby":
            await asyncio.sleep(SLOW_S)
        return await super().patch(claim, patch)


def standbys(world):
    """Return how many claims of each node each other node is to take."""
    return Counter((c.spec.node_name, c.spec.standby) for c in world.server.objects.values())


def writes(world, verb):
    return [name for one, name in world.server.writes if one == verb]


@virtually
async def test_each_claim_gets_a_standby_and_those_of_a_node_are_spread():
    async with World().running() as world:
        await world.ask(*ips(60), wait_s=PREPARED_S)
        assert set(standbys(world).values()) == {10}
        assert len(standbys(world)) == 6
        for claim in world.server.objects.values():
            assert claim.metadata.labels[STANDBY_LABEL] == claim.spec.standby
            assert claim.spec.standby != claim.spec.node_name


@virtually
async def test_standbys_are_written_after_all_else_and_never_again():
    async with World().running() as world:
        await world.ask(*ips(100), wait_s=PREPARED_S)
        verbs = [verb for verb, _ in world.server.writes]
        assert set(verbs[verbs.index("standby") :]) == {"standby"}
        assert sorted(writes(world, "standby")) == sorted(world.server.objects)
        world.steady = frozenset(world.alive)
        world.scheduler.trigger()
        await asyncio.sleep(600)
        assert len(world.server.writes) == len(verbs)


@virtually
async def test_a_standby_that_is_being_written_counts_when_the_next_ones_are_chosen():
    """Its IP is decided anew meanwhile, since something about its node has changed."""
    world = World(server=SlowServer())
    async with world.running():
        await world.ask(*ips(3), wait_s=2)
        assert world.server.active["standby"] == 0
        assert len(world.scheduler._chores.in_flight) == 3
        world.kubernetes = KubernetesNode(labels={"kernel": "newer"})
        world.scheduler.trigger_at_once()
        await world.ask(*ips(6), wait_s=PREPARED_S)
        assert standbys(world) == dict.fromkeys(permutations(("n1", "n2", "n3"), 2), 1)
        assert len(writes(world, "standby")) == 6


@virtually
async def test_the_claims_of_a_dead_node_go_to_their_standbys():
    async with World().running() as world:
        await world.ask(*ips(60), wait_s=PREPARED_S)
        before = {name: claim.spec for name, claim in world.server.objects.items()}
        world.alive -= {"n1"}
        world.scheduler.trigger_at_once()
        await asyncio.sleep(0.5)
        for name, claim in world.server.objects.items():
            was = before[name]
            assert claim.spec.node_name == (was.standby if was.node_name == "n1" else was.node_name)
        await asyncio.sleep(PREPARED_S)
        assert standbys(world) == {("n2", "n3"): 30, ("n3", "n2"): 30}


@virtually
async def test_a_standby_that_is_dead_is_no_standby():
    async with World().running() as world:
        await world.ask(*ips(60), wait_s=PREPARED_S)
        world.alive = {"n3"}
        world.scheduler.trigger_at_once()
        await asyncio.sleep(1)
        assert set(world.placed().values()) == {"n3"}
        await asyncio.sleep(PREPARED_S)
        assert standbys(world) == {("n3", ""): 60}
        assert not any(STANDBY_LABEL in c.metadata.labels for c in world.server.objects.values())


@virtually
async def test_the_only_node_has_no_standby_until_another_one_comes():
    world = World()
    world.alive = {"n2"}
    async with world.running():
        await world.ask(*ips(10), wait_s=PREPARED_S)
        assert writes(world, "standby") == []
        assert sorted(writes(world, "clear")) == sorted(world.server.objects), "owners go anyway"
        assert not any(c.metadata.managed_fields for c in world.server.objects.values())
        world.alive = {"n1", "n2"}
        world.scheduler.trigger_at_once()
        await asyncio.sleep(PREPARED_S)
        assert standbys(world) == {("n2", "n1"): 10}


@virtually
async def test_a_server_that_books_field_owners_for_ever_is_asked_once_not_to():
    world = World()
    world.alive, world.server.books = {"n2"}, True
    async with world.running():
        await world.ask(*ips(3), wait_s=PREPARED_S)
        assert len(writes(world, "clear")) == 3
        world.alive = {"n1", "n2"}
        world.scheduler.trigger_at_once()
        await asyncio.sleep(PREPARED_S)
        assert (len(writes(world, "clear")), len(writes(world, "standby"))) == (3, 3)


@virtually
async def test_a_new_node_gets_its_share_slowly_once_it_is_steady():
    world = World()
    world.alive = {"n1", "n2"}
    async with world.running():
        await world.ask(*ips(60), wait_s=PREPARED_S)
        world.alive = {"n1", "n2", "n3"}
        world.scheduler.trigger_at_once()
        await asyncio.sleep(PREPARED_S)
        assert "n3" not in {standby for _, standby in standbys(world)}
        seen = len(writes(world, "standby"))
        world.steady = frozenset(world.alive)
        world.scheduler.trigger()
        await asyncio.sleep(20)  # 20 claims move there, a few a second
        await asyncio.sleep(60)
        assert all(9 <= count <= 11 for count in standbys(world).values())
        assert len(writes(world, "standby")) - seen < 60


@virtually
async def test_a_node_that_would_refuse_an_ip_is_its_standby_no_more():
    async with World().running() as world:
        await world.ask("10.0.1.1", wait_s=PREPARED_S)
        assert standbys(world) == {("n1", "n2"): 1}
        world.refuses = {"n2": frozenset({ip_address("10.0.1.1")})}
        world.scheduler.trigger_at_once()
        await asyncio.sleep(PREPARED_S)
        assert standbys(world) == {("n1", "n3"): 1}


@virtually
async def test_first_alive_has_one_standby_for_all():
    async with World(Strategy.FIRST_ALIVE).running() as world:
        await world.ask(*ips(40), wait_s=PREPARED_S)
        assert standbys(world) == {("n1", "n2"): 40}


@virtually
async def test_a_claim_that_a_person_pinned_has_no_standby():
    world = World()
    world.server.put(hand_made("mine", "n2", "01"))
    async with world.running():
        await world.ask(wait_s=PREPARED_S)
        assert world.server.objects["mine"].spec.standby == ""


@virtually
async def test_a_server_that_does_not_know_the_field_is_asked_rarely():
    world = World(server=OldServer())
    recorder = RecordingLogger()
    world.scheduler._writer._log = cast("Logger", recorder)
    async with world.running():
        await world.ask(*ips(100), wait_s=PREPARED_S)
        assert 1 <= len(writes(world, "standby")) <= 32
        await asyncio.sleep(500)
        assert len(writes(world, "standby")) <= 32
    assert "standby_dropped" in recorder.events("warning")


@virtually
async def test_who_removes_a_standby_again_and_again_gets_it_back_ever_more_slowly():
    async with World().running() as world:
        for _ in range(600):
            await world.ask("10.0.0.1", wait_s=0.5)
            for claim in list(world.server.objects.values()):
                if claim.spec.standby and world.server.cache == world.server.objects:
                    version = str(next(world.server._versions))
                    metadata = replace(claim.metadata, resource_version=version)
                    spec = replace(claim.spec, standby="")
                    world.server.put(replace(claim, metadata=metadata, spec=spec))
        assert 3 <= len(writes(world, "standby")) <= 12


@virtually
async def test_standbys_are_kept_by_the_next_leader():
    world = World()
    async with world.running():
        await world.ask(*ips(30), wait_s=PREPARED_S)
    world = world.succeeded_by(Strategy.FAIR)
    seen = len(world.server.writes)
    async with world.running():
        world.scheduler.trigger()
        await asyncio.sleep(PREPARED_S)
        assert len(world.server.writes) == seen
