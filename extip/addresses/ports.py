"""Protocols of what this package needs from the outside; `extip.net` and fencing provide it."""

from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence
from typing import Protocol

from extip.net.interfaces import Change, ChangeResult, Gateways, IPAddress, Link, ObservedAddress
from extip.net.neighbour_events import NeighbourEvent


class LinkTable(Protocol):
    """Reads interfaces and routes."""

    async def link(self, name: str) -> Link:
        """Return the interface; raises LinkNotFoundError."""

    async def links(self) -> Sequence[Link]:
        """Return all interfaces."""

    async def promote_secondaries(self, link: Link) -> None:
        """Have the kernel keep IPv4 secondaries when their primary goes."""

    async def gateways(self) -> Gateways:
        """Return the next hops of all routing tables, both families."""

    async def stations(self, ips: Sequence[IPAddress]) -> Mapping[IPAddress, int]:
        """Return those of the IPs that a host route leads to, with the interface's index."""


class Fencing(Protocol):
    """Keeps two nodes from having one IP: how long this node may hold its IPs, and which."""

    wanted_valid_s: float
    """Maximum age, in seconds, of the wanted set that an address may be added from."""
    grace_s: float
    """How long, in seconds, the former holder of an IP may go on after the IP came up here."""
    settle_s: float
    """How long, in seconds, the news of a planned move may take to get here."""

    def lifetime_s(self) -> int:
        """Return how long addresses may live from now on, in whole seconds.

        0: none may be added, and present ones are left to the lifetime that they have.
        """

    def yielded(self) -> Collection[IPAddress]:
        """Return the IPs that were left to another station; they are removed, even if wanted."""

    def stale_in_s(self) -> float:
        """Return the seconds until the IPs may be another node's; 0 or less when they may be."""

    def leaving(self) -> Collection[IPAddress]:
        """Return the IPs that are being handed over to another node."""

    async def is_ours(self, ip: IPAddress) -> bool:
        """Return whether an IP is still this node's. Raises ApiError when nobody can tell."""

    def yield_ips(self, ips: Collection[IPAddress]) -> None:
        """Have the IPs removed, until the API server says anew that they are this node's."""


class AddressTable(Protocol):
    """Reads and changes addresses."""

    async def dump(self) -> Sequence[ObservedAddress]:
        """Return every address of every interface; raises LinkError rather than a part."""

    def apply(
        self, changes: Iterable[Change], *, ttl_s: int
    ) -> AsyncIterator[Sequence[ChangeResult]]:
        """Make the changes in order; yields each batch as soon as the kernel has answered."""


class ProbeWire(Protocol):
    """Probes the segment for IPs, and reads what other stations say about them."""

    def open(self, link: Link, arrived: Callable[[], None]) -> None:
        """Use `link` and no other from now on; no effect when it is in use already.

        `arrived` is called when there are frames to `read`. Raises PermissionDeniedError.
        """

    def probe(self, ip: IPAddress) -> bool:
        """Listen for answers, and send one frame; return whether it went out."""

    def read(self) -> tuple[Sequence[NeighbourEvent], bool]:
        """Return the events since the last call, and whether none were lost.

        Our own frames are not among them.
        """

    def pause(self) -> None:
        """Stop listening until the next probe, and forget unread events."""

    def close(self) -> None:
        """Close all sockets."""


class ConflictWire(Protocol):
    """Hears other stations that have IPs of this node."""

    def listen(self, link: Link | None, ips: Collection[IPAddress], *, alert: bool) -> None:
        """Listen for other stations with these IPs; `alert`: also for those that ask for them.

        `ips` may change later: each change is followed by another call.
        """

    def ask(self, ip: IPAddress) -> bool:
        """Ask who else has an IP; return whether the question went out."""

    async def run(self) -> None:
        """Hear them; ends only by cancellation or error."""
