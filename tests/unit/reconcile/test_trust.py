"""The cache is acted on only while nobody can have taken over unseen, in virtual time."""

import asyncio
from contextlib import asynccontextmanager
from random import Random

import pytest

from extip.api.ipcontroller_v1 import IpClaim
from extip.api.meta_v1 import FullObjectMeta
from extip.clock import LoopClock
from extip.errors import ApiUnavailableError
from extip.reconcile.trust import CacheTrust, Reading
from tests.fakes.virtual_time import jump, run_virtually

LIMIT_S = 4.0
HEARTBEAT_S = 2.0


def claim(name, version):
    return IpClaim(metadata=FullObjectMeta(name=name, resource_version=str(version)))


class World:
    """A cache, an API server, and a heartbeat that may fail."""

    def __init__(self):
        self.cache: dict[str, IpClaim] = {}
        self.names: frozenset[str] = frozenset()
        self.version = 100
        self.away = self.busy = False
        self.delay_s = 0.01
        self.reads = []
        self.told: list[float] = []
        self.beating = True
        self.trust = CacheTrust(
            self.cache,
            read=self.read,
            limit_s=LIMIT_S,
            changed=lambda: self.told.append(self.now()),
            clock=LoopClock(),
            rng=Random(1),  # noqa: S311
        )

    def now(self):
        return asyncio.get_running_loop().time()

    async def read(self):
        self.reads.append(self.now())
        if self.away:
            raise ApiUnavailableError("away")
        if self.busy:
            raise ApiUnavailableError("too many requests", status=429, retry_after_s=30)
        reading = Reading(names=self.names, version=self.version)
        await asyncio.sleep(self.delay_s)
        return reading

    async def beat(self):
        while True:
            if self.beating and not self.away:
                sent_at = self.now()
                await asyncio.sleep(0.01)
                self.trust.heard(sent_at)
            await asyncio.sleep(HEARTBEAT_S)

    @asynccontextmanager
    async def running(self, *, beat=True):
        jobs = [self.trust.run(), self.trust.watch_time()] + ([self.beat()] if beat else [])
        tasks = [asyncio.ensure_future(job) for job in jobs]
        try:
            yield self
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


def play(scenario, **options):
    async def main():
        async with World().running(**options) as world:
            await scenario(world)

    run_virtually(main())


def test_nothing_before_the_first_heartbeat():
    """Until then the node's name may be another controller's."""

    async def scenario(world):
        await asyncio.sleep(60)
        assert not world.trust.holds()
        assert world.reads == []
        world.trust.heard(world.now())
        await asyncio.sleep(0.1)
        assert world.trust.holds()
        assert world.trust.orderly()
        assert len(world.told) == 1

    play(scenario, beat=False)


def test_a_server_that_takes_heartbeats_and_nothing_else_is_left_in_peace():
    async def scenario(world):
        world.busy = True
        await asyncio.sleep(120)
        assert not world.trust.holds()
        assert len(world.reads) <= 10
        world.busy = False
        await asyncio.sleep(31)
        assert world.trust.holds()

    play(scenario)


def test_heartbeats_alone_keep_it():
    async def scenario(world):
        await asyncio.sleep(600)
        assert world.trust.holds()
        assert len(world.reads) == 1

    play(scenario)


def test_silence_ends_it_and_a_reading_brings_it_back():
    async def scenario(world):
        await asyncio.sleep(10)
        world.away = True
        await asyncio.sleep(LIMIT_S + 0.1)
        assert not world.trust.holds()
        assert not world.trust.orderly()
        await asyncio.sleep(30)
        tries = len(world.reads)
        assert tries <= 12
        world.away = False
        await asyncio.sleep(HEARTBEAT_S + 0.1)
        assert world.trust.holds()
        assert len(world.reads) == tries + 1

    play(scenario)


def test_readings_do_while_heartbeats_fail_but_nothing_is_orderly_then():
    """A claim that leaves meanwhile was moved since this node looks dead."""

    async def scenario(world):
        await asyncio.sleep(10)
        world.beating = False
        await asyncio.sleep(60)
        assert world.trust.holds()
        assert not world.trust.orderly()
        assert len(world.reads) <= 2 + 60 / LIMIT_S

    play(scenario)


