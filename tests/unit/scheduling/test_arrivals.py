"""Where IPs have come up is told on their services, and on nodes when there are many."""

import asyncio

import msgspec

from extip.api.ipcontroller_v1 import IpClaim, IpNode
from extip.kube.events import EventRecorder
from extip.scheduling.arrivals import ArrivalEvents
from extip.services.policy.arrivals import MANY
from tests.fakes.tasks import beside
from tests.fakes.virtual_time import run_virtually


class Recorder(EventRecorder):
    """Keeps Events."""

    def __init__(self):
        self.told = []

    def record(self, reference, *, type, reason, message):  # noqa: A002 - the API's word
        assert (type, reason) == ("Normal", "AddressUp")
        assert reference.uid
        self.told.append((reference.name, message))


def claim(ip, node, *services, up=True, holder=None):
    """Return the claim of an IP as it is while `holder` has it up."""
    status = "True" if up else "False"
    found = {
        "metadata": {"name": ip},
        "spec": {
            "cidr": f"{ip}/32",
            "nodeName": node,
            "services": [{"namespace": "shop", "name": s, "uid": f"uid-{s}"} for s in services],
        },
        "status": {
            "holder": node if holder is None else holder,
            "link": "eth0",
            "conditions": [{"type": "Up", "status": status}],
        },
    }
    return msgspec.convert(found, IpClaim)


class World:
    """Claims as a cache has them, and the Events."""

    def __init__(self):
        self.claims: dict[str, IpClaim] = {}
        self.recorder = Recorder()
        self.synced = asyncio.Event()
        nodes = {
            name: msgspec.convert({"metadata": {"name": name, "uid": f"uid-{name}"}}, IpNode)
            for name in ("n1", "n2")
        }
        self.arrivals = ArrivalEvents(
            self.recorder,
            claims=self.claims,
            nodes=nodes,
            synced=self.synced.wait,
        )

    def see(self, found):
        self.claims[found.metadata.name] = found
        self.arrivals.on_claim(found.metadata.name)

    def gone(self, name):
        del self.claims[name]
        self.arrivals.on_claim(name)

    def told(self):
        found = self.recorder.told[:]
        self.recorder.told.clear()
        return found


def test_an_arrival_and_a_move_are_told_once_with_the_reason():
    async def main():
        world = World()
        world.synced.set()
        async with beside(world.arrivals.run()):
            await asyncio.sleep(1)
            world.see(claim("10.0.0.5", "n1", "web", up=False, holder=""))
            world.see(claim("10.0.0.5", "n1", "web"))
            world.see(claim("10.0.0.5", "n1", "web"))
            world.see(claim("fd00::5", "n1", "web"))
            await asyncio.sleep(20)
            assert world.told() == [("web", "10.0.0.5 is on n1, eth0; fd00::5 is on n1, eth0")]
            world.arrivals.on_move(world.claims["10.0.0.5"], "it died")
            world.see(claim("10.0.0.5", "n2", "web", holder="n1"))
            await asyncio.sleep(20)
            assert world.told() == []
            world.see(claim("10.0.0.5", "n2", "web"))
            await asyncio.sleep(20)
            assert world.told() == [("web", "10.0.0.5 is on n2, eth0, and left n1: it died")]
            world.see(claim("10.0.0.5", "n2", "web", up=False, holder=""))
            world.see(claim("10.0.0.5", "n2", "web"))
            await asyncio.sleep(20)
            assert world.told() == [("web", "10.0.0.5 is on n2, eth0")]

    run_virtually(main())


def test_the_reason_of_a_move_that_came_to_nothing_is_forgotten():
    async def main():
        world = World()
        world.synced.set()
        async with beside(world.arrivals.run()):
            await asyncio.sleep(1)
            world.see(claim("10.0.0.5", "n1", "web"))
            await asyncio.sleep(20)
            world.told()
            for node, why in (("n2", "it is being drained"), ("n1", "it died")):
                world.arrivals.on_move(world.claims["10.0.0.5"], why)
                world.see(claim("10.0.0.5", node, "web", holder="n1"))
            await asyncio.sleep(20)
            assert world.told() == []
            world.arrivals.on_move(world.claims["10.0.0.5"], "it has no carrier")
            world.see(claim("10.0.0.5", "n2", "web"))
            await asyncio.sleep(20)
            assert world.told() == [
                ("web", "10.0.0.5 is on n2, eth0, and left n1: it has no carrier")
            ]

    run_virtually(main())


def test_an_ip_that_left_again_or_is_gone_is_not_told():
    async def main():
        world = World()
        world.synced.set()
        async with beside(world.arrivals.run()):
            await asyncio.sleep(1)
            for ip in ("10.0.0.5", "10.0.0.6"):
                world.see(claim(ip, "n1", "web"))
            world.see(claim("10.0.0.5", "n2", "web", holder="n1"))
            world.gone("10.0.0.6")
            await asyncio.sleep(20)
            assert world.told() == []

    run_virtually(main())


def test_what_was_up_before_this_process_led_is_no_news():
    async def main():
        world = World()
        world.see(claim("10.0.0.5", "n1", "web"))
        async with beside(world.arrivals.run()):
            world.see(claim("10.0.0.6", "n1", "web"))
            await asyncio.sleep(20)
            world.synced.set()
            await asyncio.sleep(20)
            assert world.told() == []
        world.see(claim("10.0.0.7", "n1", "web"))
        async with beside(world.arrivals.run()):
            await asyncio.sleep(20)
            world.see(claim("10.0.0.7", "n1", "web"))
            world.see(claim("10.0.0.8", "n1", "web"))
            await asyncio.sleep(20)
            assert world.told() == [("web", "10.0.0.8 is on n1, eth0")]

    run_virtually(main())


def test_when_many_services_are_concerned_each_node_is_told_once():
    async def main():
        world = World()
        world.synced.set()
        async with beside(world.arrivals.run()):
            await asyncio.sleep(1)
            for n in range(MANY + 5):
                world.see(claim(f"10.0.0.{n}", "n2", f"s{n}", holder="n1"))
                world.arrivals.on_move(claim(f"10.0.0.{n}", "n1"), "it died")
            for n in range(MANY + 5):
                await asyncio.sleep(0.5)
                world.see(claim(f"10.0.0.{n}", "n2", f"s{n}"))
            await asyncio.sleep(20)
            (told,) = world.told()
            assert told[0] == "n2"
            assert told[1] == (
                "25 IPs came up here, 25 from n1 (it died): "
                "10.0.0.0, 10.0.0.1, 10.0.0.2 and 22 more"
            )

    run_virtually(main())


def test_ips_that_never_stop_to_arrive_are_told_all_the_same():
    async def main():
        world = World()
        world.synced.set()
        async with beside(world.arrivals.run()):
            await asyncio.sleep(1)
            for n in range(40):
                world.see(claim(f"10.0.0.{n}", "n1", "web"))
                await asyncio.sleep(0.5)
            assert world.told()

    run_virtually(main())
