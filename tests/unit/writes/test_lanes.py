"""Many writes side by side: none that hangs or fails holds another one up for long."""

import asyncio
from contextlib import asynccontextmanager
from itertools import pairwise
from random import Random

import pytest

from extip.clock import LoopClock
from extip.errors import ApiAccessError, ApiUnavailableError, ConflictError, NotFoundError
from extip.writes.lanes import SLOW_S, WRITE_S, Lane, LaneContext, ServerContact, is_away
from tests.fakes.tasks import beside
from tests.fakes.virtual_time import virtually

PLACES = 4
LATENCY_S = 0.1
DELAY_S = 3.0
LONGEST_S = 15.0
MOST_SLOW = 48


class Server:
    """Answers after a while, or never, or with an error."""

    def __init__(self):
        self.hung: set[str] = set()
        self.delayed: set[str] = set()
        """Writes that are answered after `DELAY_S`."""
        self.hangs = False
        """It answers nothing."""
        self.errors: dict[str, Exception] = {}
        self.began: list[tuple[float, str]] = []
        self.done: dict[str, float] = {}
        self.under_way: list[str] = []
        self.most = 0
        """Writes that were under way at once."""

    async def write(self, name):
        self.began.append((now(), name))
        self.under_way.append(name)
        assert self.under_way.count(name) == 1, "two writes of one object at once"
        self.most = max(self.most, len(self.under_way))
        try:
            quickly_s = DELAY_S if name in self.delayed else LATENCY_S
            await asyncio.sleep(1e6 if self.hangs or name in self.hung else quickly_s)
        finally:
            self.under_way.remove(name)
        if name in self.errors:
            raise self.errors[name]
        self.done[name] = now()

    def tries(self, name):
        return [at for at, one in self.began if one == name]


class CrowdedServer(Server):
    """Makes `rate` writes a second, one after the other, also those that nobody waits for."""

    rate = 6.0

    def __init__(self):
        super().__init__()
        self._free_at = 0.0

    async def write(self, name):
        self._free_at = max(now(), self._free_at) + 1 / self.rate
        self.under_way.append(name)
        self.most = max(self.most, len(self.under_way))
        try:
            await asyncio.sleep(self._free_at - now())
        finally:
            self.under_way.remove(name)
        self.done[name] = now()


class World:
    """Lanes over one server. Each lane is offered what is wanted again when that may matter."""

    def __init__(self, server=None):
        self.server = server or Server()
        self.wanted: dict[str, list[str]] = {}
        self.made: list[str] = []
        self.failed: list[tuple[str, str]] = []
        self.back = 0
        self.lanes: dict[str, Lane[str]] = {}
        self.contact = ServerContact(self._back, LoopClock())
        self.context = LaneContext(
            contact=self.contact,
            again=self._again,
            clock=LoopClock(),
            rng=Random(1),  # noqa: S311
        )
        self.lane = self.add("first")

    def add(self, name, **options):
        lane = self.lanes[name] = Lane(
            name,
            self.server.write,
            self.context,
            longest_s=LONGEST_S,
            made=lambda: self.made.append(name),
            failed=lambda write, why: self.failed.append((write, why)),
            **{"places": PLACES, **options},
        )
        return lane

    def want(self, *names, lane="first"):
        self.wanted[lane] = list(names)
        self.offer()

    def offer(self):
        """Plan: what is not written yet is wanted."""
        for name, wanted in self.wanted.items():
            left = [one for one in wanted if one not in self.server.done]
            self.lanes[name].offer({one: one for one in left})

    def _again(self, after_s):
        asyncio.get_running_loop().call_later(after_s, self.offer)

    def _back(self):
        self.back += 1
        for lane in self.lanes.values():
            lane.backoff.hasten()
        self.offer()

    @asynccontextmanager
    async def running(self):
        async with beside(*(lane.run() for lane in self.lanes.values())):
            yield self


def now():
    return asyncio.get_running_loop().time()


def many(count, kind="w"):
    return [f"{kind}{number:03}" for number in range(count)]


