"""A leadership begins in steps of little work: nothing else on the loop waits for long."""

import asyncio
import gc
import weakref

from tests.fakes.virtual_time import run_virtually, virtually
from tests.unit.scheduling.test_scheduler import World, hand_made, ips


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


@virtually
async def test_many_writes_that_have_to_wait_are_offered_again_in_steps():
    """After the death of a node all its claims may wait for one write, and each pass looks."""
    world = World()
    world.ips = ips(300)
    backlog, offers = world.scheduler._backlog, [0]
    waits, offer, between_steps = [True], backlog._offer, world.scheduler._between_steps

    def counting(name):
        offers[-1] += 1
        offer(name)

    async def noting():
        offers.append(0)
        await between_steps()

    backlog._holds_back = lambda _write: waits[0]
    backlog._offer = counting  # type: ignore[method-assign]
    world.scheduler._between_steps = noting  # type: ignore[method-assign]
    async with world.running():
        await asyncio.sleep(1)
        for _ in range(3):
            world.scheduler.trigger()
            await asyncio.sleep(1)
        assert len(backlog._withheld) == 300
        assert not world.placed()
        assert 64 <= max(offers) <= 128, "up to 64 of them are new decisions"
        waits[0] = False
        world.scheduler.trigger()
        await asyncio.sleep(5)
        assert len(world.placed()) == 300


class Cycle:
    """Garbage, as soon as nobody has it, that the collector alone finds."""

    def __init__(self):
        self.itself = self


class Littering(World):
    """A world in which each look at the facts leaves such garbage."""

    def __init__(self):
        super().__init__()
        self.left: weakref.WeakSet[Cycle] = weakref.WeakSet()

    def inputs(self):
        self.left.add(Cycle())
        return super().inputs()


def test_no_leadership_keeps_its_garbage_from_the_collector(monkeypatch):
    """A start keeps what it makes from it. What is garbage by then would stay for ever."""
    frozen: list[int] = []
    world, freeze = Littering(), gc.freeze

    def count():
        frozen[-1] += 1
        freeze()

    async def main():
        world.ips = ips(300)
        for lasts_s in (0, 3, 3):
            frozen.append(0)
            async with world.running():
                await asyncio.sleep(lasts_s)
        assert len(world.placed()) == 300

    monkeypatch.setattr(gc, "freeze", count)
    gc.disable()
    try:
        run_virtually(main())
        gc.collect(1)
    finally:
        gc.enable()
    assert all(frozen[1:])
    assert not world.left
