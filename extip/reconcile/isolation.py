"""Finds out whether the interface still reaches anybody, by asking neighbours that answer.

What counts is decided by `extip.plan.isolation`. At rest it costs one small frame a round, to one
neighbour.

The owner task is `IsolationWatch.run`; the other methods may be called from any task of the loop.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from extip import log
from extip.clock import Clock
from extip.errors import LinkError
from extip.metrics import Metrics
from extip.plan.isolation import Isolation
from extip.plan.link import IPAddress, Link
from extip.plan.sighting import Kind, Sighting


class Segment(Protocol):
    """The segment that the interface is on."""

    def listen(self, link: Link | None, ips: Iterable[IPAddress], *, alert: bool) -> None:
        """Listen for stations with these IPs."""

    def greet(self, ip: IPAddress, *, source: IPAddress, to: bytes = b"") -> bool:
        """Ask a neighbour for its MAC; return whether the question went out."""


class LinkReader(Protocol):
    """Reads the interface."""

    async def link(self, name: str) -> Link:
        """Return it. Raises LinkNotFoundError, and LinkError."""


class IsolationWatch:
    """Of one interface."""

    def __init__(  # noqa: PLR0913 - a composition of ports and plain values
        self,
        links: LinkReader,
        *,
        iface: str,
        neighbours: Callable[[], Mapping[IPAddress, IPAddress]],
        round_s: float,
        changed: Callable[[], None],
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        """Compose.

        `neighbours` returns whom to ask, each with the address of this node to ask from; `changed`
        is called when the node is isolated, and when it is not any more.
        """
        self._links = links
        self._iface = iface
        self._neighbours = neighbours
        self._round_s = round_s
        self._changed = changed
        self._clock = clock
        self._metric = metrics.link_isolated
        self._segment: Segment | None = None
        self._state = Isolation()
        self._log = log.get_logger("isolation").bind(link=iface)

    @property
    def isolated(self) -> bool:
        """Whether no other station answers any more."""
        return self._state.isolated

    def listen_on(self, segment: Segment) -> None:
        """Take the segment, whose frames go to `heard`."""
        self._segment = segment

    def heard(self, sighting: Sighting) -> None:
        """Take what a neighbour said; from the event loop, at any rate."""
        if sighting.kind is Kind.CLAIM:
            self._state.heard(sighting.ip, sighting.mac)

    async def run(self) -> None:
        """Ask, round after round; until cancelled."""
        while True:
            before = self._state.isolated
            await self._round()
            if self._state.isolated != before:
                self._tell()
            await self._clock.sleep(self._round_s)

    async def _round(self) -> None:
        try:
            link = await self._links.link(self._iface)
        except LinkError:  # whoever needs the interface for more says so
            link = None
        if link is None or self._segment is None or not (link.carrier and link.announces):
            self._state.rest()
            return
        whom = self._neighbours()
        self._segment.listen(link, whom, alert=False)
        self._state.end_round()
        for ip, mac in self._state.begin_round(whom):
            if self._segment.greet(ip, source=whom[ip], to=mac):
                self._state.asked()

    def _tell(self) -> None:
        isolated = self._state.isolated
        self._metric.set(isolated)
        if isolated:
            self._log.warning("link_isolated", reason="no neighbour answers any more")
        else:
            self._log.info("link_reached")
        self._changed()
