"""IPs whose former holder is suspected, and for how long it is in the way."""

import asyncio
from dataclasses import replace
from ipaddress import ip_address, ip_interface

from extip.api.ipcontroller_v1 import IpNode, IpNodeStatus
from extip.claims.policy.node_claims import HeldClaim
from extip.handover.takeovers import Takeovers
from tests.fakes.virtual_time import run_virtually

IP = ip_address("10.0.0.9")
MACS = frozenset({b"\2\0\0\0\0\1"})
CLAIM = HeldClaim(
    name="c", created="", cidr="", interface=ip_interface(IP), link="", owners=(), holder="n1"
)
WAIT_S = 4.5


class World:
    def __init__(self, **silent):
        records = {n: IpNode(status=IpNodeStatus(silent=who)) for n, who in silent.items()}
        self.changes = 0
        self.takeovers = Takeovers(
            "n2", records, macs=lambda _: MACS, wait_s=WAIT_S, on_change=self.changed
        )

    def changed(self):
        self.changes += 1


def test_a_holder_that_somebody_calls_silent_is_in_the_way_for_a_while():
    async def main():
        world = World(n3=("n1",))
        world.takeovers.begin(CLAIM)
        await asyncio.sleep(WAIT_S - 0.1)
        assert world.takeovers.opponents() == {IP: MACS}
        await asyncio.sleep(0.2)
        assert world.takeovers.opponents() == {}
        assert world.changes == 1, "it may come up whoever answers"

    run_virtually(main())


def test_nobody_is_in_the_way_of_other_claims():
    async def main():
        world = World(n3=("n4",), n1=("n1",))
        world.takeovers.begin(CLAIM)
        suspected = World(n3=("n1", "n2", ""))
        for other in (replace(CLAIM, holder=""), replace(CLAIM, holder="n2")):
            suspected.takeovers.begin(other)
        suspected.takeovers.begin(replace(CLAIM, interface=None))
        assert not world.takeovers.opponents()
        assert not suspected.takeovers.opponents()

    run_virtually(main())


def test_a_claim_that_left_and_came_back_waits_anew():
    async def main():
        world = World(n3=("n1",))
        world.takeovers.begin(CLAIM)
        await asyncio.sleep(WAIT_S - 1.0)
        world.takeovers.end("c")
        assert world.takeovers.opponents() == {}
        world.takeovers.begin(CLAIM)
        await asyncio.sleep(WAIT_S - 1.0)
        assert world.takeovers.opponents() == {IP: MACS}
        assert world.changes == 0

    run_virtually(main())


def test_thousands_of_claims_of_one_node_are_one_look_up_and_one_change():
    """They come in one turn of the loop, which a look at each node for each claim would hold."""
    looks = 0

    class Records(dict[str, IpNode]):
        def items(self):
            nonlocal looks
            looks += 1
            return super().items()

    async def main():
        world = World()
        records = Records(n3=IpNode(status=IpNodeStatus(silent=("n1",))))
        world.takeovers._records = records
        claims = [replace(CLAIM, name=f"c{n}", interface=ip_interface(IP + n)) for n in range(1000)]
        for claim in claims:
            world.takeovers.begin(claim)
        assert looks == 1
        assert len(world.takeovers.opponents()) == 1000
        world.takeovers.end("c7")
        await asyncio.sleep(WAIT_S + 0.1)
        assert world.takeovers.opponents() == {}
        assert world.changes == 1
        records.clear()
        world.takeovers.begin(claims[0])
        assert world.takeovers.opponents() == {}, "what was known in another turn does not count"

    run_virtually(main())
