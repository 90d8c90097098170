"""A node says which IPs it would refuse as their standby, and for as long as it would."""

import asyncio
from collections.abc import Mapping, Sequence

from extip.api.ipcontroller_v1 import IpClaim, IpClaimSpec
from extip.api.meta_v1 import FullObjectMeta
from extip.clock import LoopClock
from extip.errors import LinkNotFoundError
from extip.handover.standby_check import SETTLE_S, StandbyCheck
from extip.net.interfaces import IPInterface
from extip.services.policy.refusal import Reason, Refusal
from extip.services.policy.requests import Masks
from tests.fakes.tasks import beside
from tests.fakes.virtual_time import virtually

RESYNC_S = 20.0
SOON_S = 2 * SETTLE_S


class World:
    """A node that is the standby of some claims, and has some stations behind other interfaces."""

    def __init__(self):
        self.claims: dict[str, IpClaim] = {}
        self.stations: set[str] = set()
        self.failing = False
        self.told = 0
        self.asked: list[list[str]] = []
        self.check = StandbyCheck(
            self.claims,
            refusals=self.refusals,
            masks=Masks(v4=32, v6=128),
            resync_s=RESYNC_S,
            clock=LoopClock(),
        )
        self.check.add_handler(self.on_change)

    def on_change(self):
        self.told += 1

    async def refusals(self, asked: Sequence[IPInterface]) -> Mapping[IPInterface, Refusal]:
        self.asked.append([str(one.ip) for one in asked])
        if self.failing:
            raise LinkNotFoundError("eth0")
        refusal = Refusal(Reason.OTHER_LINK, "it may be a pod")
        return {one: refusal for one in asked if str(one.ip) in self.stations}

    def put(self, *cidrs):
        for cidr in cidrs:
            meta = FullObjectMeta(name=cidr)
            self.claims[cidr] = IpClaim(metadata=meta, spec=IpClaimSpec(cidr=cidr))
            self.check.on_claim(cidr)


@virtually
async def test_what_would_be_refused_is_told_once_and_until_nothing_speaks_against_it():
    world = World()
    world.stations = {"10.0.0.1"}
    async with beside(world.check.run()):
        world.put("10.0.0.1/32", "10.0.0.2/32", "nonsense")
        await asyncio.sleep(SOON_S)
        assert (world.check.refused(), world.told) == (("10.0.0.1/32",), 1)
        world.claims.clear()  # another node is the standby now
        world.check.on_claim("10.0.0.1/32")
        await asyncio.sleep(2 * RESYNC_S)
        assert (world.check.refused(), world.told) == (("10.0.0.1/32",), 1)
        world.stations.clear()
        await asyncio.sleep(2 * RESYNC_S)
        assert (world.check.refused(), world.told) == ((), 2)


@virtually
async def test_many_claims_are_one_question_and_none_is_no_question():
    world = World()
    async with beside(world.check.run()):
        await asyncio.sleep(3 * RESYNC_S)
        assert world.asked == []
        world.put(*(f"10.0.0.{n}/32" for n in range(1, 5)))
        await asyncio.sleep(SOON_S)
        assert world.asked == [["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4"]]


@virtually
async def test_a_claim_that_changes_is_looked_at_alone_and_all_are_once_in_a_while():
    """Claims change all the time: they may not keep the others from their look."""
    world = World()
    async with beside(world.check.run()):
        world.put("10.0.0.1/32", "10.0.0.2/32")
        await asyncio.sleep(SOON_S)
        world.asked.clear()
        world.stations = {"10.0.0.1"}  # no claim tells of it
        since = asyncio.get_running_loop().time()
        while not world.check.refused():
            world.put("10.0.0.2/32")
            await asyncio.sleep(SOON_S)
            assert asyncio.get_running_loop().time() - since < 2 * RESYNC_S
        alone = world.asked[:-1]
        assert alone == [["10.0.0.2"]] * len(alone) != []
        assert world.asked[-1] == ["10.0.0.1", "10.0.0.2"]
        world.put("10.0.0.2/32")
        await asyncio.sleep(SOON_S)
        assert world.asked[-1] == ["10.0.0.1", "10.0.0.2"], "one that is refused is looked at again"


@virtually
async def test_a_kernel_that_does_not_answer_is_asked_again_and_what_was_known_stays():
    world = World()
    world.stations = {"10.0.0.1"}
    async with beside(world.check.run()):
        world.put("10.0.0.1/32")
        await asyncio.sleep(SOON_S)
        world.failing = True
        await asyncio.sleep(2 * RESYNC_S)
        assert world.check.refused() == ("10.0.0.1/32",)
        world.failing = False
        world.stations.clear()
        await asyncio.sleep(2 * RESYNC_S)
        assert world.check.refused() == ()
