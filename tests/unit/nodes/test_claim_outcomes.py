"""Who is told what the passes over an interface came to, and when."""

import asyncio
from types import SimpleNamespace
from typing import cast

from extip.addresses.links_in_use import LinksInUse
from extip.claims.policy.node_claims import NodeClaims
from extip.claims.status import ClaimStatusWriter
from extip.clock import LoopClock
from extip.guard.policy.admission import Admission
from extip.net.interfaces import IPAddress
from extip.nodes.claim_outcomes import ClaimOutcomes
from tests.fakes.interfaces import ETH0
from tests.fakes.tasks import beside
from tests.fakes.virtual_time import run_virtually


class World:
    """A node without claims."""

    def __init__(self):
        self.up: frozenset[IPAddress] = frozenset()
        self.problem = ""
        self.claims = NodeClaims()
        self.told = 0
        self.looked = 0
        self.outcomes = ClaimOutcomes(
            cast("ClaimStatusWriter", SimpleNamespace(on_outcomes=self.on_outcomes)),
            cast("LinksInUse", self),
            problem=lambda: self.problem,
            claims=lambda: self.claims,
            links=ETH0,
            clock=LoopClock(),
        )
        self.outcomes.add_handler(self.look)

    def on_outcomes(self, _found):
        self.told += 1

    def look(self):
        self.looked += 1

    def pass_over(self):
        self.outcomes.on_admission(Admission(wanted=frozenset(), rejected=frozenset()))


def play(scenario):
    async def main():
        world = World()
        async with beside(world.outcomes.run()):
            world.pass_over()
            await asyncio.sleep(0)
            await scenario(world)

    run_virtually(main())


def test_each_pass_has_the_node_looked_at_and_only_differences_are_told():
    async def scenario(world):
        world.pass_over()
        assert (world.looked, world.told) == (2, 1)

    play(scenario)


def test_at_rest_nobody_looks():
    async def scenario(world):
        await asyncio.sleep(60.0)
        assert (world.looked, world.told) == (1, 1)

    play(scenario)


def test_a_pass_that_failed_is_told_of_though_it_hands_nothing_on():
    async def scenario(world):
        await asyncio.sleep(60.0)
        world.problem = "no pass for long"
        await asyncio.sleep(3.0)
        assert (world.looked, world.told) == (2, 2)

    play(scenario)
