"""How often the scheduler looks at all there is for one more service: a look costs like a write."""

import asyncio

from tests.fakes.virtual_time import virtually
from tests.unit.scheduling.test_scheduler import World


class Counting(World):
    """A world that counts the looks."""

    looks = 0

    def inputs(self):
        self.looks += 1
        return super().inputs()


@virtually
async def test_one_more_service_is_looked_at_when_something_follows_and_not_more_often():
    """It is created, written, left to its node; it gets its condition, its standby, and is done."""
    world = Counting()
    async with world.running():
        await world.ask("10.0.0.1", wait_s=60)
        world.looks = 0
        await world.ask("10.0.0.1", "10.0.0.2", wait_s=60)
        assert [verb for verb, _ in world.server.writes] == 2 * ["create", "status", "standby"]
        assert world.looks == 5


@virtually
async def test_what_a_watch_shows_after_a_chore_costs_no_second_look():
    world = Counting()

    def shown(_name):
        world.scheduler.trigger()

    world.server.cache.handlers.append(shown)
    async with world.running():
        await world.ask("10.0.0.1", wait_s=60)
        world.looks = 0
        await world.ask("10.0.0.1", "10.0.0.2", wait_s=60)
        assert world.looks <= 6
        world.looks = 0
        await asyncio.sleep(600)
        assert world.looks == 0


@virtually
async def test_nodes_are_read_in_steps_between_which_everything_else_has_its_turn():
    """Nothing is decided before all are read: the first nodes would get everything."""
    world = Counting()
    unread, turns = [3], [0]

    def read_nodes(_most):
        unread[0] -= 1
        assert world.looks == 0
        return unread[0] <= 0

    async def others():
        for _ in range(20):
            turns[0] += unread[0] > 0
            await asyncio.sleep(0)

    world.scheduler._read_nodes = read_nodes
    async with world.running():
        await others()
    assert world.looks
    assert turns[0] >= 2
