"""The contract of the segment, on a Linux bridge and on the simulated one.

What a simulation says of who hears whom, and of what clients know, holds on a real segment.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import ExitStack
from ipaddress import ip_address

import pytest

from extip.net.interfaces import IPAddress
from tests.contract.segments import BridgedSegment, Segment, SimulatedSegment, mac_of, own
from tests.lab.wait import until
from tests.netns.namespace import PrivateNamespace

ANSWER_S = 0.3
"""In which an answer comes, and after which none is expected any more."""

IPS = [ip_address("198.51.100.1"), ip_address("2001:db8:1::1")]


@pytest.fixture(params=[pytest.param("linux", marks=pytest.mark.netns), "simulated"])
async def segment(request: pytest.FixtureRequest) -> AsyncIterator[Segment]:
    """One segment of each kind."""
    if request.param == "simulated":
        yield SimulatedSegment()
        return
    with ExitStack() as stack:
        try:
            bridge = stack.enter_context(PrivateNamespace())
        except PermissionError:
            pytest.skip("needs CAP_SYS_ADMIN to make a network namespace")
        yield BridgedSegment(bridge, stack)


async def answered(segment: Segment, who: str, ip: IPAddress) -> bytes:
    """Return the MAC that answers a station's questions; empty when nothing does."""
    segment.answers(who)
    for _ in range(3):
        segment.ask(who, ip)
        await asyncio.sleep(ANSWER_S / 3)
        if found := segment.answers(who):
            assert set(found) == {ip}
            return found[ip]
    return b""


async def learned(segment: Segment, who: str, ip: IPAddress) -> bytes:
    """Have a station use an IP; return where its packets go."""
    segment.use(who, ip)
    await until(lambda: segment.knows(who, ip))
    return segment.knows(who, ip)


@pytest.mark.parametrize("ip", IPS)
async def test_the_kernel_that_has_an_ip_answers_without_any_program(
    segment: Segment, ip: IPAddress
) -> None:
    assert await answered(segment, "a", ip) == b""
    segment.give("b", ip)
    assert await answered(segment, "a", ip) == mac_of("b")
    assert await answered(segment, "c", ip) == mac_of("b")
    segment.take("b", ip)
    assert await answered(segment, "a", ip) == b""


@pytest.mark.parametrize("ip", IPS)
async def test_a_kernel_does_not_hear_what_its_own_node_asks(
    segment: Segment, ip: IPAddress
) -> None:
    segment.give("a", ip)
    assert await answered(segment, "a", ip) == b""
    assert await answered(segment, "b", ip) == mac_of("a")


@pytest.mark.parametrize("version", [4, 6])
async def test_an_interface_that_is_down_answers_nothing(segment: Segment, version: int) -> None:
    assert await answered(segment, "a", own("b", version)) == mac_of("b")
    segment.set_up("b", up=False)
    assert await answered(segment, "a", own("b", version)) == b""


@pytest.mark.parametrize(("sender", "receiver"), [("a", "b"), ("b", "a")])
@pytest.mark.parametrize("version", [4, 6])
async def test_an_answer_needs_both_directions(
    segment: Segment, version: int, sender: str, receiver: str
) -> None:
    segment.block(sender, receiver)
    assert await answered(segment, "a", own("b", version)) == b""
    segment.unblock(sender, receiver)
    assert await answered(segment, "a", own("b", version)) == mac_of("b")


@pytest.mark.parametrize("version", [4, 6])
async def test_two_that_do_not_hear_each_other_are_both_heard_by_a_third(
    segment: Segment, version: int
) -> None:
    segment.block("a", "b")
    segment.block("b", "a")
    assert await answered(segment, "a", own("b", version)) == b""
    assert await answered(segment, "b", own("a", version)) == b""
    for one, other in (("a", "c"), ("c", "a"), ("b", "c"), ("c", "b")):
        assert await answered(segment, one, own(other, version)) == mac_of(other)


@pytest.mark.parametrize("ip", IPS)
async def test_an_announcement_brings_the_packets_of_clients(
    segment: Segment, ip: IPAddress
) -> None:
    segment.give("b", ip)
    assert await learned(segment, "c", ip) == mac_of("b")
    segment.take("b", ip)
    segment.give("a", ip)
    assert segment.knows("c", ip) == mac_of("b"), "nobody has told it"
    segment.announce("a", ip)
    await until(lambda: segment.knows("c", ip) == mac_of("a"))


@pytest.mark.parametrize("ip", IPS)
async def test_an_announcement_that_is_lost_changes_nothing(
    segment: Segment, ip: IPAddress
) -> None:
    segment.give("b", ip)
    assert await learned(segment, "c", ip) == mac_of("b")
    segment.block("a", "c")
    segment.announce("a", ip)
    await asyncio.sleep(ANSWER_S)
    assert segment.knows("c", ip) == mac_of("b")


@pytest.mark.parametrize("ip", IPS)
async def test_two_that_have_an_ip_both_answer(segment: Segment, ip: IPAddress) -> None:
    """So a client may be at either of them, and a question tells of the other one."""
    segment.give("a", ip)
    segment.give("b", ip)
    assert await answered(segment, "a", ip) == mac_of("b")
    assert await answered(segment, "b", ip) == mac_of("a")
    assert await answered(segment, "c", ip) in (mac_of("a"), mac_of("b"))
