"""Hears what other stations of the segment say about the IPs that are up here, and asks them.

The kernel drops everything else (see `wire_filter`), so a busy segment costs no wake-up. How many
frames are read is bounded as well: of a storm about the very IPs that are up here the kernel drops
what is beyond `CALM_FRAMES` (or `ALERT_FRAMES`) a second.

Not guaranteed: that every frame is heard. What matters is said again, or asked for.

The owner task is `WireWatch.run`; the other methods may be called from any task of the loop. The
handler is called from the event loop; it must be quick and must not raise.
"""

import asyncio
import socket
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv6Address
from math import inf

from extip import log
from extip.clock import Clock
from extip.metrics import Metrics
from extip.net import bpf, frames
from extip.net.arp_answers import every_node_answers
from extip.net.interfaces import IPAddress, Link
from extip.net.neighbour_events import NeighbourEvent
from extip.net.packets import (
    LARGEST,
    FrameSocket,
    FrameSockets,
    open_packet_socket,
    open_receiver,
)
from extip.net.wire_filter import arp_program, ndp_program
from extip.token_bucket import TokenBucket
from extip.trigger import Trigger

CALM_FRAMES = 200.0
"""Frames read a second while only conflicts are looked for; those that last are heard anyway."""
ALERT_FRAMES = 4000.0
"""The same while each frame may be a successor's: with a thousand IPs, four of each."""

_BYTES_PER_FRAME = 1024
"""Bytes of a receive buffer that a small frame takes, with the kernel's own bookkeeping."""

_FRAMES_PER_TURN = 64
_SETTLE_S = 0.02
"""IPs come up in batches; the programs in the kernel follow at most so often."""

_REST_FOR_EACH_S, _MOST_REST_S = 0.00005, 0.2
"""The same for each IP, up to a bound: this is ten times what the kernel's programs take for it."""

_RETRY_S = 5.0
"""Between two attempts at what the kernel had no sockets or memory for."""

_LOOK_S = 5.0
"""How old knowledge of the kernel's settings may be."""


@dataclass(frozen=True, slots=True)
class _Wanted:
    """The interface and the IPs to listen to."""

    link: Link | None = None
    ips: Collection[IPAddress] = frozenset()
    alert: bool = False

    def as_now(self) -> "_Wanted":
        """Return it with the IPs of now, which do not change any more."""
        return replace(self, ips=frozenset(self.ips))


