"""Services that ask for the same address x their ports → which of them share it. Pure.

Services share an address when each of them names it, or all have one sharing key, and no port is
the same. They are of one namespace, unless the address is of a pool with `sharing: Cluster`. This
module keeps the holders of each address while a plan is made.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from extip.net.interfaces import IPAddress
from extip.pools.policy.address_request import AddressRequest
from extip.pools.policy.allocation_index import AllocationIndex, AllocationSource, Claimed
from extip.services.policy.requests import Owner, Ports


@dataclass(slots=True, eq=False)
class Asker:
    """One service during a plan."""

    request: AddressRequest
    claimed: Mapping[IPAddress, Claimed]
    current: Mapping[IPAddress, AllocationSource]
    held: list[IPAddress] = field(default_factory=list)
    named: frozenset[IPAddress] = field(init=False)
    """The addresses that it asks for by name."""

    def __post_init__(self) -> None:
        """Make the set, to look up many addresses in."""
        self.named = frozenset(self.request.requested)

    @property
    def is_foreign_balancer(self) -> bool:
        """Whether another load balancer implementation serves it."""
        return self.request.to_status and not self.current and bool(self.request.ingress)

    def lacks(self, version: int) -> int:
        """Return how many addresses of that family it should have beside those that it holds."""
        return self.request.count - sum(ip.version == version for ip in self.held)

    def in_order(self) -> list[IPAddress]:
        """Return the addresses that it holds by family, then by their places in its request."""
        place = {ip: at for at, ip in enumerate(self.request.requested)}
        rank = {version: at for at, version in enumerate(self.request.families)}
        last = len(place)
        ranked = sorted((rank[ip.version], place.get(ip, last), int(ip), ip) for ip in self.held)
        return [ip for _, _, _, ip in ranked]


class Sharing:
    """The holders of each address so far, and whether another service may share it."""

    def __init__(self, index: AllocationIndex, ports: Callable[[Owner], Ports]) -> None:
        self._index = index
        self._ports = ports
        self._holders: dict[IPAddress, list[Asker]] = {}
        self._keyed: dict[str, dict[IPAddress, None]] = {}
        """The addresses of services with each sharing key, in the order of allocation."""
        self._ported: dict[tuple[str, tuple[str, int]], set[IPAddress]] = {}
        """The part of them at which such a service has a port, by key and port."""
        self._aside: dict[IPAddress, set[Owner]] = {}

    def hold(self, asker: Asker, ip: IPAddress) -> None:
        """Give the address to the service."""
        asker.held.append(ip)
        self._holders.setdefault(ip, []).append(asker)
        if key := asker.request.sharing_key:
            self._keyed.setdefault(key, {})[ip] = None
            for port in self._ports(asker.request.owner):
                self._ported.setdefault((key, port), set()).add(ip)
        self._index.users[ip] = asker.request.owner

    def set_aside(self, asker: Asker, ip: IPAddress) -> None:
        """Reserve an address that the service no longer asks for: it may have to keep it."""
        self._aside.setdefault(ip, set()).add(asker.request.owner)

    def settle(self, asker: Asker) -> None:
        """End the reservations of the service: it now holds the addresses that it keeps."""
        for ip in asker.current:
            if ip in self._aside:
                self._aside[ip].discard(asker.request.owner)

    def holders_of(self, ip: IPAddress) -> set[Owner]:
        """Return the services that hold the address in this plan."""
        return {holder.request.owner for holder in self._holders.get(ip, ())}

    def owners_of(self, ip: IPAddress) -> set[Owner]:
        """Return all owners of the address: allocated, written by hand, or in a status."""
        written, shown = self._index.explicit.get(ip, ()), self._index.shown.get(ip, set())
        return self.holders_of(ip) | {*written} | shown | self._aside.get(ip, set())

    def conflicting(self, asker: Asker, ip: IPAddress, others: set[Owner]) -> list[Owner]:
        """Return the `others` that do not share the address with the service.

        Two services share it when they have no port in common, and both ask for this address or
        have the same sharing key. They are of one namespace, or its pool is for several.
        """
        if not others:
            return []
        request = asker.request
        holders = {holder.request.owner: holder.request for holder in self._holders.get(ip, ())}
        written = self._index.explicit.get(ip, ())

        def agrees(other: Owner) -> bool:
            holder = holders.get(other)
            if not self._fit(request.owner, other, ip, given=holder is not None):
                return False
            if holder is not None and request.sharing_key and _same_key(request, holder):
                return True
            asked = other in written or (holder is not None and _asks(holder, ip))
            return asked and _asks(request, ip)

        return sorted(other for other in others - {request.owner} if not agrees(other))

    def joinable(self, asker: Asker, version: int) -> Iterator[IPAddress]:
        """Yield the addresses that services with the same sharing key would share with it."""
        key, owner = asker.request.sharing_key, asker.request.owner
        known = self._keyed.get(key)
        if not known:
            return
        full = [
            self._ported[key, port] for port in self._ports(owner) if (key, port) in self._ported
        ]
        if any(len(one) == len(known) for one in full):
            return  # of many services with one port, none looks at all addresses
        for ip in tuple(known):
            if ip.version != version or any(ip in one for one in full):
                continue
            if not self.conflicting(asker, ip, self.owners_of(ip)):
                yield ip

    def may_stay(self, asker: Asker, ip: IPAddress) -> bool:
        """Whether the service may keep a reserved address: alone, or with its former sharers."""
        owner = asker.request.owner
        others = self.holders_of(ip) - {owner}
        return owner in self._aside.get(ip, ()) and all(
            ip in asker.claimed and self._fit(owner, other, ip, given=True) for other in others
        )

    def ports(self) -> dict[Owner, Ports]:
        """Return the ports of all services that share an allocated address."""
        found: dict[Owner, Ports] = {}
        for ip, holders in self._holders.items():
            sharing = {holder.request.owner for holder in holders}
            sharing.update(self._index.explicit.get(ip, ()))
            if len(sharing) > 1:
                found |= {owner: self._ports(owner) for owner in sharing}
        return found

    def _fit(self, one: Owner, other: Owner, ip: IPAddress, *, given: bool) -> bool:
        """Whether namespaces and ports allow two services to share an address.

        Only addresses that were `given` to both are shared across namespaces.
        """
        if one.namespace != other.namespace and not (given and self._index.joins_namespaces(ip)):
            return False
        return not self._ports(one) & self._ports(other)


def _same_key(one: AddressRequest, other: AddressRequest) -> bool:
    return one.sharing_key == other.sharing_key


def _asks(request: AddressRequest, ip: IPAddress) -> bool:
    """Whether the service names the address, in its annotation or among its external IPs."""
    return ip in request.requested or ip in request.written
