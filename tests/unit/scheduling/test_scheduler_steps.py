"""A leadership begins in steps of little work: nothing else on the loop waits for long."""

import asyncio

from tests.fakes.virtual_time import virtually
from tests.unit.scheduling.test_scheduler import World, hand_made


@virtually
async def test_state_and_allocator_read_the_same_claims_in_different_steps():
    """Each has dicts of all claims, and a dict that grows takes milliseconds."""
    world = World()
    steps: list[list[str]] = [[]]
    for number in range(200):
        world.server.cache[f"c{number}"] = hand_made(f"c{number}", "n1", "01")

    def note_readers(part):
        take_claims = part.take_claims

        def taking(changes):
            steps[-1].extend(changes)
            take_claims(changes)

        part.take_claims = taking

    async def between_steps():
        steps.append([])
        await asyncio.sleep(0)

    note_readers(world.scheduler._state)
    note_readers(world.scheduler._allocator)
    world.scheduler._between_steps = between_steps  # type: ignore[method-assign]
    async with world.running():
        await asyncio.sleep(0.001)
    first = steps[: -(-200 // 64)]
    assert [len(step) for step in first] == [64, 128, 128, 80]
    for step in first[:-1]:
        assert len(step) == len(set(step))
    assert {name for step in first for name in step} == set(world.server.cache)
