"""Somebody who undoes what is written to a claim is answered ever more rarely, and told of once."""

import asyncio
from itertools import pairwise

import pytest
from msgspec.structs import replace

from extip.api.names import MANAGED_BY, MANAGED_BY_LABEL
from tests.fakes.virtual_time import run_virtually
from tests.unit.scheduling.test_scheduler import World, assigned, drift

MINUTE_S = 60


class Contested(World):
    """A world with another writer."""

    def __init__(self):
        super().__init__()
        self.told = []

    def contested(self, claim):
        self.told.append(claim.metadata.name)

    async def fight(self, undo, *, verbs=("create", "patch")):
        """Undo each write to the claim as soon as the watch shows it; return when they came."""
        written = []
        seen = len(self.server.writes)
        for _ in range(MINUTE_S * 20):
            await asyncio.sleep(0.05)
            if any(verb in verbs for verb, _ in self.server.writes[seen:]):
                written.append(asyncio.get_running_loop().time())
            seen = len(self.server.writes)
            self.scheduler.trigger()
            await asyncio.sleep(0.01)
            if self.server.cache == self.server.objects:  # the watch has shown it
                undo(self.server)
            self.scheduler.trigger()
        return written


def bumped(server, claim):
    return replace(claim.metadata, resource_version=str(next(server._versions)))


def claims_nobody(server):
    for claim in list(server.objects.values()):
        if claim.spec.services:
            spec = replace(claim.spec, services=None)
            server.put(replace(claim, metadata=bumped(server, claim), spec=spec))


def sends_it_to_the_dead(server):
    for claim in list(server.objects.values()):
        if claim.spec.node_name != "n9":
            labels = {MANAGED_BY_LABEL: MANAGED_BY, "ipnode": "n9"}
            metadata = replace(bumped(server, claim), labels=labels)
            spec = replace(claim.spec, node_name="n9")
            server.put(replace(claim, metadata=metadata, spec=spec))


def deletes_it(server):
    server.objects.clear()
    server.cache.clear()


@pytest.mark.parametrize("undo", [claims_nobody, sends_it_to_the_dead, deletes_it])
def test_another_writer_of_a_claim_is_answered_ever_more_rarely(undo):
    async def main():
        async with Contested().running() as world:
            world.alive = {"n1"}
            await world.ask("10.0.0.1")
            written = await world.fight(undo)
            assert 4 <= len(written) <= 14  # of a thousand
            assert written[1] - written[0] < 1  # a slip is put right at once
            assert all(b - a < 16 for a, b in pairwise(written)), written
            assert len(world.told) == 1
            await asyncio.sleep(20)
            assert world.placed() == {"10.0.0.1/32": "n1"}

    run_virtually(main())


def strips_labels_of_services(server):
    for claim in list(server.objects.values()):
        left = {k: v for k, v in claim.metadata.labels.items() if ".service." not in k}
        if left != claim.metadata.labels:
            server.put(replace(claim, metadata=replace(bumped(server, claim), labels=left)))


def test_a_program_that_strips_labels_is_answered_ever_more_rarely():
    async def main():
        async with Contested().running() as world:
            world.alive = {"n1"}
            await world.ask("10.0.0.1")
            await asyncio.sleep(20)
            written = 0
            for _ in range(MINUTE_S):
                strips_labels_of_services(world.server)
                seen = len(world.server.writes)
                world.scheduler.trigger()
                await asyncio.sleep(2)
                written += len(world.server.writes) - seen
            assert 3 <= written <= 10
            await asyncio.sleep(MINUTE_S)
            assert drift(world) == 0, "a write that has waited long enough was not overlooked"

    run_virtually(main())


def clears_conditions(server):
    for claim in list(server.objects.values()):
        if claim.status.conditions:
            status = replace(claim.status, conditions=())
            server.put(replace(claim, metadata=bumped(server, claim), status=status))


def test_a_program_that_clears_conditions_is_answered_ever_more_rarely():
    async def main():
        async with Contested().running() as world:
            world.alive = {"n1"}
            await world.ask("10.0.0.1")
            began = asyncio.get_running_loop().time()
            written = await world.fight(clears_conditions, verbs=("status",))
            assert 4 <= len(written) <= 14  # of a thousand
            assert written[0] - began < 1  # a slip is put right at once
            await asyncio.sleep(20)
            (claim,) = world.server.objects.values()
            assert assigned(claim).status == "True"
            assert drift(world) == 0

    run_virtually(main())


def test_conditions_that_had_to_wait_come_back_by_themselves():
    async def main():
        async with Contested().running() as world:
            world.alive = {"n1"}
            await world.ask("10.0.0.1", wait_s=1.5)
            for pause_s in (0.3, 0.1):
                clears_conditions(world.server)
                world.scheduler.trigger()
                await asyncio.sleep(pause_s)
            (claim,) = world.server.objects.values()
            assert not claim.status.conditions
            await asyncio.sleep(1.2)  # nothing else has the scheduler look again so soon
            (claim,) = world.server.objects.values()
            assert assigned(claim).status == "True"

    run_virtually(main())


def test_a_claim_that_moves_is_explained_at_once_whoever_clears_its_conditions():
    async def main():
        async with Contested().running() as world:
            world.alive = {"n1"}
            await world.ask("10.0.0.1")
            await world.fight(clears_conditions, verbs=("status",))
            world.alive = {"n2"}
            await world.ask("10.0.0.1", wait_s=1.0)
            (claim,) = world.server.objects.values()
            assert assigned(claim).message.startswith("to n2")

    run_virtually(main())


def keeps_all_on_n1(server):
    for claim in list(server.objects.values()):
        if claim.spec.node_name != "n1":
            labels = {MANAGED_BY_LABEL: MANAGED_BY, "ipnode": "n1"}
            metadata = replace(bumped(server, claim), labels=labels)
            spec = replace(claim.spec, node_name="n1")
            server.put(replace(claim, metadata=metadata, spec=spec))


def test_another_writer_of_a_claim_is_not_answered_by_every_rebalancing():
    async def main():
        async with Contested().running() as world:
            world.alive = {"n1"}
            await world.ask("10.0.0.1", "10.0.0.2", "10.0.0.3")
            world.alive = {"n1", "n2"}
            world.steady = frozenset(world.alive)
            written = await world.fight(keeps_all_on_n1)
            assert len(written) <= 42  # of a thousand, for three claims
            assert len(world.told) == len(set(world.told)) > 0

    run_virtually(main())


def test_moves_to_and_fro_are_no_fight():
    async def main():
        async with Contested().running() as world:
            await world.ask("10.0.0.1")
            for node in ("n1", "n2", "n3") * 4:
                world.alive = {node}
                await world.ask("10.0.0.1", wait_s=0.5)
                assert world.placed() == {"10.0.0.1/32": node}
            assert world.told == []

    run_virtually(main())
