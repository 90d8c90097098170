"""The conflict watch without a wire: what it does not ask, and when the kernel has no sockets."""

import asyncio
import errno
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from ipaddress import ip_address
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import pytest

from extip.clock import LoopClock
from extip.log import Logger
from extip.metrics import Metrics
from extip.net.arp_answers import every_node_answers
from extip.net.interfaces import IPAddress
from extip.net.wire_watch import WireWatch
from tests.fakes.interfaces import ethernet
from tests.fakes.recorder import RecordingLogger
from tests.fakes.tasks import beside
from tests.fakes.virtual_time import run_virtually

V4, V6 = ip_address("192.0.2.1"), ip_address("2001:db8::1")
LINK = ethernet(index=3)
_SO_ATTACH_FILTER = 26


class Packets:
    """A packet socket on nothing; notes whether it had its filter when it was bound."""

    def __init__(self, kernel: "Kernel") -> None:
        self._kernel = kernel
        self._real, self._peer = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._real.settimeout(0)
        self.filtered = False
        self.bound: tuple[str, int] | None = None
        self.closed = False

    def setsockopt(self, _level: int, option: int, *_: object) -> None:
        if option == _SO_ATTACH_FILTER:
            if self._kernel.refused_filters:
                self._kernel.refused_filters -= 1
                raise OSError(errno.ENOMEM, "no memory")
            self.filtered = True

    def bind(self, address: tuple[str, int]) -> None:
        self.bound = address

    def send(self, frame: bytes) -> int:
        return len(frame)

    def fileno(self) -> int:
        return self._real.fileno()

    def close(self) -> None:
        self.closed = True
        self._real.close()
        self._peer.close()


class Kernel:
    """Opens sockets, or does not."""

    def __init__(self) -> None:
        self.errors: list[int] = []
        """Errno that the next sockets get."""
        self.refused_filters = 0
        self.opened: list[Packets] = []
        self.every_node_answers = False
        self.logger = RecordingLogger()

    def open(self) -> Any:
        if self.errors:
            raise OSError(self.errors.pop(0), "not now")
        self.opened.append(Packets(self))
        return self.opened[-1]

    def listening(self) -> list[Packets]:
        """Return the open sockets that receive."""
        return [s for s in self.opened if not s.closed and s.bound is not None and s.bound[1]]


@asynccontextmanager
async def watching(kernel: Kernel) -> AsyncIterator[WireWatch]:
    watch = WireWatch(
        lambda _: None,
        clock=LoopClock(),
        metrics=Metrics("test"),
        open_packets=kernel.open,
        answered_by_all=lambda _: kernel.every_node_answers,
    )
    async with beside(watch.run()):
        watch._log = watch._senders._log = cast("Logger", kernel.logger)
        watch.listen(LINK, {V4, V6}, alert=True)
        await asyncio.sleep(0.1)
        yield watch


