"""The announcer on virtual time, with a socket that records."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import replace
from ipaddress import ip_address

import pytest

from extip.addresses.announce.announcer import Announcer
from extip.clock import LoopClock
from extip.metrics import Metrics
from extip.net import frames
from extip.net.interfaces import IPAddress, Link
from tests.fakes.interfaces import ethernet
from tests.fakes.virtual_time import jump, run_virtually

V4, V6 = ip_address("192.0.2.1"), ip_address("2001:db8::1")
LINK = ethernet(index=3)


class Wire:
    """Every frame that left, and when."""

    def __init__(self) -> None:
        self.sent: list[tuple[float, IPAddress, bytes]] = []
        self.opened: list[Link] = []
        self.closed = 0
        self.broken = False
        self.gone = False

    def open(self, link: Link) -> "Wire | None":
        if self.gone:
            return None
        self.opened.append(link)
        return self

    def send(self, frame: bytes, /) -> int:
        if self.broken:
            raise OSError(100, "Network is down")
        seen = frames.parse(frame)
        assert seen is not None
        now = round(asyncio.get_running_loop().time(), 3)
        self.sent.append((now, seen.ip, seen.mac))
        return len(frame)

    def close(self) -> None:
        self.closed += 1

    def times(self, ip: IPAddress) -> list[float]:
        return [now for now, sent, _ in self.sent if sent == ip]


def scenario(act: Callable[[Announcer, Wire, Metrics], Awaitable[None]]) -> Wire:
    """Run an announcer with `act` beside it, on virtual time."""
    wire, metrics = Wire(), Metrics("test")

    async def main() -> None:
        announcer = Announcer(clock=LoopClock(), metrics=metrics, open_socket=wire.open)
        running = asyncio.create_task(announcer.run())
        await asyncio.sleep(0)
        await act(announcer, wire, metrics)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert wire.closed == len(wire.opened)

    run_virtually(main())
    return wire


def test_first_frames_go_out_inside_the_call() -> None:
    async def act(announcer: Announcer, wire: Wire, _: Metrics) -> None:
        announcer.set_link(LINK)
        announcer.announce([V4, V6])
        assert [ip for _, ip, _ in wire.sent] == [V4, V6]

    scenario(act)


def test_the_schedule_is_kept_and_goes_on_slowly() -> None:
    async def act(announcer: Announcer, _: Wire, __: Metrics) -> None:
        announcer.set_link(LINK)
        announcer.announce([V4])
        await asyncio.sleep(0.5)
        announcer.announce([V6])
        await asyncio.sleep(150)

    wire = scenario(act)
    assert wire.times(V4) == [0, 0.1, 1, 2, 62, 122]
    assert wire.times(V6) == [0.5, 0.6, 1.5, 2.5, 62.5, 122.5]


def test_withdrawn_addresses_fall_silent_and_may_come_back() -> None:
    async def act(announcer: Announcer, _: Wire, __: Metrics) -> None:
        announcer.set_link(LINK)
        announcer.announce([V4, V6])
        await asyncio.sleep(0.5)
        announcer.withdraw([V4, ip_address("192.0.2.99")])
        await asyncio.sleep(9.5)
        announcer.announce([V4])
        await asyncio.sleep(5)

    wire = scenario(act)
    assert wire.times(V4) == [0, 0.1, 10, 10.1, 11, 12]
    assert wire.times(V6) == [0, 0.1, 1, 2]


@pytest.mark.parametrize(
    ("begins_s", "lasts_s"),
    [(0.5, 10), (53, 9.1), (53, 8.7), (53, 8.3), (61.4, 1.7)],
    ids=["long-overdue", "just-overdue", "not-due", "not-late", "due-when-it-began"],
)
def test_after_a_standstill_what_was_due_waits_for_a_look(begins_s: float, lasts_s: float) -> None:
    """A process that was frozen must not speak for addresses that others have by now."""
    ends_s = begins_s + lasts_s

    async def act(announcer: Announcer, _: Wire, __: Metrics) -> None:
        announcer.set_link(LINK)
        announcer.announce([V4, V6])
        await asyncio.sleep(begins_s)
        jump(lasts_s)
        await asyncio.sleep(0.1)
        announcer.withdraw([V4])
        await asyncio.sleep(5)

    wire = scenario(act)
    assert wire.times(V4) == [t for t in (0, 0.1, 1, 2) if t < begins_s]
    later = [t for t in wire.times(V6) if t > begins_s]
    assert later
    assert ends_s + 0.5 <= min(later) <= ends_s + 0.8


def test_a_standstill_between_two_turns_stops_what_is_left() -> None:
    ips = [ip_address(0x0A000000 + n) for n in range(300)]

    async def act(announcer: Announcer, wire: Wire, _: Metrics) -> None:
        announcer.set_link(LINK)
        announcer.announce(ips)
        at_once = len(wire.sent)
        for _turn in range(3):
            await asyncio.sleep(0)
        sent = len(wire.sent)
        assert at_once < sent < len(ips)
        jump(10)
        await asyncio.sleep(0.1)
        assert len(wire.sent) == sent
        await asyncio.sleep(1)
        assert {ip for _, ip, _ in wire.sent} == set(ips)

    scenario(act)


def test_nothing_is_announced_where_nobody_resolves() -> None:
    async def act(announcer: Announcer, _: Wire, __: Metrics) -> None:
        announcer.set_link(replace(LINK, name="lo", announces=False))
        announcer.announce([V4, V6])
        await asyncio.sleep(100)

    wire = scenario(act)
    assert (wire.sent, wire.opened) == ([], [])


def test_without_carrier_the_burst_waits_for_it() -> None:
    async def act(announcer: Announcer, _: Wire, __: Metrics) -> None:
        announcer.set_link(replace(LINK, carrier=False))
        announcer.announce([V4])
        await asyncio.sleep(5)
        announcer.set_link(LINK)
        await asyncio.sleep(5)

    assert scenario(act).times(V4) == [5, 5.1, 6, 7]


@pytest.mark.parametrize("there", [False, True])
@pytest.mark.parametrize(
    "link",
    [None, replace(LINK, carrier=False), replace(LINK, name="lo", announces=False)],
    ids=["gone", "no-carrier", "loopback"],
)
def test_what_cannot_be_announced_leaves_nothing_behind(link: Link | None, *, there: bool) -> None:
    """However often addresses come and go meanwhile; the last of them is announced later."""
    ips = [ip_address(0x0A000000 + n) for n in range(100)]

    async def act(announcer: Announcer, _: Wire, __: Metrics) -> None:
        if there:
            announcer.set_link(LINK)
            announcer.announce(ips)
        announcer.set_link(link)
        for _turn in range(10):
            announcer.announce(ips)
            announcer.withdraw(ips)
        announcer.announce([V4])
        await asyncio.sleep(5)
        assert announcer._due == []
        announcer.set_link(LINK)
        await asyncio.sleep(5)
        assert len(announcer._due) == 1

    assert scenario(act).times(V4) == [5, 5.1, 6, 7]


def test_an_interface_that_was_gone_when_the_socket_was_opened_is_tried_again() -> None:
    async def act(announcer: Announcer, wire: Wire, _: Metrics) -> None:
        wire.gone = True
        announcer.set_link(LINK)
        announcer.announce([V4])
        await asyncio.sleep(5)
        wire.gone = False
        announcer.set_link(LINK)
        await asyncio.sleep(5)

    assert scenario(act).times(V4) == [5, 5.1, 6, 7]


def test_the_burst_starts_again_when_the_carrier_returns() -> None:
    async def act(announcer: Announcer, _: Wire, __: Metrics) -> None:
        announcer.set_link(LINK)
        announcer.announce([V4])
        await asyncio.sleep(10)
        announcer.set_link(replace(LINK, carrier=False))
        await asyncio.sleep(10)
        announcer.set_link(LINK)
        await asyncio.sleep(10)

    assert scenario(act).times(V4) == [0, 0.1, 1, 2, 20, 20.1, 21, 22]


def test_the_burst_starts_again_when_the_carrier_was_away_between_two_looks() -> None:
    async def act(announcer: Announcer, _: Wire, __: Metrics) -> None:
        announcer.set_link(LINK)
        announcer.announce([V4])
        await asyncio.sleep(10)
        announcer.set_link(replace(LINK, carrier_losses=1))
        await asyncio.sleep(10)
        announcer.set_link(replace(LINK, carrier_losses=1, mtu=9000))
        await asyncio.sleep(10)

    assert scenario(act).times(V4) == [0, 0.1, 1, 2, 10, 10.1, 11, 12]


def test_a_new_mac_is_announced_at_once() -> None:
    mac = bytes.fromhex("0200000000ff")

    async def act(announcer: Announcer, _: Wire, __: Metrics) -> None:
        announcer.set_link(LINK)
        announcer.announce([V4])
        await asyncio.sleep(10)
        announcer.set_link(replace(LINK, mac=mac))
        await asyncio.sleep(0.05)

    wire = scenario(act)
    assert wire.sent[-1] == (10, V4, mac)
    assert len(wire.opened) == 1


def test_a_change_that_neighbours_do_not_see_repeats_nothing() -> None:
    async def act(announcer: Announcer, _: Wire, __: Metrics) -> None:
        announcer.set_link(LINK)
        announcer.announce([V4])
        await asyncio.sleep(10)
        announcer.set_link(replace(LINK, mtu=9000, promotes_secondaries=True))
        await asyncio.sleep(10)

    assert scenario(act).times(V4) == [0, 0.1, 1, 2]


def test_another_interface_gets_a_socket_of_its_own() -> None:
    other = replace(LINK, index=9)

    async def act(announcer: Announcer, _: Wire, __: Metrics) -> None:
        announcer.set_link(LINK)
        announcer.announce([V4])
        await asyncio.sleep(5)
        announcer.set_link(None)
        await asyncio.sleep(200)
        announcer.set_link(other)
        await asyncio.sleep(5)

    wire = scenario(act)
    assert wire.opened == [LINK, other]
    assert wire.times(V4) == [0, 0.1, 1, 2, 205, 205.1, 206, 207]


def test_frames_that_the_kernel_refuses_are_counted_and_repeated() -> None:
    async def act(announcer: Announcer, wire: Wire, metrics: Metrics) -> None:
        announcer.set_link(LINK)
        wire.broken = True
        announcer.announce([V4])
        await asyncio.sleep(0.5)
        assert metrics.registry.get_sample_value("extip_announcement_failures_total") == 2
        wire.broken = False
        await asyncio.sleep(5)
        delay = metrics.registry.get_sample_value("extip_announce_delay_seconds_sum")
        assert delay == pytest.approx(1.0)
        count = metrics.registry.get_sample_value("extip_announcements_total", {"family": "ipv4"})
        assert count == 2

    assert scenario(act).times(V4) == [1, 2]


def test_many_addresses_are_paced_and_each_gets_its_first_frame_soon() -> None:
    ips = [ip_address(0x0A000000 + n) for n in range(5000)]

    async def act(announcer: Announcer, _: Wire, __: Metrics) -> None:
        announcer.set_link(LINK)
        for start in range(0, len(ips), 64):
            announcer.announce(ips[start : start + 64])
        await asyncio.sleep(300)

    wire = scenario(act)
    first: dict[IPAddress, float] = {}
    for now, ip, _ in wire.sent:
        first.setdefault(ip, now)
    assert len(first) == 5000
    assert 0.38 < max(first.values()) < 0.45  # a burst of 1,000, and 10,000 a second
    later = [now for now, ip, _ in wire.sent if now > first[ip]]
    assert min(later) >= max(first.values()) - 0.001  # no repetition is sent before
    for count in Counter(map(int, later)).values():
        assert count <= 3020  # a burst of 1,000 after a quiet time, and 2,000 a second
    assert len([now for now in later if now < 10]) <= 1020 + 2000 * 10
    per_address = Counter(ip for _, ip, _ in wire.sent)
    assert min(per_address.values()) >= 5


def test_a_thousand_addresses_go_out_at_once() -> None:
    ips = [ip_address(0x0A000000 + n) for n in range(1000)]

    async def act(announcer: Announcer, _: Wire, __: Metrics) -> None:
        announcer.set_link(LINK)
        announcer.announce(ips)
        await asyncio.sleep(0.05)

    wire = scenario(act)
    assert [ip for now, ip, _ in wire.sent] == ips
    assert {now for now, _, _ in wire.sent} == {0}


def test_idle_announcer_sleeps() -> None:
    """A minute with a hundred addresses at rest is a hundred frames, and hardly a wake-up more."""
    ips = [ip_address(0x0A000000 + n) for n in range(100)]
    turns = 0

    class CountingClock(LoopClock):
        def monotonic(self) -> float:
            nonlocal turns
            turns += 1
            return super().monotonic()

    async def main() -> None:
        nonlocal turns
        wire = Wire()
        announcer = Announcer(clock=CountingClock(), metrics=Metrics("test"), open_socket=wire.open)
        running = asyncio.create_task(announcer.run())
        announcer.set_link(LINK)
        announcer.announce(ips)
        await asyncio.sleep(10)
        turns = 0
        await asyncio.sleep(60)
        running.cancel()

    run_virtually(main())
    assert 100 <= turns <= 210


def test_a_repetition_is_one_frame_beside_the_schedule() -> None:
    async def act(announcer: Announcer, _: Wire, __: Metrics) -> None:
        announcer.set_link(LINK)
        announcer.announce([V4])
        await asyncio.sleep(10)
        announcer.repeat(V4)
        announcer.repeat(V6)  # not up
        await asyncio.sleep(60)

    wire = scenario(act)
    assert wire.times(V4) == [0, 0.1, 1, 2, 10, 62]
    assert wire.times(V6) == []


def test_a_socket_that_could_not_be_opened_is_opened_later() -> None:
    """EMFILE, ENOMEM: nothing of the interface changes, and nobody calls again."""

    async def scenario() -> None:
        wire = Wire()
        wire.gone = True
        announcer = Announcer(clock=LoopClock(), metrics=Metrics("test"), open_socket=wire.open)
        task = asyncio.ensure_future(announcer.run())
        await asyncio.sleep(1)
        announcer.set_link(LINK)
        announcer.announce([V4])
        await asyncio.sleep(20)
        assert wire.sent == []
        wire.gone = False
        await asyncio.sleep(10)
        assert wire.sent
        task.cancel()
        await asyncio.wait([task])

    run_virtually(scenario())
