"""The decisions of allocation about each service and each address, from plan to plan. Pure."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from heapq import heappop, heappush

from extip.cache.changes import give_back
from extip.net.interfaces import IPAddress
from extip.pools.policy.address_request import AddressRequest
from extip.pools.policy.allocation_part import note
from extip.pools.policy.outcome import Allocated, Allocation, Upcoming
from extip.pools.policy.service_update import ServiceUpdate
from extip.services.policy.requests import Owner, Ports

_NONE: frozenset[tuple[Owner, IPAddress]] = frozenset()


class Decisions:
    """The decisions that hold."""

    def __init__(self) -> None:
        self.allocated: dict[IPAddress, Allocated] = {}
        self._updates: dict[Owner, ServiceUpdate] = {}
        self.upcoming: dict[Owner, Upcoming] = {}
        self._disowned: dict[Owner, frozenset[tuple[Owner, IPAddress]]] = {}
        self._waiting: dict[Owner, str] = {}
        self._particular: dict[Owner, None] = {}
        """The part of them that names addresses."""
        self._lacking: dict[Owner, None] = {}
        self._arriving: dict[Owner, datetime | None] = {}
        self._ends: list[tuple[datetime, Owner]] = []
        """A heap of the times in it; some of them do not hold any more."""
        self._ports: dict[Owner, Ports] = {}

    def unsettled(self, now: datetime | None) -> Iterator[Owner]:
        """Yield services whose decision depends on more than itself and its addresses.

        An address may have been shown for long enough beside the one that replaces it. A service
        may wait for an address that it names until another service changes its ports.
        """
        while now is not None and self._ends and self._ends[0][0] <= now:
            end, owner = heappop(self._ends)
            if self._arriving.get(owner) == end:
                yield owner
        yield from self._particular

    def is_arriving(self, owner: Owner | None) -> bool:
        """Whether a service shows an address until another one is up, or longer."""
        return owner in self._arriving

    def hopeful(self) -> Iterator[Owner]:
        """Yield services that may get an address, or another one, as soon as one is free."""
        yield from self._waiting
        yield from self._lacking

    def unclaimed(self, owners: Iterable[Owner]) -> dict[Owner, frozenset[IPAddress]]:
        """Return the addresses of services that are not claimed yet, of those that have any."""
        known = self.upcoming
        return {owner: known[owner].unclaimed for owner in owners if owner in known}

    def forget(self, owner: Owner) -> None:
        """Forget the decisions about a service."""
        self._updates.pop(owner, None)
        self.upcoming.pop(owner, None)
        self._disowned.pop(owner, None)
        self._waiting.pop(owner, None)
        self._particular.pop(owner, None)
        self._lacking.pop(owner, None)
        self._arriving.pop(owner, None)
        self._ports.pop(owner, None)

    def take(self, requests: Iterable[AddressRequest], found: Allocation) -> None:
        """Take the decisions of a plan for these services."""
        particular = (one.owner for one in requests if one.requested and one.owner in found.waiting)
        note(self._particular, particular)
        self.allocated |= found.allocated
        self._updates |= {one.owner: one for one in found.service_updates}
        self.upcoming |= found.upcoming
        self._waiting |= found.waiting
        note(self._lacking, found.lacking)
        self._arriving |= found.arriving
        for owner, end in found.arriving.items():
            if end is not None:
                heappush(self._ends, (end, owner))
        self._ports |= found.ports
        for owner, ip in found.disowned:
            self._disowned[owner] = self._disowned.get(owner, _NONE) | {(owner, ip)}

    def allocation(
        self,
        users: Mapping[IPAddress, object],
        *,
        changed: Iterable[IPAddress],
        freed: Mapping[IPAddress, str],
    ) -> Allocation:
        """Return all decisions as they are, and as they will be: no collection is copied."""
        give_back(self._lacking)
        give_back(self._arriving)
        give_back(self._particular)
        give_back(self._updates)
        give_back(self.upcoming)
        give_back(self._waiting)
        return Allocation(
            allocated=self.allocated,
            service_updates=self._updates.values(),
            upcoming=self.upcoming,
            disowned=_NONE.union(*self._disowned.values()),
            waiting=self._waiting,
            lacking=self._lacking.keys(),
            arriving=self._arriving,
            ports=self._ports,
            users=users,
            changed=frozenset(changed),
            freed=freed,
        )