@virtually
async def test_writes_go_side_by_side_up_to_the_places_in_the_order_that_was_offered():
    async with World().running() as world:
        names = many(3 * PLACES)
        world.want(*names)
        await asyncio.sleep(3 * LATENCY_S + 0.01)
        assert [one for _, one in world.server.began] == names
        assert world.server.most == PLACES
        assert world.server.done.keys() == set(names)
        assert world.made == ["first"] * len(names)
        assert not world.lane.busy


@virtually
async def test_a_newer_plan_replaces_what_has_not_begun():
    async with World().running() as world:
        world.want(*many(PLACES), "late", "unwanted")
        await asyncio.sleep(LATENCY_S / 2)
        assert world.lane.has("unwanted")
        world.want("urgent", "late")
        assert not world.lane.has("unwanted")
        await asyncio.sleep(3 * LATENCY_S)
        assert [one for _, one in world.server.began] == [*many(PLACES), "urgent", "late"]


@virtually
async def test_an_object_has_one_write_at_a_time_and_is_written_again_only_by_a_later_plan():
    """What is offered for an object while it is written was decided before that write ended."""
    world = World()
    async with world.running():
        world.want("a")
        await asyncio.sleep(LATENCY_S / 2)
        assert world.lane.in_flight == {"a": "a"}
        assert "a" in world.lane.unavailable()
        world.want("a")
        world.lane.revise("a", "a", first=True)
        await asyncio.sleep(3 * LATENCY_S)
        assert len(world.server.tries("a")) == 1
        assert world.made == ["first"]
        world.lane.offer({"a": "a"})
        await asyncio.sleep(2 * LATENCY_S)
        assert len(world.server.tries("a")) == 2


@virtually
async def test_one_write_that_has_not_begun_can_be_replaced_or_taken_away():
    async with World().running() as world:
        lane = world.lane
        world.want(*many(PLACES), "a", "b")
        await asyncio.sleep(LATENCY_S / 2)
        assert lane.revise("a", None)
        assert not lane.has("a")
        assert lane.revise("last", "last")
        assert lane.revise("b", "b")
        assert lane.revise("first", "first", first=True)
        await asyncio.sleep(3 * LATENCY_S)
        began = [one for _, one in world.server.began]
        assert began[PLACES:] == ["first", "b", "last"]


@virtually
async def test_a_write_that_cannot_begin_now_is_not_taken():
    world = World()
    world.server.errors["refused"] = ApiAccessError("no")
    async with world.running():
        world.want("refused", "under-way")
        world.server.hung.add("under-way")
        await asyncio.sleep(LATENCY_S + 0.01)
        assert not world.lane.revise("refused", "refused"), "it waits"
        assert not world.lane.revise("under-way", "under-way")
        assert not world.lane.waiting
        assert len(world.server.tries("under-way")) == 1


@virtually
async def test_a_write_that_waits_until_its_failure_is_forgotten_is_made_once():
    """It waits among those that hung before, and is then wanted as one of the others."""
    world = World()
    names = many(20, "hung")
    world.server.hung = set(names)
    async with world.running():
        for _ in range(2):
            for name in names:
                world.lane.revise(name, name, first=True)
            await asyncio.sleep((len(names) - 1) * WRITE_S - 1.0)
        assert world.lane.has(names[0])
        assert len(world.server.tries(names[0])) == 1
        world.lane.backoff.problem()
        assert not world.lane.backoff.is_suspect(names[0])
        world.lane.revise(names[0], names[0])
        await asyncio.sleep(2 * len(names) * WRITE_S)
        assert len(world.server.tries(names[0])) == 2


@virtually
async def test_an_urgent_write_goes_before_all_that_wait():
    async with World().running() as world:
        world.want(*many(2 * PLACES))
        await asyncio.sleep(LATENCY_S / 2)
        world.lane.revise("urgent", "urgent", first=True)
        await asyncio.sleep(LATENCY_S)
        assert "urgent" in [one for _, one in world.server.began[: PLACES + 1]]


