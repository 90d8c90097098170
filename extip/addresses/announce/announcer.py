"""Announces addresses to the neighbours: gratuitous ARP, unsolicited neighbour advertisements.

Guarantees: the first frame of an address goes out inside the call that names it, if the pace
allows. First frames have a pace of their own and go before all others: traffic waits for them. One
heap holds all due frames, however many addresses there are.

It does not guarantee delivery. A frame that the kernel refuses (link down, queue full) is counted
and never fatal: the next round, or the returned carrier, repeats it.

The owner task is `Announcer.run`; the other methods may be called from any task of the loop.
"""

import errno
import heapq
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from extip.addresses.announce.policy import announce_at, is_reply, next_round
from extip.addresses.local_addresses import AddressListener
from extip.clock import Clock
from extip.metrics import Metrics
from extip.net import frames
from extip.net.interfaces import IPAddress, Link
from extip.net.packets import FrameSocket
from extip.token_bucket import FIRST_FRAMES_PER_S, TokenBucket
from extip.trigger import Trigger

_REOPEN_S = 5.0
"""Seconds between two attempts to open a socket that failed for want of memory or descriptors."""

_FRAMES_PER_TURN = 64
"""Frames sent before other tasks get their turn: about a millisecond."""


@dataclass(slots=True)
class _Announced:
    """One address and its place in the schedule."""

    ip: IPAddress
    up_at: float
    """When it came up: the delay of its first frame counts from here."""
    started: float
    """When the current burst began."""
    round_number: int = 0
    """The round to send next."""
    said: bool = False
    """A frame has gone out since it came up."""


_STANDSTILL_S = 0.5
"""A timer that is later than this did not wait for the loop: the process stood still."""

_HUSH_S = 0.5
"""Seconds without a due frame after a standstill. Other nodes may have our addresses by then. The
reconciler can look first, and withdraw them."""

_LEAD_S = _STANDSTILL_S + _HUSH_S
"""A long wait for a frame ends so many seconds before the frame is due; a short wait follows. A
standstill that ends just after the frame was due would hardly make one long timer late."""


class Announcer(AddressListener):
    """Sends announcements of the IPs that are up."""

    def __init__(
        self,
        *,
        clock: Clock,
        metrics: Metrics,
        open_socket: Callable[[Link], FrameSocket | None],
    ) -> None:
        self._clock = clock
        self._metrics = metrics
        self._counters = {n: metrics.announcements.labels(family=f"ipv{n}") for n in (4, 6)}
        self._sent = dict.fromkeys(self._counters, 0)  # not in the counters yet: they are slow
        self._first = TokenBucket(rate=FIRST_FRAMES_PER_S)
        self._later = TokenBucket()
        self._link: Link | None = None
        self._open = open_socket
        self._socket: FrameSocket | None = None
        self._announced: dict[IPAddress, _Announced] = {}
        self._due: list[tuple[bool, float, int, _Announced]] = []
        """Later frames come after all first ones."""
        self._pushed = 0
        self._triggered = Trigger()

    def set_link(self, link: Link | None) -> None:
        """Announce on `link` from now on; None while there is no interface.

        Every burst starts anew when the interface is another one, its MAC differs, or its carrier
        is back, however short it was away. Raises `PermissionDeniedError`.
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
            self._triggered.set()  # `run` tries again
        anew = (
            before is None
            or (before.index, before.mac) != (link.index, link.mac)
            or link.was_cut_since(before)
        )
        if not self._can_send():
            self._due.clear()
        elif anew or not could_send:
            self.restart()

    def announce(self, ips: Iterable[IPAddress]) -> None:
        """Start to announce addresses that have just come up; the first frames go out now."""
        now = self._clock.monotonic()
        for number, ip in enumerate(ips):
            entry = _Announced(ip, up_at=now, started=now)
            self._announced[ip] = entry
            if number < _FRAMES_PER_TURN and self._can_send() and self._first.take(now):
                self._send(entry, now)
            self._push(entry)
        self._count()

    def repeat(self, ip: IPAddress) -> None:
        """Announce an IP once more, now, beside its schedule, if the pace allows."""
        if ip in self._announced and self._can_send() and self._later.take(self._clock.monotonic()):
            self._emit(ip, reply=False)
            self._count()

    def withdraw(self, ips: Iterable[IPAddress]) -> None:
        """Stop announcing."""
        for ip in ips:
            self._announced.pop(ip, None)

    def restart(self) -> None:
        """Begin every burst anew: neighbours may have missed the last one, or know an old MAC."""
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
                wait_s = self._send_due()
                if self._lacks_socket():
                    wait_s = _REOPEN_S
                self._count()
                self._triggered.clear()
                began = self._clock.monotonic()
                await self._triggered.wait_at_most(wait_s)
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

    def _send_due(self) -> float | None:
        """Send due frames as the pace allows; return the seconds until the next look, None: never.

        Other tasks have their turn before it, and `run` notices a standstill.
        While frames cannot leave, none is due: the carrier's return starts every burst anew.
        """
        sent = 0
        while self._due and self._can_send():
            now = self._clock.monotonic()
            later, due, _, entry = self._due[0]
            if self._announced.get(entry.ip) is not entry:
                heapq.heappop(self._due)
                continue
            if due > now:
                return _first_part_s(due - now)
            bucket = self._later if later else self._first
            if not bucket.take(now):
                return bucket.wait_s()
            heapq.heappop(self._due)
            self._send(entry, now)
            self._push(entry)
            sent += 1
            if sent == _FRAMES_PER_TURN:
                return 0.0
        return None

    def _can_send(self) -> bool:
        return self._socket is not None and self._link is not None and self._link.carrier

    def _push(self, entry: _Announced) -> None:
        """Schedule the next frame of an entry. While none can leave, `restart` does it later."""
        if not self._can_send():
            return
        self._pushed += 1  # entries due at the same instant stay in their order
        due = announce_at(entry.started, entry.round_number)
        heapq.heappush(self._due, (entry.round_number > 0, due, self._pushed, entry))
        if self._due[0][-1] is entry:
            self._triggered.set()

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

        An interface that was made anew may have the index, name and MAC of the old one, and so look
        the same. The socket that was bound to the old one then fails with ``ENXIO`` for ever. So
        there is a second try with a new socket.
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
        """Add the frames sent to the counters."""
        for version, sent in self._sent.items():
            if sent:
                self._counters[version].inc(sent)
                self._sent[version] = 0

    def _close(self) -> None:
        opened, self._socket = self._socket, None
        if opened is not None:
            opened.close()


def _first_part_s(wait_s: float) -> float:
    """Return the first part, in seconds, of a wait for a frame: all of a short one."""
    # Not just `_LEAD_S`: a timer that is early by a rounding error would make a third part.
    return wait_s if wait_s <= 1.1 * _LEAD_S else wait_s - _LEAD_S
