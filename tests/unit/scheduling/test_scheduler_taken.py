"""Claims that their standbys have taken name them a few at a time, after all that is urgent."""

import asyncio

from tests.fakes.virtual_time import virtually
from tests.unit.scheduling.test_failovers import record
from tests.unit.scheduling.test_scheduler import ClaimServer, World, ips

COUNT, NEW, FEW = 300, 20, 4


class ServerWithNodes(ClaimServer):
    """It takes writes of IpNodes, too."""

    async def patch(self, claim, patch, **ip_node):
        if ip_node:
            return record(ip_node["name"], patch["status"]["failedOver"])
        return await super().patch(claim, patch)


def on_node(world, node):
    return {
        name: claim.spec.standby
        for name, claim in world.server.objects.items()
        if claim.spec.node_name == node
    }


def fail_over(world, node):
    """Let a node die whose claims their standbys have taken; return these claims."""
    taken = on_node(world, node)
    world.records[node] = record(
        node, {n: world.server.objects[n].metadata.generation for n in taken}
    )
    world.scheduler._failovers.on_record(node)
    world.server.most_active.clear()
    world.server.writes.clear()
    world.alive.discard(node)
    world.scheduler.trigger_at_once()
    return taken


@virtually
async def test_taken_claims_are_assigned_a_few_at_a_time():
    world = World(server=ServerWithNodes())
    async with world.running():
        await world.ask(*ips(COUNT), wait_s=30)
        taken = fail_over(world, "n2")
        assert len(taken) == COUNT // 3
        assert all(taken.values())
        await asyncio.sleep(5)
        assert world.server.most_active["patch"] == FEW
        assert not on_node(world, "n2")
        assert {n: world.server.objects[n].spec.node_name for n in taken} == taken


@virtually
async def test_new_services_do_not_wait_for_claims_that_have_been_taken():
    world = World(server=ServerWithNodes())
    async with world.running():
        await world.ask(*ips(COUNT), wait_s=30)
        fail_over(world, "n2")
        await asyncio.sleep(0.02)
        await world.ask(*ips(COUNT + NEW), wait_s=5)
        verbs = [verb for verb, _ in world.server.writes]
        assert verbs.count("create") == NEW
        assert verbs.count("patch") == COUNT // 3
        last_new = len(verbs) - verbs[::-1].index("create")
        assert verbs[:last_new].count("patch") < COUNT // 6, "half of them"
        assert not on_node(world, "n2")


@virtually
async def test_a_claim_whose_standby_dies_moves_before_those_that_have_been_taken():
    world = World(server=ServerWithNodes())
    async with world.running():
        await world.ask(*ips(COUNT), wait_s=30)
        taken = fail_over(world, "n2")
        await asyncio.sleep(0.02)
        left = {name for name, standby in taken.items() if standby == "n1"} & on_node(
            world, "n2"
        ).keys()
        world.alive.discard("n1")
        world.scheduler.trigger_at_once()
        await asyncio.sleep(5)
        names = [name for verb, name in world.server.writes if verb == "patch"]
        others = {name for name, standby in taken.items() if standby == "n3"}
        assert left
        assert max(names.index(name) for name in left) < max(map(names.index, others))
        assert set(on_node(world, "n3")) == set(world.server.objects)
