"""Tells the neighbours which addresses are here: gratuitous ARP and unsolicited advertisements.

The first frame of an address goes out inside the very call that names it, so nothing waits for a
task to be scheduled; repetitions come from `Announcer.run`. One heap holds what is due, however
many addresses there are, and one token bucket paces all frames.

Frames that the kernel refuses (link down, queue full) are counted and never fatal: the next round
or the returning carrier repeats them.
"""

import asyncio
import contextlib
import errno
import heapq
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from extip.clock import Clock
from extip.metrics import Metrics
from extip.net import frames
from extip.net.packets import FrameSocket, FrameSockets
from extip.plan.announcement import TokenBucket, announce_at, is_reply, next_round
from extip.plan.link import IPAddress, Link

_REOPEN_S = 5.0
"""Between two attempts to open a socket, when there were too many of them, or no memory."""

_FRAMES_PER_TURN = 64
"""Frames sent before other tasks get their turn: about a millisecond."""


@dataclass(slots=True)
class _Announced:
    """One address and where it is in its schedule."""

    ip: IPAddress
    up_at: float
    """When it came up: its first frame's delay counts from here."""
    started: float
    """When the current burst began."""
    round_number: int = 0
    """The round to send next."""
    said: bool = False
    """A frame has gone out since it came up."""


_STANDSTILL_S = 1.0
"""A timer that is late by more than this did not wait for the loop: the process stood still."""

_HUSH_S = 0.5
"""After a standstill others may have our addresses. This long nothing that was due goes out, so
that whoever decides can look first and withdraw them."""


