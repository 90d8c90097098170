"""What the reconcilers need from the outside; `extip.net` and `extip.kube` provide it."""

from collections.abc import AsyncIterator, Callable, Collection, Iterable, Sequence
from typing import Protocol

from extip.plan.link import Change, ChangeResult, IPAddress, Link, ObservedAddress
from extip.plan.refusal import Refusal
from extip.plan.requests import Owner
from extip.plan.sighting import Sighting


class LinkTable(Protocol):
    """Reads interfaces and routes."""

    async def link(self, name: str) -> Link:
        """Return the interface; raises LinkNotFoundError."""

    async def links(self) -> Sequence[Link]:
        """Return all interfaces."""

    async def gateways(self) -> frozenset[IPAddress]:
        """Return the next hops of all routing tables, both families."""

    async def promote_secondaries(self, link: Link) -> None:
        """Have the kernel keep IPv4 secondaries when their primary goes."""


class Fence(Protocol):
    """Sees to it that no more than one node has an IP."""

    trust_s: float
    """For so long after a look at what is wanted it may be brought up."""

    def lifetime_s(self) -> int:
        """Return how long addresses may live from now on, in whole seconds.

        0: none may be added, and what is up is left to the lifetime that it has.
        """

    def yielded(self) -> Collection[IPAddress]:
        """Return the IPs that were left to another station; they go, whatever is wanted."""


class AddressTable(Protocol):
    """Reads and changes addresses."""

    async def dump(self) -> Sequence[ObservedAddress]:
        """Return every address of every interface; raises LinkError rather than a part."""

    def apply(
        self, changes: Iterable[Change], *, ttl_s: int
    ) -> AsyncIterator[Sequence[ChangeResult]]:
        """Make the changes in order; yields each batch as soon as the kernel has answered."""


class Announcer(Protocol):
    """Tells the neighbours."""

    def set_link(self, link: Link | None) -> None:
        """Announce there from now on; a new MAC or a returned carrier starts every burst anew."""

    def announce(self, ips: Iterable[IPAddress]) -> None:
        """Start announcing addresses that have just come up; the first frame goes out now."""

    def hold(self, ips: Iterable[IPAddress]) -> None:
        """Say nothing about addresses that are up until they are announced or withdrawn.

        They may be another node's by now.
        """

    def withdraw(self, ips: Iterable[IPAddress]) -> None:
        """Stop announcing, or holding."""


class ProbeWire(Protocol):
    """Asks the neighbours who has an IP, and hears what they say."""

    def open(self, link: Link, arrived: Callable[[], None]) -> None:
        """Use `link` and no other from now on; without effect when that is so already.

        `arrived` is called when there is something to `read`. Raises PermissionDeniedError.
        """

    def probe(self, ip: IPAddress) -> bool:
        """Listen for answers, and send one frame; returns whether it went out."""

    def read(self) -> tuple[Sequence[Sighting], bool]:
        """Return what arrived, less our own frames, and whether that is all there was."""

    def pause(self) -> None:
        """Listen no more until the next probe; what has arrived is forgotten."""

    def close(self) -> None:
        """Give everything back."""


class Reporter(Protocol):
    """Tells the users of the cluster, where they look."""

    def refused(self, owner: Owner, refusal: Refusal) -> None:
        """Say once that `owner` does not get an IP that it asked for, and why."""
