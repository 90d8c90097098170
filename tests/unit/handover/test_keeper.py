"""An address whose claim left stays exactly as long as it is needed, in virtual time."""

import asyncio
from contextlib import asynccontextmanager
from random import Random

import msgspec
import pytest

from extip.api.ipcontroller_v1 import IpClaim, IpClaimSpec, IpClaimStatus
from extip.api.meta_v1 import Condition, FullObjectMeta
from extip.claims.policy.node_claims import held_claim
from extip.clock import LoopClock
from extip.errors import ApiUnavailableError, NotFoundError
from extip.handover.keeper import Handover
from tests.fakes.tasks import beside
from tests.fakes.virtual_time import run_virtually

TIMEOUT_S = 5.0


def claim(node, *, version=10, holder=""):
    up = (Condition(type="Up", status="True"),) if holder else None
    return IpClaim(
        metadata=FullObjectMeta(name="a", resource_version=str(version)),
        spec=IpClaimSpec(cidr="10.0.0.1/32", node_name=node),
        status=IpClaimStatus(conditions=up, holder=holder),
    )


class World:
    """What a node's watch and the API server know of one claim."""

    def __init__(self, timeout_s: float = TIMEOUT_S):
        self.watched: IpClaim | None = None
        self.truth: IpClaim | Exception = NotFoundError("gone", status=404)
        self.delay_s = 0.01
        self.up = self.is_heard = True
        self.asked = 0
        self.told: list[float] = []
        self.released = asyncio.Event()
        self.handover = Handover(
            node="n1",
            watched=lambda _: self.watched,
            fetch=self.fetch,
            timeout_s=timeout_s,
            is_up=lambda _: self.up,
            is_heard=lambda: self.is_heard,
            on_change=self.on_change,
            clock=LoopClock(),
            rng=Random(1),  # noqa: S311
        )

    def now(self):
        return asyncio.get_running_loop().time()

    def on_change(self):
        self.told.append(self.now())
        self.released.set()

    async def fetch(self, name):
        assert name == "a"
        self.asked += 1
        await asyncio.sleep(self.delay_s)
        if isinstance(self.truth, Exception):
            raise self.truth
        return self.truth

    def show(self, found):
        """Have the watch on former claims deliver something."""
        self.watched = found
        self.handover.on_claim("a")

    @asynccontextmanager
    async def running(self):
        async with beside(self.handover.run(), self.handover.run()):
            await asyncio.sleep(1)
            self.handover.begin(held_claim(claim("n1")), version=10)
            self.left_at = self.now()
            yield self

    async def kept_for(self, limit_s=60.0):
        """Wait until the address is released; return how long it was kept."""
        async with asyncio.timeout(limit_s):
            await self.released.wait()
        assert not self.handover.kept()
        return self.now() - self.left_at


def play(scenario, world=None):
    async def main():
        async with (world or World()).running() as playing:
            return await scenario(playing)

    return run_virtually(main())


def test_it_goes_as_soon_as_the_next_holder_is_up():
    async def scenario(world):
        world.show(claim("n2", version=11))
        await asyncio.sleep(1)
        assert world.handover.kept()
        world.show(claim("n2", version=12, holder="n2"))
        assert not world.handover.kept()
        assert world.told == [world.now()]
        assert world.asked == 0

    play(scenario)


def test_it_waits_for_the_drain_timeout_and_no_longer():
    async def scenario(world):
        world.show(claim("n2", version=11))
        assert await world.kept_for() == pytest.approx(TIMEOUT_S, abs=0.02)

    play(scenario)


def test_a_deleted_claim_is_let_go_when_the_server_says_so():
    async def scenario(world):
        assert await world.kept_for() < 0.1
        assert world.asked == 1

    play(scenario)


def test_nobody_is_asked_when_the_watch_tells_in_time():
    async def scenario(world):
        await asyncio.sleep(0.03)
        world.show(claim("n2", version=11))
        await world.kept_for()
        assert world.asked == 0

    play(scenario)


def test_an_unchanged_claim_has_no_report_of_the_next_holder():
    """A standby gives up what it took: it is its former node's again, which had it up once."""

    async def scenario(world):
        world.truth = claim("n2", version=10, holder="n2")
        await asyncio.sleep(1)
        assert world.handover.kept()
        world.truth = claim("n2", version=11, holder="n2")
        assert await world.kept_for() < 2.5

    play(scenario)


