"""Two clusters on one segment both have an IP: one of them is left with it; virtual time."""

import asyncio
from contextlib import AsyncExitStack
from dataclasses import replace

import pytest

from extip.addresses.conflict.policy.defence import DEFEND_INTERVAL_S
from extip.addresses.conflict.policy.trial import TRIAL_S
from extip.addresses.stations import Rivals
from extip.net.neighbour_events import FrameKind, NeighbourEvent
from tests.fakes.virtual_time import run_virtually
from tests.unit.addresses.conflict.test_watch import GRACE_S, IP, IP6, OTHER, Node

LOW, HIGH = b"\x02\x00\x00\x00\x00\x0a", b"\x02\x00\x00\x00\x00\x0b"
WITHIN_S = 6.0


class Rival(Node):
    """A node of a cluster that shares the segment with another one."""

    def __init__(self, mac, *, cluster_macs=()):
        super().__init__(mac, grace_s=GRACE_S, rivals=Rivals(self.cluster_macs, self.cease))
        self.known = frozenset(cluster_macs)
        self.ceased = {}

    def cluster_macs(self):
        return self.known

    def cease(self, ips):
        self.ceased.update(ips)
        asyncio.get_running_loop().call_later(0.003, self.withdraw, list(ips))

    def announce(self, ips):
        super().announce(ips)
        for delay_s in (0.0, 0.1, 1.0, 2.0):
            for ip in ips:
                asyncio.get_running_loop().call_later(delay_s, self.say, ip)

    def repeat(self, ip):
        super().repeat(ip)
        self.say(ip)

    def say(self, ip):
        if ip in self.announced:
            for node in self.segment:
                if node is not self:
                    node.watch.on_neighbour_event(
                        NeighbourEvent(ip, self.link.mac, FrameKind.ANNOUNCEMENT)
                    )


@pytest.mark.parametrize("later_s", [0.0, 0.02, 0.4, 1.0, 2.4, 2.9, 3.3, 8.0, 30.0])
@pytest.mark.parametrize("first", [LOW, HIGH])
def test_of_two_clusters_that_take_an_ip_over_one_goes_on_and_both_say_so(first, later_s):
    second = HIGH if first == LOW else LOW

    async def main():
        nodes = [Rival(first), Rival(second)]
        for node in nodes:
            node.segment = [*nodes]
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(nodes[0].running(IP))
            await asyncio.sleep(max(0.0, later_s - 0.1))
            await stack.enter_async_context(nodes[1].running(IP))
            await asyncio.sleep(WITHIN_S)
            stays = [node for node in nodes if IP in node.announced]
            assert len(stays) == 1
            goes = next(node for node in nodes if node is not stays[0])
            if later_s > TRIAL_S:
                assert stays == nodes[:1], "it was there first"
            assert goes.ceased == {
                IP: NeighbourEvent(IP, stays[0].link.mac, FrameKind.ANNOUNCEMENT)
            }
            assert goes.reported == []
            assert [began for _, began in stays[0].reported] == [{IP}]
            assert stays[0].defended() == 1
            assert goes.defended("ceased") == 1
            assert not goes.yielded_ips
            assert not stays[0].ceased

    run_virtually(main())


def test_one_that_is_past_its_trial_stays_under_any_storm():
    async def main():
        node = Rival(HIGH)
        async with node.running(IP):
            await asyncio.sleep(TRIAL_S + 1)
            count = len(node.asked)
            for number in range(2000):
                node.hear(mac=b"\x02" + (number % 5).to_bytes(5, "big"))
                await asyncio.sleep(0.01)
            assert not node.ceased
            assert not node.yielded_ips
            assert IP in node.announced
            assert len(node.asked) == count
            assert len(node.repeated) <= 20 / DEFEND_INTERVAL_S + 1

    run_virtually(main())


def test_an_ip_on_trial_that_was_moved_while_there_was_no_carrier_is_asked_for():
    async def main():
        node = Rival(HIGH, cluster_macs=[LOW])
        async with node.running(IP):
            node.set_link(replace(node.link, carrier=False))
            await asyncio.sleep(0.5)
            node.set_link(replace(node.link, carrier=True))
            node.hear(mac=LOW)
            await asyncio.sleep(1)
            assert node.requests == 1

    run_virtually(main())


def test_the_former_holder_of_the_same_cluster_is_no_rival():
    """It hangs, and its kernel answers until the addresses run out."""

    async def main():
        node, former = Rival(HIGH, cluster_macs=[LOW]), Rival(LOW)
        node.segment = [node, former]
        former.announced = {IP}
        async with node.running(IP):
            await asyncio.sleep(WITHIN_S)
            assert not node.ceased
            assert node.reported == []
            assert len(node.asked) >= 3
            count = len(node.asked)
            await asyncio.sleep(30)
            assert len(node.asked) == count, "its trial is over"

    run_virtually(main())


def test_what_was_up_before_this_process_is_not_tried():
    async def main():
        node = Rival(HIGH)
        async with node.running():
            await asyncio.sleep(2 * TRIAL_S)
            node.asked.clear()
            node.watch.hold([IP + 7])
            node.announce([IP + 7])
            node.hear(IP + 7, mac=OTHER)
            await asyncio.sleep(TRIAL_S)
            assert not node.asked
            assert not node.ceased

    run_virtually(main())


@pytest.mark.parametrize("ip", [IP, IP6])
def test_clients_that_a_former_holder_draws_to_itself_are_fetched_back(ip):
    """The kernel of a frozen controller answers an IPv6 question to all, and clients believe it."""

    async def main():
        node, former = Rival(HIGH, cluster_macs=[LOW]), Rival(LOW)
        former.announced.add(ip)  # its kernel has the IP, and nothing else of it runs
        node.segment = [node, former]
        async with node.running(ip):
            await asyncio.sleep(TRIAL_S + 1)
            questions = [at for at, _ in node.asked if at > 1]  # its cluster is known by then
            fetched = [at for at, _ in node.repeated if at > 1]
            assert len(questions) >= 2
            assert len(fetched) == (len(questions) if ip.version == 6 else 0)
            assert all(0 < f - q < 0.2 for q, f in zip(questions, fetched, strict=False))
        assert not node.ceased

    run_virtually(main())
