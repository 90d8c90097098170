"""The cache is acted on only while nobody can have taken over unseen, in virtual time."""

import asyncio
from contextlib import asynccontextmanager
from random import Random

import pytest
from structlog.testing import capture_logs

from extip.api.ipcontroller_v1 import IpClaim
from extip.api.meta_v1 import FullObjectMeta
from extip.clock import LoopClock
from extip.errors import ApiUnavailableError
from extip.fencing.cache_freshness import CacheFreshness, Reading
from tests.fakes.tasks import beside
from tests.fakes.virtual_time import jump, run_virtually

LIMIT_S, MOST_S = 4.0, 8.0
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
        self.delay_s = self.beat_s = 0.01
        self.reads = []
        self.told: list[float] = []
        self.beating = True
        self.paused_s = 0.0
        """Seconds for which the clock stood still."""
        self.freshness = CacheFreshness(
            self.cache,
            read=self.read,
            limit_s=LIMIT_S,
            most_s=MOST_S,
            server_time_s=lambda: self.now() + self.paused_s,
            on_change=lambda: self.told.append(self.now()),
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
                await asyncio.sleep(self.beat_s)
                self.freshness.on_heartbeat(sent_at)
            await asyncio.sleep(HEARTBEAT_S)

    @asynccontextmanager
    async def running(self, *, beat=True):
        jobs = [self.freshness.run(), self.freshness.detect_stalls()] + (
            [self.beat()] if beat else []
        )
        async with beside(*jobs):
            yield self


def play(scenario, **options):
    async def main():
        async with World().running(**options) as world:
            await scenario(world)

    run_virtually(main())


def test_nothing_before_the_first_heartbeat():
    """Until then the node's name may be another controller's."""

    async def scenario(world):
        await asyncio.sleep(60)
        assert not world.freshness.is_fresh()
        assert world.reads == []
        world.freshness.on_heartbeat(world.now())
        await asyncio.sleep(0.1)
        assert world.freshness.is_fresh()
        assert world.freshness.in_contact()
        assert len(world.told) == 1

    play(scenario, beat=False)


def test_a_server_that_takes_heartbeats_and_nothing_else_is_left_in_peace():
    async def scenario(world):
        world.busy = True
        await asyncio.sleep(120)
        assert not world.freshness.is_fresh()
        assert len(world.reads) <= 10
        world.busy = False
        await asyncio.sleep(31)
        assert world.freshness.is_fresh()

    play(scenario)


def test_heartbeats_alone_keep_it():
    async def scenario(world):
        await asyncio.sleep(600)
        assert world.freshness.is_fresh()
        assert len(world.reads) == 1

    play(scenario)


def test_silence_ends_it_and_a_reading_brings_it_back():
    async def scenario(world):
        await asyncio.sleep(10)
        world.away = True
        await asyncio.sleep(LIMIT_S + 0.1)
        assert not world.freshness.is_fresh()
        assert not world.freshness.in_contact()
        await asyncio.sleep(30)
        tries = len(world.reads)
        assert tries <= 12
        world.away = False
        await asyncio.sleep(HEARTBEAT_S + 0.1)
        assert world.freshness.is_fresh()
        assert len(world.reads) == tries + 1

    play(scenario)


def test_readings_do_while_heartbeats_fail_but_nothing_is_orderly_then():
    """A claim that leaves meanwhile was moved since this node looks dead."""

    async def scenario(world):
        await asyncio.sleep(10)
        world.beating = False
        await asyncio.sleep(60)
        assert world.freshness.is_fresh()
        assert not world.freshness.in_contact()
        assert len(world.reads) <= 2 + 60 / LIMIT_S

    play(scenario)


@pytest.mark.parametrize("delay_s", [0.5, 1.5, 3.0])
def test_a_slow_server_is_read_in_the_end(delay_s):
    async def scenario(world):
        world.delay_s = delay_s
        await asyncio.sleep(20)
        assert world.freshness.is_fresh()

    play(scenario)


@pytest.mark.parametrize(("call_s", "fresh"), [(3.0, 0.9), (5.0, 0.4), (8.1, 0.0)])
def test_calls_that_take_long_leave_time_to_act_on_claims(call_s, fresh):
    """Up to `MOST_S`; `fresh` is the least part of the time."""

    async def scenario(world):
        world.delay_s = world.beat_s = call_s
        await asyncio.sleep(60)
        looks = []
        for _ in range(600):
            looks.append(world.freshness.is_fresh())
            await asyncio.sleep(0.1)
        assert fresh <= sum(looks) / len(looks) <= (1.0 if fresh else 0.0)

    play(scenario)


def test_calls_that_are_quick_again_give_no_more_time():
    async def scenario(world):
        world.delay_s = world.beat_s = 3.0
        await asyncio.sleep(30)
        world.delay_s = world.beat_s = 0.01
        await asyncio.sleep(10)
        world.away = True
        await asyncio.sleep(LIMIT_S + 0.1)
        assert not world.freshness.is_fresh()

    play(scenario)


def test_a_server_that_is_too_slow_to_act_on_claims_is_told_of_once():
    async def scenario(world):
        world.delay_s = world.beat_s = MOST_S + 1
        with capture_logs() as lines:
            await asyncio.sleep(120)
        (told,) = [line for line in lines if line["event"] == "claims_read_too_slowly"]
        assert (told["took_s"], told["valid_s"]) == (MOST_S + 1, MOST_S)

    play(scenario)


def freeze(seconds):
    """Stand still as after SIGSTOP: no task runs, the monotonic clock goes on."""
    jump(seconds)


def test_a_server_that_was_slow_is_not_asked_in_vain_again():
    """Where it is short of time for all, heartbeats fail and trust is lost again and again."""

    async def scenario(world):
        world.delay_s = 3.0
        await asyncio.sleep(30)
        assert world.freshness.is_fresh()
        world.beating = False
        tries, readings = len(world.reads), world.freshness.readings
        await asyncio.sleep(60)
        assert world.freshness.readings - readings >= 60 / (MOST_S + 0.1) - 1
        assert len(world.reads) - tries <= world.freshness.readings - readings + 1

    play(scenario)


def test_a_standstill_is_noticed_whoever_looks_first():
    async def scenario(world):
        await asyncio.sleep(10)
        assert not world.freshness.stalled()
        with capture_logs() as lines:
            freeze(LIMIT_S + 1)
            assert not world.freshness.is_fresh()
            assert world.freshness.stalled()
            await asyncio.sleep(1)
        assert world.freshness.is_fresh()
        assert not world.freshness.stalled()
        (told,) = [line for line in lines if line["event"] == "process_stood_still"]
        assert told["after_s"] >= LIMIT_S + 1

    play(scenario)


def test_an_outage_is_no_standstill():
    async def scenario(world):
        await asyncio.sleep(10)
        world.away = True
        await asyncio.sleep(60)
        assert not world.freshness.is_fresh()
        assert not world.freshness.stalled()

    play(scenario)


def test_a_heartbeat_after_a_standstill_proves_nothing():
    async def scenario(world):
        world.freshness.on_heartbeat(world.now())
        await asyncio.sleep(1)
        world.away = True
        freeze(30)
        world.freshness.on_heartbeat(world.now())
        assert not world.freshness.is_fresh()
        await asyncio.sleep(3)
        assert not world.freshness.is_fresh()
        assert world.freshness.stalled()

    play(scenario, beat=False)


def test_a_machine_whose_clock_stood_still_reads_its_claims_after_the_next_heartbeat():
    async def scenario(world):
        await asyncio.sleep(20)
        world.cache["a"] = claim("a", 90)
        world.delay_s = 0.5
        read = len(world.reads)
        world.paused_s = 30.0
        with capture_logs() as logs:
            await asyncio.sleep(HEARTBEAT_S + 0.1)
            assert len(world.reads) == read + 1
            assert not world.freshness.is_fresh()
            assert world.freshness.stalled()
            await asyncio.sleep(1)
            assert world.freshness.is_fresh()
            assert world.freshness.is_outdated("a")
            await asyncio.sleep(20)
        told = [log["after_s"] for log in logs if log["event"] == "process_stood_still"]
        assert told == [30.0]
        assert len(world.reads) == read + 1

    play(scenario)


def test_what_the_reading_lacks_does_not_count_until_the_watch_has_caught_up():
    async def scenario(world):
        world.cache.update(kept=claim("kept", 50), lost=claim("lost", 60))
        world.names = frozenset({"kept"})
        await asyncio.sleep(1)
        assert world.freshness.is_outdated("lost")
        assert not world.freshness.is_outdated("kept")
        world.cache["lost"] = claim("lost", 70)  # an older change, delivered late
        assert not world.freshness.caught_up("lost")
        assert world.freshness.is_outdated("lost")
        del world.cache["lost"]
        assert world.freshness.caught_up("lost")
        assert not world.freshness.caught_up("lost")
        assert not world.freshness.is_outdated("lost")

    play(scenario)


def test_a_claim_that_came_back_counts_again():
    async def scenario(world):
        world.cache["lost"] = claim("lost", 60)
        await asyncio.sleep(1)
        assert world.freshness.is_outdated("lost")
        world.cache["lost"] = claim("lost", 130)
        assert world.freshness.caught_up("lost")
        assert not world.freshness.is_outdated("lost")

    play(scenario)


def test_a_cache_that_is_ahead_of_the_reading_is_right():
    async def scenario(world):
        world.cache["new"] = claim("new", 101)
        await asyncio.sleep(1)
        assert not world.freshness.is_outdated("new")

    play(scenario)


def test_after_a_doubt_a_heartbeat_and_then_a_reading_are_needed():
    async def scenario(world):
        await asyncio.sleep(10)
        world.beating = False
        world.freshness.invalidate()
        readings = world.freshness.readings
        await asyncio.sleep(30)
        assert not world.freshness.is_fresh()
        assert not world.freshness.in_contact()
        assert world.freshness.readings == readings
        world.freshness.on_heartbeat(world.now())
        await asyncio.sleep(0.1)
        assert world.freshness.is_fresh()
        assert world.freshness.readings == readings + 1

    play(scenario)


def test_a_reading_that_was_under_way_settles_no_doubt():
    async def scenario(world):
        world.delay_s = 0.5
        world.freshness.on_heartbeat(world.now())
        await asyncio.sleep(0.2)
        world.freshness.invalidate()
        await asyncio.sleep(5)
        assert len(world.reads) == 1
        assert not world.freshness.is_fresh()
        assert world.freshness.readings == 0

    play(scenario, beat=False)


def test_one_claim_that_was_found_lost_does_not_count_until_the_watch_has_caught_up():
    async def scenario(world):
        world.cache.update(kept=claim("kept", 50), lost=claim("lost", 60))
        world.names = frozenset({"kept", "lost"})
        await asyncio.sleep(1)
        told = len(world.told)
        world.freshness.mark_lost("lost", version=150)
        assert len(world.told) == told + 1
        assert world.freshness.is_outdated("lost")
        assert not world.freshness.is_outdated("kept")
        world.freshness.invalidate()  # a reading from before that move does not undo what is known
        world.freshness.on_heartbeat(world.now())
        await asyncio.sleep(0.1)
        assert world.freshness.is_outdated("lost")
        world.cache["lost"] = claim("lost", 160)
        assert world.freshness.caught_up("lost")

    play(scenario)


def test_a_node_whose_heartbeats_are_taken_is_heard_also_where_it_cannot_read_its_claims():
    async def scenario(world):
        await asyncio.sleep(10)
        world.busy = True
        world.freshness.invalidate()
        assert not world.freshness.is_heard()
        await asyncio.sleep(10)
        assert not world.freshness.in_contact()
        assert world.freshness.is_heard()

    play(scenario)