@pytest.mark.parametrize("delay_s", [0.01, 10.0])
def test_without_any_word_half_a_second(delay_s):
    async def scenario(world):
        world.truth = ApiUnavailableError("away")
        world.delay_s = delay_s
        assert await world.kept_for() == pytest.approx(0.5, abs=0.02)

    play(scenario)


def test_a_move_that_only_the_server_knows_of():
    """The second watch is broken: it is asked again and again until the holder is up."""

    async def scenario(world):
        world.truth = claim("n2", version=11)
        await asyncio.sleep(2)
        assert world.handover.kept()
        world.truth = claim("n2", version=12, holder="n2")
        assert await world.kept_for() == pytest.approx(2.2, abs=0.3)

    play(scenario)


def test_a_second_move_takes_it_out_of_sight():
    async def scenario(world):
        world.show(claim("n2", version=11))
        await asyncio.sleep(1)
        world.truth = claim("n3", version=13)
        world.show(None)
        await asyncio.sleep(1)
        assert world.handover.kept()
        world.truth = claim("n3", version=14, holder="n3")
        assert await world.kept_for() < 2.6

    play(scenario)


def test_what_the_watch_shows_of_an_earlier_move_does_not_count():
    async def scenario(world):
        world.truth = claim("n2", version=11)
        world.show(claim("n2", version=9, holder="n2"))
        await asyncio.sleep(1)
        assert world.handover.kept()

    play(scenario)


def test_a_claim_that_comes_back_is_forgotten():
    async def scenario(world):
        world.show(claim("n2", version=11))
        world.handover.cancel("a")
        assert not world.handover.kept()
        await asyncio.sleep(10)
        assert world.told == []

    play(scenario)


def test_it_may_leave_again_while_the_server_is_still_asked_about_the_first_time():
    async def scenario(world):
        world.delay_s = 0.3
        world.truth = NotFoundError("of the first time", status=404)
        await asyncio.sleep(0.1)
        world.handover.cancel("a")
        world.handover.begin(held_claim(claim("n1")), version=20)
        world.left_at = world.now()
        world.show(claim("n2", version=21))
        await asyncio.sleep(1)
        assert world.handover.kept()

    play(scenario)


def test_conditions_survive_the_wire():
    """The fate is read from what the API server really sends."""
    sent = msgspec.json.encode(claim("n2", version=12, holder="n2"))
    assert msgspec.json.decode(sent, type=IpClaim) == claim("n2", version=12, holder="n2")


def test_while_the_api_server_is_away_it_stays_as_the_next_holder_may_not_have_heard():
    async def scenario(world):
        world.show(claim("n2", version=11))
        world.is_heard, world.truth = False, ApiUnavailableError("away")
        await asyncio.sleep(10 * TIMEOUT_S + 1)
        assert world.handover.kept()
        world.is_heard, back_at = True, world.now()
        await world.kept_for()
        assert TIMEOUT_S <= world.now() - back_at <= 2 * TIMEOUT_S

    play(scenario)


def test_it_looks_now_and_then_also_where_the_next_holder_gets_no_time_at_all():
    world = World(timeout_s=0.0)
    world.watched, world.is_heard = claim("n2", version=11), False

    async def scenario(_):
        await asyncio.sleep(10)
        assert world.handover.kept()
        world.is_heard = True
        await world.kept_for()

    play(scenario, world)


def test_after_that_it_goes_as_soon_as_the_next_holder_is_up():
    async def scenario(world):
        world.show(claim("n2", version=11))
        world.is_heard = False
        await asyncio.sleep(3 * TIMEOUT_S + 1)
        world.is_heard = True
        world.show(claim("n2", version=12, holder="n2"))
        assert not world.handover.kept()

    play(scenario)


def test_an_address_that_made_way_meanwhile_is_not_kept():
    async def scenario(world):
        world.show(claim("n2", version=11))
        world.is_heard = False
        await asyncio.sleep(TIMEOUT_S + 1)
        assert world.handover.kept()
        world.up = False
        assert not world.handover.kept()
        world.is_heard = world.up = True
        await world.kept_for(2 * TIMEOUT_S)

    play(scenario)


def test_a_claim_of_unknown_fate_is_not_kept_longer_for_that():
    async def scenario(world):
        world.is_heard, world.truth = False, ApiUnavailableError("away")
        assert await world.kept_for() <= 1.0

    play(scenario)