def test_where_every_kernel_answers_nobody_is_asked_for_ipv4() -> None:
    async def scenario() -> None:
        kernel = Kernel()
        async with watching(kernel) as watch:
            assert watch.ask(V4)
            await asyncio.sleep(10)
            kernel.every_node_answers = True
            assert not watch.ask(V4)
            assert watch.ask(V6)
            assert len(kernel.listening()) == 2, "announcements are heard all the same"
            await asyncio.sleep(10)
            kernel.every_node_answers = False
            assert watch.ask(V4)

    run_virtually(scenario())


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"all": "0", "eth0": "0", "kube-ipvs0": "0"}, True),
        ({"all": "1", "eth0": "0", "kube-ipvs0": "0"}, False),
        ({"all": "0", "eth0": "2", "kube-ipvs0": "0"}, False),
        ({"all": "0", "eth0": "0"}, False),
        ({"all": "0", "kube-ipvs0": "0"}, False),
    ],
)
def test_strict_arp_is_read_from_the_kernel(
    tmp_path: Path, values: dict[str, str], *, expected: bool
) -> None:
    for name, value in values.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "arp_ignore").write_text(f"{value}\n")
    assert every_node_answers("eth0", tmp_path) is expected


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAFNOSUPPORT])
def test_without_sockets_it_goes_on_and_tries_again(number: int) -> None:
    async def scenario() -> None:
        kernel = Kernel()
        kernel.errors = [number] * 7  # three sockets, twice, and one more
        async with watching(kernel) as watch:
            assert kernel.opened == []
            assert not watch.ask(V4)
            await asyncio.sleep(30)
            assert kernel.errors == []
            assert len(kernel.listening()) == 2
            assert watch.ask(V4)
            opened = len(kernel.opened)
            await asyncio.sleep(60)
            assert len(kernel.opened) == opened
            # Each is said once, and again when it worked in between.
            said = ["socket_not_opened", "wire_not_watched"]
            assert kernel.logger.events() == said
            kernel.errors = [number] * 9
            watch.listen(LINK, {V4, V6}, alert=False)
            await asyncio.sleep(30)
            assert kernel.logger.events() == said * 2

    run_virtually(scenario())


def test_no_socket_listens_without_its_filter() -> None:
    async def scenario() -> None:
        kernel = Kernel()
        kernel.refused_filters = 2
        async with watching(kernel):
            assert kernel.listening() == []
            await asyncio.sleep(10)
            assert len(kernel.listening()) == 2
            assert all(s.filtered for s in kernel.opened if s.bound and s.bound[1])

    run_virtually(scenario())


def test_a_filter_that_is_refused_later_is_tried_again() -> None:
    async def scenario() -> None:
        kernel = Kernel()
        async with watching(kernel) as watch:
            listening = kernel.listening()
            for opened in listening:
                opened.filtered = False
            kernel.refused_filters = 4
            watch.listen(LINK, {V4, V6, V4 + 1, V6 + 1}, alert=True)
            await asyncio.sleep(6)
            assert not any(s.filtered for s in listening)
            assert kernel.logger.events() == ["wire_filter_refused"]
            await asyncio.sleep(10)
            assert kernel.listening() == listening
            assert all(s.filtered for s in listening)

    run_virtually(scenario())


def test_ips_that_come_up_one_after_the_other_are_read_together() -> None:
    """With thousands of them each reading takes milliseconds."""
    readings = 0

    class Counted(dict[IPAddress, None]):
        def __iter__(self) -> Iterator[IPAddress]:
            nonlocal readings
            readings += 1
            return super().__iter__()

    async def scenario() -> None:
        kernel = Kernel()
        up = Counted()
        async with watching(kernel) as watch:
            for number in range(100):
                up[V4 + number] = None
                watch.listen(LINK, up, alert=False)
            assert readings == 0
            await asyncio.sleep(0.1)
            assert readings == 1
            assert watch._open.ips == set(up)

    run_virtually(scenario())


def test_thousands_of_ips_are_followed_seldom_and_a_change_after_a_rest_at_once() -> None:
    """The processor is for the addresses that come up meanwhile."""
    readings: list[float] = []

    class Watched(dict[IPAddress, None]):
        def __iter__(self) -> Iterator[IPAddress]:
            readings.append(asyncio.get_running_loop().time())
            return super().__iter__()

    async def scenario() -> None:
        kernel = Kernel()
        up = Watched.fromkeys(V4 + number for number in range(3000))
        async with watching(kernel) as watch:
            for number in range(50):
                up[V4 + 3000 + number] = None
                watch.listen(LINK, up, alert=False)
                await asyncio.sleep(0.01)
            await asyncio.sleep(1)
            assert len(readings) > 3
            assert min(b - a for a, b in pairwise(readings)) >= 0.15
            readings.clear()
            changed_at = asyncio.get_running_loop().time()
            watch.listen(LINK, up, alert=True)
            await asyncio.sleep(0.1)
            assert readings[0] - changed_at < 0.025

    run_virtually(scenario())
