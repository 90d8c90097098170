"""The interfaces that may have IPs, each with the parts that bring IPs up there.

Each interface has parts of its own: what is up there, the probe, announcements and the watch for
conflicts. They are made when the interface is selected first, and rest while it is missing.

Guarantees: an IP is up on one interface at most, as far as the listeners of this node are told.
However many interfaces come and go, the parts of `SPARE` missing ones stay at most.

The owner task is `LinksInUse.run`; the reconciler calls the other methods.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from extip.addresses.local_addresses import LocalAddresses
from extip.addresses.observation import NodeObservation
from extip.addresses.probe.prober import Prober
from extip.net.interfaces import Change, IPAddress, Link
from extip.supervisor import Component, for_each_coming, run_beside
from extip.trigger import Trigger

SPARE = 16
"""Missing interfaces whose parts are kept. What these know of their IPs is of use when an interface
is back soon; those of pods never are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkParts:
    """The parts of one interface."""

    local: LocalAddresses
    prober: Prober
    components: Sequence[Component] = ()
    dropped: asyncio.Event = field(default_factory=asyncio.Event)
    """Ends the components."""


class LinksInUse:
    """The parts of all interfaces that are, or were, selected."""

    def __init__(self) -> None:
        self._make: Callable[[str], LinkParts] | None = None
        self._parts: dict[str, LinkParts] = {}
        self._selected: tuple[str, ...] = ()
        self._only = ""
        self._new: list[LinkParts] = []
        self._missing: dict[str, None] = {}
        """The interfaces that are selected no more, the one that left first before all others."""
        self._came = Trigger()

    def make_with(self, make: Callable[[str], LinkParts], *, only: str = "") -> None:
        """Make the parts of an interface with `make`; those of `only`, if any, at once."""
        self._make = make
        if only:
            self._selected, self._only = (only,), only
            self.of(only)

    def of(self, name: str) -> LinkParts:
        """Return the parts of an interface; make them when there are none."""
        if name not in self._parts:
            if self._make is None:
                raise RuntimeError("make_with was not called")
            self._parts[name] = parts = self._make(name)
            self._new.append(parts)
            self._came.set()
        return self._parts[name]

    def follow(self, observation: NodeObservation) -> None:
        """Take the selected interfaces; what is up on any other one is not up any more."""
        names = [part.link.name for part in observation.on]
        self._selected = tuple(names)
        for name in names:
            self._missing.pop(name, None)
        self._leave(self._parts.keys() - names)

    def lose_all(self) -> None:
        """Take note that no interface is selected."""
        if not self._only:
            self._selected = ()
        self._leave(self._parts)

    def _leave(self, names: Iterable[str]) -> None:
        for name in names:
            parts = self._parts[name]
            parts.local.set_link(None)
            parts.prober.rest()
            self._missing.setdefault(name)
        for name in list(self._missing)[:-SPARE]:
            del self._missing[name]
            self._parts.pop(name).dropped.set()

    @property
    def selected(self) -> Mapping[str, LocalAddresses]:
        """The selected interfaces, the first one first; the only one also while it is missing."""
        return {name: self._parts[name].local for name in self._selected}

    @property
    def up(self) -> frozenset[IPAddress]:
        """External IPs on any of the interfaces."""
        first, *more = [parts.local.up for parts in self._parts.values()] or [frozenset()]
        return first.union(*more)

    def is_up(self, ip: IPAddress) -> bool:
        """Return whether an external IP is on one of the interfaces."""
        return bool(self.place(ip))

    def place(self, ip: IPAddress) -> str:
        """Return the interface that an external IP is on; empty for none."""
        return next((name for name, one in self._parts.items() if one.local.is_up(ip)), "")

    def knows(self, index: int) -> bool:
        """Return whether an interface with that index is among them."""
        return any(index == link.index for link in self._links().values())

    def announce(self, changes: Iterable[Change]) -> None:
        """Record addresses that were added."""
        found: dict[int, list[IPAddress]] = {}
        for change in changes:
            found.setdefault(change.link_index, []).append(change.interface.ip)
        for name, link in self._links().items() if found else ():
            if link.index in found:
                self._parts[name].local.announce(found[link.index])

    def _links(self) -> Mapping[str, Link]:
        links = {name: parts.local.link for name, parts in self._parts.items()}
        return {name: link for name, link in links.items() if link is not None}

    async def run(self) -> None:
        """Run the parts of each interface from when they are made; until cancelled."""
        await for_each_coming(self._coming(), _run)

    async def _coming(self) -> AsyncIterator[LinkParts]:
        while True:
            self._came.clear()
            new, self._new = self._new, []
            for parts in new:
                yield parts
            await self._came.wait_at_most(None)


async def _run(parts: LinkParts) -> None:
    await run_beside(parts.components, parts.dropped.wait)