@pytest.mark.parametrize("delay_s", [0.5, 1.5, 3.0])
def test_a_slow_server_is_read_in_the_end(delay_s):
    async def scenario(world):
        world.delay_s = delay_s
        await asyncio.sleep(20)
        assert world.trust.holds()

    play(scenario)


def freeze(seconds):
    """Stand still as after SIGSTOP: no task runs, the monotonic clock goes on."""
    jump(seconds)


def test_a_standstill_is_noticed_whoever_looks_first():
    async def scenario(world):
        await asyncio.sleep(10)
        assert not world.trust.frozen()
        freeze(LIMIT_S + 1)
        assert not world.trust.holds()
        assert world.trust.frozen()
        await asyncio.sleep(1)
        assert world.trust.holds()
        assert not world.trust.frozen()

    play(scenario)


def test_an_outage_is_no_standstill():
    async def scenario(world):
        await asyncio.sleep(10)
        world.away = True
        await asyncio.sleep(60)
        assert not world.trust.holds()
        assert not world.trust.frozen()

    play(scenario)


def test_a_heartbeat_after_a_standstill_proves_nothing():
    async def scenario(world):
        world.trust.heard(world.now())
        await asyncio.sleep(1)
        world.away = True
        freeze(30)
        world.trust.heard(world.now())
        assert not world.trust.holds()
        await asyncio.sleep(3)
        assert not world.trust.holds()
        assert world.trust.frozen()

    play(scenario, beat=False)


def test_what_the_reading_lacks_does_not_count_until_the_watch_has_caught_up():
    async def scenario(world):
        world.cache.update(kept=claim("kept", 50), lost=claim("lost", 60))
        world.names = frozenset({"kept"})
        await asyncio.sleep(1)
        assert world.trust.overtaken("lost")
        assert not world.trust.overtaken("kept")
        world.cache["lost"] = claim("lost", 70)  # an older change, delivered late
        assert not world.trust.caught_up("lost")
        assert world.trust.overtaken("lost")
        del world.cache["lost"]
        assert world.trust.caught_up("lost")
        assert not world.trust.caught_up("lost")
        assert not world.trust.overtaken("lost")

    play(scenario)


def test_a_claim_that_came_back_counts_again():
    async def scenario(world):
        world.cache["lost"] = claim("lost", 60)
        await asyncio.sleep(1)
        assert world.trust.overtaken("lost")
        world.cache["lost"] = claim("lost", 130)
        assert world.trust.caught_up("lost")
        assert not world.trust.overtaken("lost")

    play(scenario)


def test_a_cache_that_is_ahead_of_the_reading_is_right():
    async def scenario(world):
        world.cache["new"] = claim("new", 101)
        await asyncio.sleep(1)
        assert not world.trust.overtaken("new")

    play(scenario)


def test_after_a_doubt_a_heartbeat_and_then_a_reading_are_needed():
    async def scenario(world):
        await asyncio.sleep(10)
        world.beating = False
        world.trust.doubt()
        readings = world.trust.readings
        await asyncio.sleep(30)
        assert not world.trust.holds()
        assert not world.trust.orderly()
        assert world.trust.readings == readings
        world.trust.heard(world.now())
        await asyncio.sleep(0.1)
        assert world.trust.holds()
        assert world.trust.readings == readings + 1

    play(scenario)


def test_a_reading_that_was_under_way_settles_no_doubt():
    async def scenario(world):
        world.delay_s = 0.5
        world.trust.heard(world.now())
        await asyncio.sleep(0.2)
        world.trust.doubt()
        await asyncio.sleep(5)
        assert len(world.reads) == 1
        assert not world.trust.holds()
        assert world.trust.readings == 0

    play(scenario, beat=False)


def test_one_claim_that_was_found_lost_does_not_count_until_the_watch_has_caught_up():
    async def scenario(world):
        world.cache.update(kept=claim("kept", 50), lost=claim("lost", 60))
        world.names = frozenset({"kept", "lost"})
        await asyncio.sleep(1)
        told = len(world.told)
        world.trust.lost("lost", version=150)
        assert len(world.told) == told + 1
        assert world.trust.overtaken("lost")
        assert not world.trust.overtaken("kept")
        world.trust.doubt()  # a reading from before that move does not undo what is known
        world.trust.heard(world.now())
        await asyncio.sleep(0.1)
        assert world.trust.overtaken("lost")
        world.cache["lost"] = claim("lost", 160)
        assert world.trust.caught_up("lost")

    play(scenario)
