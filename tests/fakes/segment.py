"""An Ethernet segment in memory, for what probes find out on it."""

from collections.abc import Callable, Sequence

from extip.plan.link import IPAddress, Link
from extip.plan.sighting import Kind, Sighting


class FakeSegment:
    """Stations that have addresses and answer for them at once, and wires that listen."""

    def __init__(self) -> None:
        self.holders: dict[IPAddress, bytes] = {}
        """Addresses of stations that run no extip."""
        self.probes: list[IPAddress] = []
        """Every probe that was sent."""
        self.answering: list[Callable[[IPAddress], bytes | None]] = []
        """Others who may answer, with their MAC."""
        self.wires: list[FakeWire] = []

    def wire(self) -> "FakeWire":
        made = FakeWire(self)
        self.wires.append(made)
        return made

    def say(self, sighting: Sighting) -> None:
        """Have everybody who listens hear it."""
        for wire in self.wires:
            wire.hear(sighting)


class FakeWire:
    """`ProbeSocket` on a `FakeSegment`."""

    def __init__(self, segment: FakeSegment) -> None:
        self._segment = segment
        self._link: Link | None = None
        self._arrived: Callable[[], None] | None = None
        self._heard: list[Sighting] = []
        self.listens = False
        self.closed = True
        self.broken = False
        """Frames are refused, as by an interface that has just gone down."""
        self.refused = 0
        """How many were."""
        self.overrun = False
        """Frames were lost before anybody read them."""

    def open(self, link: Link, arrived: Callable[[], None]) -> None:
        self._link, self._arrived = link, arrived
        self.closed = False

    def probe(self, ip: IPAddress) -> bool:
        assert self._link is not None
        if self.broken:
            self.refused += 1
            return False
        self.listens = True
        self._segment.probes.append(ip)
        self._segment.say(Sighting(ip, self._link.mac, Kind.PROBE))
        answers = [answer(ip) for answer in self._segment.answering]
        for mac in (self._segment.holders.get(ip), *answers):
            if mac is not None:
                self._segment.say(Sighting(ip, mac, Kind.CLAIM))
        return True

    def read(self) -> tuple[Sequence[Sighting], bool]:
        heard, self._heard = self._heard, []
        complete, self.overrun = not self.overrun, False
        return heard, complete

    def pause(self) -> None:
        self.listens = False
        self._heard.clear()

    def close(self) -> None:
        self.pause()
        self._link, self.closed = None, True

    def hear(self, sighting: Sighting) -> None:
        if self.listens and self._link is not None and sighting.mac != self._link.mac:
            assert self._arrived is not None
            self._heard.append(sighting)
            self._arrived()