@virtually
async def test_a_write_ends_in_time_and_is_cancelled_with_its_lane():
    """Another process may lead after that."""
    world = World()
    world.server.hung = {"hung"}
    async with world.running():
        world.want("hung")
        await asyncio.sleep(WRITE_S - 0.01)
        assert world.server.under_way == ["hung"]
        await asyncio.sleep(0.02)
        assert world.server.under_way == []
        world.server.done["hung"] = now()
        world.server.hangs = True
        world.want("another")
        await asyncio.sleep(0.01)
        assert world.server.under_way == ["another"]
    assert world.server.under_way == []


@virtually
async def test_writes_that_hang_make_room_for_others():
    world = World()
    world.server.hung = set(many(PLACES, "hung"))
    async with world.running():
        world.want(*many(PLACES, "hung"), *many(40))
        await asyncio.sleep(SLOW_S + 11 * LATENCY_S)
        assert world.server.done.keys() == set(many(40))


@virtually
async def test_a_server_that_is_slow_for_all_gets_no_more_at_once():
    """Each would take longer then, in the end too long, and all would be made again and again."""
    async with World(CrowdedServer()).running() as world:
        names = many(120)
        world.want(*names)
        await asyncio.sleep(1.2 * len(names) / CrowdedServer.rate)
        assert world.server.done.keys() == set(names)
        assert world.failed == []
        assert world.server.most < 5 * PLACES


@virtually
async def test_writes_that_a_webhook_delays_make_room_while_other_requests_are_quick():
    """All answers on the lane take long. But the renewals of the Lease are answered at once."""
    async with World().running() as world:

        async def renew():
            while True:
                world.contact.answered(LATENCY_S)
                await asyncio.sleep(2.0)

        delayed = many(15 * PLACES, "delayed")
        world.server.delayed.update(delayed)
        async with beside(renew()):
            world.want(*delayed, "other")
            await asyncio.sleep(4 * DELAY_S)
        assert "other" in world.server.done


@virtually
async def test_so_many_hang_at_once_and_no_more():
    """A server in trouble is not burdened with ever more of them."""
    world = World()
    world.server.hung = set(many(200, "hung"))
    wide = world.add("wide", places=16)
    async with beside(*(lane.run() for lane in world.lanes.values()), answers(world.contact)):
        world.want(*many(200, "hung"), lane="wide")
        await asyncio.sleep(WRITE_S - 0.01)
        assert len(wide.in_flight) == MOST_SLOW + 16


async def answers(contact):
    """Have the server answer other requests all the time."""
    while True:
        contact.answered(LATENCY_S)
        await asyncio.sleep(0.05)


@virtually
async def test_objects_that_hung_before_leave_most_places_to_the_others():
    world = World()
    world.server.hung = set(many(10 * PLACES, "hung"))
    async with beside(world.lane.run(), answers(world.contact)):
        world.want(*world.server.hung)
        await asyncio.sleep(10 * WRITE_S)
        world.lane.backoff.hasten()  # all of them may be tried again
        world.want(*world.server.hung)
        await asyncio.sleep(SLOW_S / 2)
        assert len(world.server.under_way) == 1, "three places stay free"
        world.want(*world.server.hung, "news")
        await asyncio.sleep(LATENCY_S + 0.01)
        assert "news" in world.server.done


@virtually
async def test_a_failed_write_waits_ever_longer_and_holds_nothing_else_up():
    world = World()
    world.server.errors["refused"] = ApiAccessError("no")
    async with world.running():
        world.want("refused", *many(20))
        await asyncio.sleep(20 / PLACES * LATENCY_S + 2 * LATENCY_S)
        assert world.server.done.keys() == set(many(20))
        await asyncio.sleep(120)
        tries = world.server.tries("refused")
        gaps = [b - a for a, b in pairwise(tries)]
        assert gaps[0] > LATENCY_S
        assert max(gaps) <= LONGEST_S + LATENCY_S + 0.01
        assert gaps[-1] > 5
        assert len(tries) < 25
        assert world.failed == [("refused", "no")], "it is told once"
        del world.server.errors["refused"]
        await asyncio.sleep(LONGEST_S + 1)
        assert "refused" in world.server.done
        assert world.lane.backoff.problem() == (0, "")