class Announcer:
    """The component that announces; the other methods may be called from any task of the loop."""

    def __init__(
        self,
        *,
        clock: Clock,
        metrics: Metrics,
        open_socket: Callable[[Link], FrameSocket | None] | None = None,
    ) -> None:
        self._clock = clock
        self._metrics = metrics
        self._counters = {n: metrics.announcements.labels(family=f"ipv{n}") for n in (4, 6)}
        self._sent = dict.fromkeys(self._counters, 0)  # not in the counters yet: they are slow
        self._bucket = TokenBucket()
        self._link: Link | None = None
        self._open = open_socket or FrameSockets("announcer").open
        self._socket: FrameSocket | None = None
        self._announced: dict[IPAddress, _Announced] = {}
        self._due: list[tuple[float, int, _Announced]] = []
        self._pushed = 0
        self._woken = asyncio.Event()

    def set_link(self, link: Link | None) -> None:
        """Announce on `link` from now on; None while there is no interface.

        Every burst starts anew when the interface is another one, its MAC differs, or its carrier
        is back. Raises `PermissionDeniedError`.
        """
        could_send = self._can_send()
        before, self._link = self._link, link
        if link is None or not link.announces:
            self._close()
            self._due.clear()
            return
        if before is None or (before.index, before.name) != (link.index, link.name):
            self._close()
        if self._socket is None:
            self._socket = self._open(link)
        if self._socket is None:
            self._woken.set()  # `run` tries again
        anew = before is None or (before.index, before.mac) != (link.index, link.mac)
        if not self._can_send():
            self._due.clear()
        elif anew or not could_send:
            self.restart()

    def announce(self, ips: Iterable[IPAddress]) -> None:
        """Start announcing addresses that have just come up; the first frames go out now."""
        now = self._clock.monotonic()
        for number, ip in enumerate(ips):
            entry = _Announced(ip, up_at=now, started=now)
            self._announced[ip] = entry
            if number < _FRAMES_PER_TURN and self._can_send() and self._bucket.take(now):
                self._send(entry, now)
            self._push(entry)
        self._count()

    def repeat(self, ip: IPAddress) -> None:
        """Announce an IP once more, now, beside its schedule; as the pace of all allows."""
        if (
            ip in self._announced
            and self._can_send()
            and self._bucket.take(self._clock.monotonic())
        ):
            self._emit(ip, reply=False)
            self._count()

    def withdraw(self, ips: Iterable[IPAddress]) -> None:
        """Stop announcing."""
        for ip in ips:
            self._announced.pop(ip, None)

    def restart(self) -> None:
        """Begin every burst anew: neighbours may have missed, or must unlearn, what was said."""
        now = self._clock.monotonic()
        self._due.clear()
        for ip, entry in self._announced.items():
            self._announced[ip] = renewed = _Announced(
                ip, up_at=entry.up_at, started=now, said=entry.said
            )
            self._push(renewed)

    async def run(self) -> None:
        """Send what is due, until cancelled; then close the socket."""
        try:
            while True:
                self._reopen()
                wait_s = await self._send_due()
                if self._lacks_socket():
                    wait_s = _REOPEN_S
                self._count()
                self._woken.clear()
                began = self._clock.monotonic()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(wait_s):
                        await self._woken.wait()
                waited_s = self._clock.monotonic() - began
                if wait_s is not None and waited_s - wait_s > _STANDSTILL_S:
                    await self._clock.sleep(_HUSH_S)
        finally:
            self._close()

    def _lacks_socket(self) -> bool:
        link = self._link
        return self._socket is None and link is not None and link.announces and link.carrier

    def _reopen(self) -> None:
        """Open the socket that could not be opened before."""
        if self._link is not None and self._lacks_socket():
            self._socket = self._open(self._link)
            if self._socket is not None:
                self.restart()

    async def _send_due(self) -> float | None:
        """Send all that is due and may go out; return the seconds until the next, None for never.

        While frames cannot leave, nothing is due: the carrier's return starts every burst anew.
        """
        sent = 0
        while self._due and self._can_send():
            now = self._clock.monotonic()
            due, _, entry = self._due[0]
            if self._announced.get(entry.ip) is not entry:
                heapq.heappop(self._due)
                continue
            if due > now:
                return due - now
            if not self._bucket.take(now):
                return self._bucket.wait_s()
            heapq.heappop(self._due)
            self._send(entry, now)
            self._push(entry)
            sent += 1
            if sent % _FRAMES_PER_TURN == 0:
                await self._clock.sleep(0)
        return None

    def _can_send(self) -> bool:
        return self._socket is not None and self._link is not None and self._link.carrier

    def _push(self, entry: _Announced) -> None:
        """Have the entry's next frame sent; when none can leave, `restart` is what brings it."""
        if not self._can_send():
            return
        self._pushed += 1  # entries due at the same instant stay in their order
        due = announce_at(entry.started, entry.round_number)
        heapq.heappush(self._due, (due, self._pushed, entry))
        if self._due[0][2] is entry:
            self._woken.set()

    def _send(self, entry: _Announced, now: float) -> None:
        """Send one frame and move the entry on to its next round."""
        sent = self._emit(entry.ip, reply=is_reply(entry.round_number))
        entry.round_number = next_round(entry.started, entry.round_number, now)
        if sent and not entry.said:
            entry.said = True
            self._metrics.announce_delay.observe(now - entry.up_at)

    def _emit(self, ip: IPAddress, *, reply: bool) -> bool:
        if self._socket is None or self._link is None:
            return False
        frame = frames.announcement(ip, self._link.mac, reply=reply)
        try:
            self._transmit(frame, self._link)
        except OSError:  # ENETDOWN, ENXIO, ENOBUFS, EAGAIN: the next round repeats it
            self._metrics.announcement_failures.inc()
            return False
        self._sent[ip.version] += 1
        return True

    def _transmit(self, frame: bytes, link: Link) -> None:
        """Hand a frame to the kernel. Raises OSError.

        An interface that was made anew, or that was in another namespace for a while, may have the
        index, name and MAC of before and be taken for the same; only the socket that was bound to
        the old one knows better, and says ``ENXIO`` for ever. So there is a second try with a new
        one.
        """
        try:
            if self._socket is not None:
                self._socket.send(frame)
                return
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
        self._close()
        self._socket = self._open(link)
        if self._socket is None:
            raise OSError(errno.ENXIO, "the interface is gone")
        self._socket.send(frame)

    def _count(self) -> None:
        """Bring the counters up to date with what was sent."""
        for version, sent in self._sent.items():
            if sent:
                self._counters[version].inc(sent)
                self._sent[version] = 0

    def _close(self) -> None:
        opened, self._socket = self._socket, None
        if opened is not None:
            opened.close()