class WireWatch:
    """The component that listens on one interface."""

    def __init__(
        self,
        handler: Callable[[NeighbourEvent], None],
        *,
        clock: Clock,
        metrics: Metrics,
        open_packets: Callable[[], socket.socket] = open_packet_socket,
        answered_by_all: Callable[[str], bool] = every_node_answers,
    ) -> None:
        self._handler = handler
        self._clock = clock
        self._heard = metrics.foreign_frames
        self._open_packets = open_packets
        self._senders = FrameSockets("wire-watch", open_packets)
        self._answered_by_all = answered_by_all
        self._silent_v4 = False
        self._looked_at = -inf
        self._log = log.get_logger("wire-watch")
        self._wanted = _Wanted()
        self._open = _Wanted()
        self._sockets: dict[int, socket.socket] = {}
        self._reading = False
        self._asking: FrameSocket | None = None
        self._bucket = TokenBucket()
        self._complete = True
        self._said: set[str] = set()
        self._triggered = Trigger()

    def listen(self, link: Link | None, ips: Collection[IPAddress], *, alert: bool) -> None:
        """Listen for these IPs from now on; None, or one without ARP and NDP, for nowhere.

        `alert`: also for stations that ask for them, and with more room for frames. What came in
        before that is forgotten: it was said under other circumstances. `ips` are read soon, once
        for many calls.
        """
        if link is not None and not (link.announces and link.carrier):
            link = None
        self._wanted = _Wanted(link, ips if link is not None else (), alert)
        self._triggered.set()

    def ask(self, ip: IPAddress) -> bool:
        """Ask who else has an IP, without claiming it; return whether the frame went out.

        It does not where the kernel of every node would answer: that tells nothing of a successor.
        """
        link = self._wanted.link
        if link is None or self._asking is None:
            return False
        if isinstance(ip, IPv4Address) and self._is_silent_v4(link):
            return False
        try:
            self._asking.send(frames.probe(ip, link.mac))
        except OSError:  # ENETDOWN, ENOBUFS: the next question is soon
            return False
        return True

    async def run(self) -> None:
        """Listen until cancelled. Raises PermissionDeniedError without CAP_NET_RAW."""
        try:
            while True:
                self._triggered.clear()
                self._follow()
                rest_s = min(len(self._open.ips) * _REST_FOR_EACH_S, _MOST_REST_S)
                again_at = self._clock.monotonic() + rest_s
                if self._complete:
                    self._said.clear()
                await self._triggered.wait_at_most(None if self._complete else _RETRY_S)
                await self._clock.sleep(max(_SETTLE_S, again_at - self._clock.monotonic()))
                if not self._reading:
                    await self._clock.sleep(self._bucket.wait_s())
                    self._resume()
        finally:
            self._close()

    def _follow(self) -> None:
        """Bring the sockets in line with what is wanted."""
        wanted, before = self._wanted.as_now(), self._open
        if wanted == before and self._complete:
            return
        if (wanted.link, wanted.alert) != (before.link, before.alert):
            self._close()
        self._open = wanted
        self._complete = True
        if wanted.link is None:
            return
        self._is_silent_v4(wanted.link)
        if self._asking is None:
            self._asking = self._senders.open(wanted.link)
            self._complete = self._asking is not None
        for version, program in self._programs(wanted.link, wanted).items():
            if not program:
                self._close_one(version)
            elif version not in self._sockets:
                self._open_one(version, wanted.link, program)
            else:
                self._attach_anew(self._sockets[version], wanted.link, program)

    def _is_silent_v4(self, link: Link) -> bool:
        """Return whether there is no use in asking who has an IPv4 address; say so once."""
        now = self._clock.monotonic()
        if now - self._looked_at >= _LOOK_S:
            before, self._silent_v4 = self._silent_v4, self._answered_by_all(link.name)
            self._looked_at = now
            if self._silent_v4 and not before:
                self._log.warning(
                    "every_node_answers_arp",
                    link=link.name,
                    reason="kube-proxy runs in ipvs mode without --ipvs-strict-arp: while the API "
                    "server is away, others are not asked whether they have an IPv4 address",
                )
        return self._silent_v4

    @staticmethod
    def _programs(link: Link, wanted: _Wanted) -> dict[int, bytes]:
        v4 = [ip for ip in wanted.ips if isinstance(ip, IPv4Address)]
        v6 = [ip for ip in wanted.ips if isinstance(ip, IPv6Address)]
        return {
            4: arp_program(v4, own=link.mac, probes=wanted.alert) if v4 else b"",
            6: ndp_program(v6, own=link.mac, probes=wanted.alert) if v6 else b"",
        }

    def _open_one(self, version: int, link: Link, program: bytes) -> None:
        """Open the socket of a family; where that fails it is tried again.

        Raises PermissionDeniedError.
        """
        room = int(self._rate * _BYTES_PER_FRAME)
        try:
            opened = open_receiver(
                link, version, program, room=room, open_packets=self._open_packets
            )
        except OSError as error:  # no memory or descriptor; gone, or renamed, since it was seen
            self._missed("wire_not_watched", link, error)
            return
        if not self._sockets:
            self._bucket = TokenBucket(rate=self._rate, burst=self._rate, tokens=self._rate)
            self._reading = True
        self._sockets[version] = opened
        if self._reading:
            asyncio.get_running_loop().add_reader(opened, self._readable, opened)

    @property
    def _rate(self) -> float:
        return ALERT_FRAMES if self._open.alert else CALM_FRAMES

    def _missed(self, event: str, link: Link, error: OSError) -> None:
        """Have it tried again; say it once, until all is well."""
        self._complete = False
        if event not in self._said:
            self._said.add(event)
            self._log.warning(event, link=link.name, error=str(error))

    def _attach_anew(self, opened: socket.socket, link: Link, program: bytes) -> None:
        try:
            bpf.attach(opened, program)
        except OSError as error:  # out of memory for options; what was there stays, for now
            self._missed("wire_filter_refused", link, error)

    def _readable(self, opened: socket.socket) -> None:
        for _ in range(_FRAMES_PER_TURN):
            if not self._bucket.take(self._clock.monotonic()):
                self._pause()
                return
            try:
                frame = opened.recv(LARGEST)
            except BlockingIOError:
                return
            except OSError:  # ENETDOWN, said once when the interface goes down, or away
                self._look_after(opened)
                return
            event = frames.parse(frame)
            if event is not None and event.ip in self._open.ips:
                self._heard.inc()
                self._handler(event)

    def _look_after(self, opened: socket.socket) -> None:
        """Open all sockets anew when the kernel has taken one off its interface for good.

        The interface may exist again, with the same index, name and MAC. So no other part notices.
        """
        if not opened.getsockname()[0]:
            self._close()
            self._open = _Wanted()
            self._triggered.set()

    def _pause(self) -> None:
        """Leave frames to the kernel, which drops what finds no room."""
        self._reading = False
        loop = asyncio.get_running_loop()
        for opened in self._sockets.values():
            loop.remove_reader(opened)
        self._triggered.set()

    def _resume(self) -> None:
        self._reading = True
        loop = asyncio.get_running_loop()
        for opened in self._sockets.values():
            loop.add_reader(opened, self._readable, opened)

    def _close(self) -> None:
        for version in tuple(self._sockets):
            self._close_one(version)
        asking, self._asking = self._asking, None
        if asking is not None:
            asking.close()

    def _close_one(self, version: int) -> None:
        opened = self._sockets.pop(version, None)
        if opened is not None:
            asyncio.get_running_loop().remove_reader(opened)
            opened.close()