@pytest.mark.parametrize("error", [ConflictError("changed"), NotFoundError("gone")])
def test_a_stale_decision_is_made_again_soon_and_is_nobodys_fault(error):
    @virtually
    async def scenario():
        world = World()
        world.server.errors["a"] = error
        async with world.running():
            world.want("a")
            await asyncio.sleep(LATENCY_S + 0.01)
            del world.server.errors["a"]
            await asyncio.sleep(2 * LATENCY_S)
            assert "a" in world.server.done
            assert world.failed == []
            assert world.contact.answers == 2

    scenario()


@virtually
async def test_a_lane_that_is_behind_another_makes_one_write_at_a_time_meanwhile():
    world = World()
    world.add("behind", behind=lambda: world.lane.waiting)
    async with world.running():
        world.want(*many(10 * PLACES))
        world.want(*many(10 * PLACES, "late"), lane="behind")
        await asyncio.sleep(8 * LATENCY_S)
        late = [one for one in world.server.done if one.startswith("late")]
        assert 1 <= len(late) <= 9, "it goes on, but one at a time"
        await asyncio.sleep(20 * LATENCY_S)
        assert len(world.server.done) == 20 * PLACES


@virtually
async def test_a_server_that_is_away_is_tried_by_one_write_until_it_answers():
    async with World().running() as world:
        for name in ("other", "writes", "of", "another lane"):
            world.contact.unanswered(name, world.contact.answers)
        assert world.contact.away
        world.want(*many(3 * PLACES))
        await asyncio.sleep(LATENCY_S / 2)
        assert len(world.server.under_way) == 1
        await asyncio.sleep(LATENCY_S)
        assert not world.contact.away
        assert len(world.server.under_way) == PLACES


@virtually
async def test_a_server_that_is_away_gets_one_write_at_a_time_until_it_answers():
    world = World()
    world.server.hangs = True
    async with world.running():
        names = many(20 * PLACES)
        world.want(*names)
        await asyncio.sleep(WRITE_S + 0.1)
        assert world.contact.away
        await asyncio.sleep(4 * WRITE_S)
        began, over_s = len(world.server.began), 60
        await asyncio.sleep(over_s)
        assert 1 <= len(world.server.began) - began <= over_s / SLOW_S + 1
        world.server.hangs = False
        await asyncio.sleep(LONGEST_S + 2 * WRITE_S + len(names) * LATENCY_S)
        assert not world.contact.away
        assert world.back == 1
        assert world.server.done.keys() == set(names)


def test_the_server_is_away_when_nothing_is_answered_in_a_row():
    back = []
    contact = ServerContact(lambda: back.append(1), LoopClock())
    for name in ("a", "a", "a", "a", "b", "c"):
        contact.unanswered(name, contact.answers)
    assert not contact.away, "one object alone is no proof"
    contact.unanswered("d", contact.answers)
    assert contact.away
    contact.answered(LATENCY_S)
    assert not contact.away
    assert back == [1]
    contact.answered(LATENCY_S)
    assert back == [1]


def test_a_write_that_hangs_while_others_are_answered_is_no_sign_of_a_server_that_is_away():
    contact = ServerContact(lambda: None, LoopClock())
    for name in "abcdefgh":
        since = contact.answers
        contact.answered(LATENCY_S)
        contact.unanswered(name, since)
    assert contact.row == 0


@pytest.mark.parametrize(
    ("error", "away"),
    [
        (ApiUnavailableError("no route"), True),
        (ApiUnavailableError("busy", status=429), True),
        (ApiUnavailableError("webhook failed", status=500), False),
        (ApiAccessError("no"), False),
    ],
)
def test_a_refusal_and_a_webhook_that_fails_are_answers(error, away):
    assert is_away(error) is away


@virtually
async def test_a_reset_forgets_what_waited_and_what_failed():
    world = World()
    world.server.errors["refused"] = ApiAccessError("no")
    async with world.running():
        world.want("refused", *many(3 * PLACES))
        await asyncio.sleep(LATENCY_S + 0.01)
    world.lane.reset()
    assert not world.lane.busy
    assert world.lane.unavailable() == set()
    assert world.lane.backoff.problem() == (0, "")
    assert not any(world.lane.has(name) for name in many(3 * PLACES))
