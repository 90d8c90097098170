"""The outcome of allocation: which services have which addresses, and what to write. Pure."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from datetime import datetime

from extip.net.interfaces import IPAddress, IPInterface
from extip.pools.policy.address_request import AddressRequest
from extip.pools.policy.service_update import HeldAddresses, ServiceUpdate, plan_update
from extip.services.policy.requests import Owner, Ports, Requests


@dataclass(frozen=True, slots=True)
class Allocated:
    """An address that was given to services."""

    interface: IPInterface
    """The address with its prefix length on the interface."""
    owners: tuple[Owner, ...]
    pool: str


@dataclass(frozen=True, slots=True)
class Upcoming:
    """A write to a service that waits for claims."""

    update: ServiceUpdate
    unclaimed: frozenset[IPAddress]


def upcoming(request: AddressRequest, holding: HeldAddresses) -> Upcoming | None:
    """Return the write that waits for claims; None when all addresses are claimed."""
    unclaimed = frozenset(holding.held).difference(holding.claimed)
    if not unclaimed:
        return None
    update = plan_update(request, replace(holding, claimed=holding.held))
    return Upcoming(update, unclaimed) if update is not None else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Allocation:
    """The result of a pass. Collections may be those of a state, which go on to change."""

    allocated: Mapping[IPAddress, Allocated] = field(default_factory=dict)
    service_updates: Collection[ServiceUpdate] = ()
    """Writes to services; each address that they add is claimed already."""
    upcoming: Mapping[Owner, Upcoming] = field(default_factory=dict)
    """Writes to services that follow when the last address in them is claimed."""
    disowned: frozenset[tuple[Owner, IPAddress]] = frozenset()
    """Allocated external IPs that a service is about to lose."""
    waiting: Mapping[Owner, str] = field(default_factory=dict)
    """Services whose request is not met, with the reason and the addresses that they keep."""
    lacking: AbstractSet[Owner] = frozenset()
    """Services that would have one more address if their pools had a free one. With two families
    of which one is enough, such a service does not wait."""
    arriving: Mapping[Owner, datetime | None] = field(default_factory=dict)
    """Services that show an address which they lose when the replacing one is up, or later. The
    time is when that may be; None until one more is up."""
    ports: Mapping[Owner, Ports] = field(default_factory=dict)
    """The ports of services that share an address."""
    users: Mapping[IPAddress, object] = field(default_factory=dict)
    """Every address that nobody else may get; the text of the value names its user."""

    changed: frozenset[IPAddress] = frozenset()
    """Addresses of which the services may differ from those of the allocation before."""
    freed: Mapping[IPAddress, str] = field(default_factory=dict)
    """Addresses that had a user in the allocation before, and have none now, with that user."""

    def extend(self, requests: Requests) -> Requests:
        """Return the requests with the allocated addresses, each with its pool's prefix length."""
        if not self.allocated and not self.disowned:
            return requests
        wanted: dict[IPInterface, tuple[Owner, ...]] = {}
        for explicit in requests.wanted.items():
            request = self.request_for(explicit[0].ip, explicit)
            if request is not None:
                wanted[request[0]] = request[1]
        for found in self.allocated.values():
            wanted.setdefault(found.interface, tuple(self._with_ports(found.owners)))
        return replace(requests, wanted=wanted)

    def request_for(
        self, ip: IPAddress, explicit: tuple[IPInterface, tuple[Owner, ...]] | None
    ) -> tuple[IPInterface, tuple[Owner, ...]] | None:
        """Return an IP with its owners; `explicit` are those that write it themselves."""
        left: tuple[Owner, ...] = () if explicit is None else explicit[1]
        if self.disowned:
            left = tuple(owner for owner in left if (owner, ip) not in self.disowned)
        found = self.allocated.get(ip)
        if found is not None and len(found.owners) == 1 and not left:
            return found.interface, found.owners
        if found is not None:
            return found.interface, tuple(self._with_ports(sorted({*found.owners, *left})))
        return (explicit[0], left) if explicit is not None and left else None

    def namespaces_together(self, ip: IPAddress) -> frozenset[str]:
        """Return the namespaces that share an allocated address; empty for a single one."""
        found = self.allocated.get(ip)
        namespaces = frozenset(() if found is None else (o.namespace for o in found.owners))
        return namespaces if len(namespaces) > 1 else frozenset()

    def _with_ports(self, owners: Sequence[Owner]) -> Iterator[Owner]:
        """Yield the owners; those who share an address with the ports that the claim records."""
        for owner in owners:
            ports = self.ports.get(owner) if len(owners) > 1 else None
            yield replace(owner, ports=ports) if ports else owner

    def pools(self) -> dict[IPInterface, str]:
        """Return the pool of each allocated address."""
        return {found.interface: found.pool for found in self.allocated.values()}
