"""A segment whose frames are late or lost, by direction and by pair; and who else may be on it."""

import asyncio
from collections.abc import Iterable
from contextvars import Context
from dataclasses import dataclass
from random import Random

from extip.net.interfaces import IPAddress
from extip.net.neighbour_events import FrameKind, NeighbourEvent
from tests.fakes.segment import FakeSegment, Listener
from tests.fakes.world import later, now_s

PATIENCE_S = 8.0
"""A neighbour that does not answer is asked for anew: 5 s of delay and three probes (Linux)."""

Pair = tuple[bytes, bytes]


@dataclass(frozen=True)
class Weakness:
    """Frames of one station to another are lost by chance, and late."""

    loss: float = 0.0
    delay_s: float = 0.0


_SOUND = Weakness()


class FaultySegment(FakeSegment):
    """Frames take a moment, and only those arrive that nothing is in the way of."""

    def __init__(self, rng: Random) -> None:
        super().__init__()
        self._rng = rng
        self.delay_s = 0.0002
        self.loss = 0.0
        self.off = False
        """The switch is off."""
        self.unplugged: set[bytes] = set()
        """Stations whose port is down."""
        self.blocked: dict[Pair, int] = {}
        """Frames of the first station do not reach the second; how many faults say so."""
        self.weak: dict[Pair, Weakness] = {}
        """What is wrong with frames of the first station to the second, beside all others."""
        self.frames = 0
        """How many were sent, each counted once."""

    def block(self, pairs: Iterable[Pair]) -> None:
        for pair in pairs:
            self.blocked[pair] = self.blocked.get(pair, 0) + 1

    def unblock(self, pairs: Iterable[Pair]) -> None:
        for pair in pairs:
            self.blocked[pair] -= 1

    def connects(self, sender: bytes, receiver: bytes) -> bool:
        """Whether frames of one station can reach another."""
        return not (
            self.off
            or sender in self.unplugged
            or receiver in self.unplugged
            or self.blocked.get((sender, receiver), 0)
        )

    def say(self, event: NeighbourEvent, *, to: bytes = b"") -> None:
        self.frames += 1
        super().say(event, to=to)

    def carry(self, event: NeighbourEvent, listener: Listener) -> None:
        station = listener.station
        if not station or station == event.mac or not self._arrives(event.mac, station):
            return
        arrives = asyncio.get_running_loop().call_later
        delay_s = self.delay_s + self.weak.get((event.mac, station), _SOUND).delay_s
        listener.context.copy().run(arrives, delay_s, listener.hear, event)

    def reached(self, ip: IPAddress, mac: bytes, /) -> list[bytes]:
        return [
            station
            for station in self.stations(ip)
            if station == mac or (self._arrives(mac, station) and self._arrives(station, mac))
        ]

    def _arrives(self, sender: bytes, receiver: bytes) -> bool:
        loss = self.loss + self.weak.get((sender, receiver), _SOUND).loss
        return self.connects(sender, receiver) and not (loss and self._rng.random() < loss)


class Client:
    """A station that uses the IPs: its neighbour cache says where its packets go."""

    def __init__(self, segment: FaultySegment, mac: bytes, rng: Random) -> None:
        self.station = mac
        self.context = Context()
        self.cache: dict[IPAddress, bytes] = {}
        self._segment = segment
        self._rng = rng
        self._vain_since: dict[IPAddress, float] = {}
        segment.listeners.append(self)

    def hear(self, event: NeighbourEvent) -> None:
        if event.kind is FrameKind.ANNOUNCEMENT:
            self.cache[event.ip] = event.mac

    def hears(self, station: bytes) -> bool:
        """Whether frames pass between the two, in both directions."""
        connects = self._segment.connects
        return connects(self.station, station) and connects(station, self.station)

    def reaches(self, ip: IPAddress, answering: list[bytes]) -> bytes:
        """Return the station that gets its packets and has the IP; none when they are lost."""
        found = self.cache.get(ip, b"")
        if found in answering:
            self._vain_since.pop(ip, None)
            return found
        now = now_s()
        since = self._vain_since.setdefault(ip, now)
        if answering and (not found or now - since >= PATIENCE_S):
            self.cache[ip] = self._rng.choice(answering)
        return b""


class Stranger:
    """A station that runs no extip of this cluster, and has an IP: it answers, and says so."""

    def __init__(self, segment: FaultySegment, mac: bytes, ip: IPAddress) -> None:
        self.station = mac
        self.context = Context()
        self.ip = ip
        self.here = True
        self._segment = segment
        segment.answering.append(self._answer)
        self._announce()

    def leave(self) -> None:
        self.here = False
        self._segment.answering.remove(self._answer)

    def _answer(self, ip: IPAddress) -> bytes | None:
        return self.station if ip == self.ip else None

    def _announce(self) -> None:
        if self.here:
            self._segment.say(NeighbourEvent(self.ip, self.station, FrameKind.ANNOUNCEMENT))
            later(7.0, self._announce)
