"""An Ethernet segment in memory: stations with addresses, and the wires that they listen on."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from typing import Protocol

from extip.net import frames
from extip.net.interfaces import IPAddress, Link
from extip.net.neighbour_events import FrameKind, NeighbourEvent, Question


class Listener(Protocol):
    """Hears what is said on the segment."""

    @property
    def station(self) -> bytes:
        """The MAC that it listens behind; none while it listens nowhere."""

    @property
    def context(self) -> Context:
        """Of the process that it belongs to."""

    def hear(self, event: NeighbourEvent) -> None:
        """Take what a station says; from anybody, itself included."""


class FakeSegment:
    """Stations that have addresses and answer for them at once, and wires that listen."""

    def __init__(self) -> None:
        self.holders: dict[IPAddress, bytes] = {}
        """Addresses of stations that run no extip."""
        self.probes: list[IPAddress] = []
        """Every probe that was sent."""
        self.answering: list[Callable[[IPAddress], bytes | None]] = []
        """Others who may answer, with their MAC."""
        self.announced: list[NeighbourEvent] = []
        """Every announcement that was sent as a frame."""
        self.listeners: list[Listener] = []
        """All that are open now."""

    def say(self, event: NeighbourEvent, *, to: bytes = b"") -> None:
        """Have everybody who listens hear it, or one station alone."""
        for listener in tuple(self.listeners):
            if not to or listener.station == to:
                self.carry(event, listener)

    def carry(self, event: NeighbourEvent, listener: Listener) -> None:
        """Bring a frame to one who listens: here at once, and always."""
        listener.hear(event)

    def transmit(self, frame: bytes) -> None:
        """Have everybody hear a frame."""
        event = frames.parse(frame)
        if event is not None:
            self.announced.append(event)
            self.say(event)

    def probe(self, ip: IPAddress, mac: bytes) -> None:
        """Ask all others who has an IP. As real ones, ARP answers go to who asked, NDP's to all.

        A kernel does not hear what a packet socket of its own node asks.
        """
        self.probes.append(ip)
        self.say(NeighbourEvent(ip, mac, FrameKind.PROBE))
        for answerer in self.reached(ip, mac):
            if answerer == mac:
                continue
            self.say(
                NeighbourEvent(ip, answerer, FrameKind.ANNOUNCEMENT),
                to=mac if ip.version == 4 else b"",
            )

    def reached(self, ip: IPAddress, _mac: bytes, /) -> list[bytes]:
        """Return the MACs of all that answer a station's question for an IP."""
        return self.stations(ip)

    def stations(self, ip: IPAddress) -> list[bytes]:
        """Return the MACs of all that answer for an IP."""
        answers = [answer(ip) for answer in self.answering]
        return [mac for mac in (self.holders.get(ip), *answers) if mac is not None]


class FakeWire:
    """`ProbeSocket` on a `FakeSegment`."""

    def __init__(self, segment: FakeSegment) -> None:
        self.context = copy_context()
        self._segment = segment
        self._link: Link | None = None
        self._arrived: Callable[[], None] | None = None
        self._heard: list[NeighbourEvent] = []
        self.listens = False
        self.closed = True
        self.broken = False
        """Frames are refused, as by an interface that has just gone down."""
        self.refused = 0
        """How many were."""
        self.overrun = False
        """Frames were lost before anybody read them."""

    @property
    def station(self) -> bytes:
        return b"" if self._link is None else self._link.mac

    def open(self, link: Link, arrived: Callable[[], None]) -> None:
        self._link, self._arrived = link, arrived
        if self.closed:
            self.closed = False
            self._segment.listeners.append(self)

    def probe(self, ip: IPAddress) -> bool:
        assert self._link is not None
        if self.broken:
            self.refused += 1
            return False
        self.listens = True
        self._segment.probe(ip, self._link.mac)
        return True

    def read(self) -> tuple[Sequence[NeighbourEvent], bool]:
        heard, self._heard = self._heard, []
        complete, self.overrun = not self.overrun, False
        return heard, complete

    def pause(self) -> None:
        self.listens = False
        self._heard.clear()

    def close(self) -> None:
        self.pause()
        if not self.closed:
            self._segment.listeners.remove(self)
        self._link, self.closed = None, True

    def hear(self, event: NeighbourEvent) -> None:
        if self.listens and self._link is not None and event.mac != self._link.mac:
            assert self._arrived is not None
            self._heard.append(event)
            self._arrived()


class FakeConflictWire:
    """`WireWatch` on a `FakeSegment`."""

    def __init__(
        self, segment: FakeSegment, on_neighbour_event: Callable[[NeighbourEvent], None]
    ) -> None:
        self.context = copy_context()
        self._segment = segment
        self._on_neighbour_event = on_neighbour_event
        self._link: Link | None = None
        self._ips: frozenset[IPAddress] = frozenset()
        self._alert = False

    @property
    def station(self) -> bytes:
        return b"" if self._link is None else self._link.mac

    async def run(self) -> None:
        """Hear; until cancelled."""
        self._segment.listeners.append(self)
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            self._segment.listeners.remove(self)

    def listen(self, link: Link | None, ips: Iterable[IPAddress], *, alert: bool) -> None:
        self._link, self._ips, self._alert = link, frozenset(ips), alert

    def ask(self, ip: IPAddress) -> bool:
        if self._link is None:
            return False
        self._segment.probe(ip, self._link.mac)
        return True

    def hear(self, event: NeighbourEvent) -> None:
        if self._link is None or event.mac == self._link.mac or event.ip not in self._ips:
            return
        if self._alert or event.kind is not FrameKind.PROBE:
            self._on_neighbour_event(event)


@dataclass
class FakeNeighbours:
    """`NeighbourSocket` on a `FakeSegment`."""

    segment: FakeSegment
    link: Link | None = None
    answered: dict[IPAddress, bytes] = field(default_factory=dict)

    def open(self, link: Link) -> None:
        self.link = link

    def ask(self, questions: Iterable[Question]) -> list[IPAddress]:
        if self.link is None:
            return []
        asked = [question.ip for question in questions]
        for ip in asked:
            for mac in self.segment.reached(ip, self.link.mac):
                if mac != self.link.mac:
                    self.answered[ip] = mac
        return asked

    def answers(self) -> dict[IPAddress, bytes]:
        found, self.answered = self.answered, {}
        return found

    def close(self) -> None:
        self.link = None
        self.answered.clear()


@dataclass
class FakeSender:
    """A packet socket that sends on a `FakeSegment`."""

    segment: FakeSegment

    def send(self, frame: bytes, /) -> int:
        self.segment.transmit(frame)
        return len(frame)

    def close(self) -> None:
        pass
