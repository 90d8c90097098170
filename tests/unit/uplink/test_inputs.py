"""The scheduler looks again when an interface that went down has settled, or one is back."""

import asyncio
from math import inf

from extip.api.ipcontroller_v1 import IpNode, IpNodeStatus
from extip.api.meta_v1 import FullObjectMeta
from extip.api.node_link import NodeLink
from extip.clock import LoopClock
from extip.uplink.inputs import UplinkSource
from extip.uplink.policy.settling import RETURN_S, SETTLE_S
from tests.fakes.virtual_time import run_virtually


def record(name, *, up):
    links = (NodeLink(name="eth0", up=up),)
    return IpNode(metadata=FullObjectMeta(name=name), status=IpNodeStatus(links=links))


def test_it_tells_when_time_alone_makes_a_difference():
    async def main():
        loop = asyncio.get_running_loop()
        records: dict[str, IpNode] = {}
        reached: dict[str, float] = {}
        looked: list[float] = []
        source = UplinkSource(
            records,
            heard_again_at=lambda name: reached.get(name, -inf),
            steady_s=60.0,
            on_change=lambda: looked.append(loop.time()),
            clock=LoopClock(),
        )

        def say(name, *, up):
            records[name] = record(name, up=up)
            source.on_record(name)

        say("n1", up=True)
        say("n2", up=True)
        await asyncio.sleep(100)
        assert looked == []
        assert source.returning(records) == frozenset()
        say("n1", up=False)
        assert source.unsettled() == {"n1"}
        down_s = loop.time()
        await asyncio.sleep(1)
        assert source.unsettled() == frozenset()
        assert SETTLE_S <= looked[-1] - down_s < SETTLE_S + 0.1
        say("n1", up=True)
        up_s = loop.time()
        assert source.returning(records) == {"n1"}
        await asyncio.sleep(RETURN_S + 0.1)
        assert source.returning(records) == frozenset()
        assert RETURN_S <= looked[-1] - up_s < RETURN_S + 0.1
        await asyncio.sleep(60)
        assert 60 <= looked[-1] - up_s < 60.1
        assert len(looked) == 3
        reached["n2"] = loop.time()
        assert source.returning(records) == {"n2"}
        records.clear()
        source.on_record("n1")
        assert source.back_at("n1") == -inf

    run_virtually(main())
