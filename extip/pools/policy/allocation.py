"""Allocation: address requests x pools x claims → the addresses of each service. Pure.

Claims and services are the truth. A service has an address when a claim names the service, or when
the service shows the address and a pool agrees. So after a crash between two writes the next pass
reads the same. A new address is claimed before it is written to the service, and removed from the
service before its claim is deleted. The status of a pool is derived from that, and never read.

A service keeps its address while it asks for one, also when the pool shrinks or is deleted. When it
asks for another address, it keeps the old one until it can get the new one.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from extip.api.ipcontroller_v1 import IpClaim
from extip.net.interfaces import IPAddress, prefix_length
from extip.pools.policy.address_request import AddressRequest, ways_in
from extip.pools.policy.allocation_index import AllocationIndex, AllocationSource, Claimed, Facts
from extip.pools.policy.outcome import Allocated, Allocation, Upcoming
from extip.pools.policy.pools import Cursor, Pool, Pools
from extip.pools.policy.port_sharing import Asker, Sharing
from extip.pools.policy.service_update import HeldAddresses, plan_update
from extip.pools.policy.set_aside import free_of
from extip.services.policy.requests import Owner, cut


def plan_allocation(
    address_requests: Iterable[AddressRequest],
    pools: Pools,
    claims: Iterable[IpClaim],
    facts: Facts,
) -> Allocation:
    """Plan for all services at once; their order does not matter.

    When the claims exist and the services are written, another plan has the same addresses and no
    writes.
    """
    asking = list(address_requests)
    if not asking and not pools.ordered:
        return Allocation()
    return plan_part(asking, pools, claims, facts)


def plan_part(
    address_requests: Iterable[AddressRequest],
    pools: Pools,
    claims: Iterable[IpClaim],
    facts: Facts,
) -> Allocation:
    """Plan for services that share no address with other services.

    `claims` and `facts.requests` are all of their addresses. `facts.users` are the users of all
    other addresses, and afterwards also of these.
    """
    asking = sorted(address_requests, key=age_of)
    return _Planner(asking, pools, AllocationIndex(asking, pools, claims, facts), facts).plan()


@dataclass(frozen=True, slots=True)
class _Found:
    """The addresses of a family that a service may have, and the reasons against others."""

    ips: list[IPAddress] = field(default_factory=list)
    lacking: list[str] = field(default_factory=list)
    all_in_use: bool = False
    """Whether pools serve it, and have no free address of the family now."""


class _Planner:
    """One pass: keep the current addresses, allocate the missing ones, derive the writes."""

    def __init__(
        self,
        address_requests: Sequence[AddressRequest],
        pools: Pools,
        index: AllocationIndex,
        facts: Facts,
    ) -> None:
        self._pools = pools
        self._index = index
        self._facts = facts
        self._askers = [
            Asker(request, index.claimed(request.owner), index.of(request))
            for request in address_requests
        ]
        self._sharing = Sharing(index, facts.ports)
        self._free: dict[tuple[str, int], Iterator[IPAddress]] = {}
        self._next: dict[tuple[str, int], IPAddress | None] = {}
        self._lacking: list[Owner] = []

    def plan(self) -> Allocation:
        """Return the result."""
        self._keep()
        waiting = {
            asker.request.owner: reason for asker in self._askers if (reason := self._serve(asker))
        }
        holdings = [(asker, self._holding(asker)) for asker in self._askers]
        ours = [
            (asker.request, holding) for asker, holding in holdings if not asker.is_foreign_balancer
        ]
        written = (plan_update(request, holding) for request, holding in ours)
        upcoming = ((request.owner, _upcoming(request, holding)) for request, holding in ours)
        return Allocation(
            allocated=self._allocated(holdings),
            service_updates=tuple(one for one in written if one is not None),
            upcoming={owner: one for owner, one in upcoming if one is not None},
            disowned=frozenset(
                (asker.request.owner, ip)
                for asker, holding in holdings
                for ip in asker.request.recorded
                if ip not in holding.held and ip not in holding.leaving
            ),
            waiting=waiting,
            lacking=frozenset(self._lacking),
            arriving=frozenset(asker.request.owner for asker, one in holdings if one.replaced),
            ports=self._sharing.ports(),
            users=self._index.users,
        )

    def _keep(self) -> None:
        """Let services keep their current addresses.

        Of two services with the same address, the one with the better source has it. Of equals it
        is the one that asks for no port of the other, and then the older one.
        """
        intruded = self._index.intruded
        ranked = [
            (source, bool(intruded(asker.request, ip)), age, ip.version, int(ip), ip)
            for age, asker in enumerate(self._askers)
            for ip, source in asker.current.items()
        ]
        ranked.sort()
        for source, intrudes, age, _version, _number, ip in ranked:
            asker = self._askers[age]
            others = self._sharing.holders_of(ip)
            if intrudes:  # also on a service that wrote the address into its external IPs
                others |= intruded(asker.request, ip)
            if source is AllocationSource.SHOWN and ip in asker.request.requested:
                others |= {*self._index.explicit.get(ip, ())}  # it may have lost it to them
            if not self._fits(asker, ip):
                if source is not AllocationSource.INHERITED:
                    self._sharing.set_aside(asker, ip)
            elif not self._sharing.conflicting(asker, ip, others):
                self._sharing.hold(asker, ip)

    def _fits(self, asker: Asker, ip: IPAddress) -> bool:
        """Whether the service still asks for this address, or for any address like it."""
        request = asker.request
        if ip.version not in request.families:
            return False
        if requested := _of_version(request.requested, ip.version):
            return ip in requested
        if ip in self._facts.aside.taken:
            return False
        if asker.has(ip.version):
            return False
        if request.pools and self._pool_name(asker, ip) not in request.pools:
            return False
        return request.to_status or ip in request.external or not _written(request, ip.version)

    def _pool_name(self, asker: Asker, ip: IPAddress) -> str:
        pool, claimed = self._pools.of(ip), asker.claimed.get(ip)
        return pool.name if pool is not None else claimed.pool if claimed is not None else ""

    def _serve(self, asker: Asker) -> str:
        """Give the service its missing addresses; return the reasons for those it does not get."""
        if asker.is_foreign_balancer:
            return (
                f"{', '.join(ways_in(asker.request))} in its status.loadBalancer is of another "
                "load balancer, and no pool has it: clear the status to have an address of a pool, "
                "or have only one of the two serve it (loadBalancerClass)"
            )
        request = asker.request
        if request.unproxied:
            return request.unproxied
        found = {} if request.unclear else {v: self._find(asker, v) for v in request.families}
        if any(one.all_in_use for one in found.values()):
            self._lacking.append(request.owner)
        lacking = {version: found[version].lacking if found else [] for version in request.families}
        waits = request.together and any(
            reasons and not _of_version(asker.current, version)
            for version, reasons in lacking.items()
        )
        for one in found.values():
            for ip in () if waits else one.ips:
                self._sharing.hold(asker, ip)
        kept = list(asker.held) if request.unclear else []
        for version, reasons in lacking.items():
            if reasons or waits or request.unclear:
                kept += self._stay(asker, version)
        self._sharing.settle(asker)
        return _explain(asker, lacking, kept)

    def _find(self, asker: Asker, version: int) -> _Found:
        """Find the addresses of a family that the service lacks."""
        requested = _of_version(asker.request.requested, version)
        if not requested:
            return self._find_any(asker, version)
        found = _Found()
        for ip in requested:
            if reason := self._why_not(asker, ip):
                found.lacking.append(reason)
            elif ip not in asker.held:
                found.ips.append(ip)
        return found

    def _stay(self, asker: Asker, version: int) -> list[IPAddress]:
        """Let the service keep addresses that it no longer asks for, until it gets the new ones."""
        taken = self._facts.aside.taken  # other stations have those
        current = [ip for ip in _of_version(asker.current, version) if ip not in taken]
        staying = [ip for ip in current if self._sharing.may_stay(asker, ip)]
        for ip in staying:
            self._sharing.hold(asker, ip)
        return staying

    def _why_not(self, asker: Asker, ip: IPAddress) -> str:
        """Return the reason against an address that the service asks for; empty for none."""
        if ip in asker.held:
            return f"another station has {ip}" if ip in self._facts.aside.taken else ""
        pool = self._pools.of(ip)
        if pool is None:
            return f"{ip} is in no pool"
        if asker.request.pools and pool.name not in asker.request.pools:
            return f"{ip} is in pool {pool.name}, which the service does not name"
        if not self._index.serves(pool.name, asker.request):
            return f"pool {pool.name} of {ip} does not serve this service"
        if ip in self._facts.node_ips:
            return f"{ip} is the address of a node"
        others = self._sharing.conflicting(asker, ip, self._sharing.owners_of(ip))
        return f"{ip} is in use by {', '.join(str(other) for other in others)}" if others else ""

    def _find_any(self, asker: Asker, version: int) -> _Found:
        request = asker.request
        if asker.has(version) or (not request.to_status and _written(request, version)):
            return _Found()
        pools = [pool for pool in self._candidates(request) if version in pool.versions]
        ip = next(self._suitable(asker, version, pools), None)
        if ip is not None:
            return _Found(ips=[ip])
        reasons = list(self._why_none(request, version, pools))
        return _Found(lacking=reasons, all_in_use=bool(pools))

    def _suitable(self, asker: Asker, version: int, pools: Sequence[Pool]) -> Iterator[IPAddress]:
        """Yield addresses for the service: of its sharing key, its last one, then free ones."""
        users, aside = self._index.users, self._facts.aside
        for ip in self._sharing.joinable(asker, version):
            if self._pools.of(ip) in pools and ip not in aside.taken:
                yield ip
        for ip in self._facts.freed.of(str(asker.request.owner)):
            unused = ip not in users and ip not in aside.avoided
            if ip.version == version and unused and self._pools.of(ip) in pools:
                yield ip
        for pool in pools:
            free = self._next_free(pool, version)
            if free is not None:
                yield free

    def _why_none(
        self, request: AddressRequest, version: int, pools: Sequence[Pool]
    ) -> Iterator[str]:
        known = [name for name in request.pools if name in self._pools.by_name]
        for name in request.pools:
            if name not in known:
                yield f"there is no pool {cut(name)}"
        if pools:
            names = ", ".join(pool.name for pool in pools)
            avoided = _of_version(self._facts.aside.avoided, version)
            count = sum(self._pools.of(ip) in pools for ip in avoided)
            others = f"; other stations have {count} that are set aside" if count else ""
            yield f"no IPv{version} address is free in pool {names}{others}"
        elif known:
            yield f"no pool of IPv{version} addresses among {', '.join(known)} serves it"
        elif not request.pools:
            yield f"no pool of IPv{version} addresses serves it"

    def _candidates(self, request: AddressRequest) -> Iterator[Pool]:
        if request.pools:
            by_name = self._pools.by_name
            found = [by_name[name] for name in request.pools if name in by_name]
        else:
            found = [pool for pool in self._pools.ordered if pool.spec.auto_assign]
        return (pool for pool in found if self._index.serves(pool.name, request))

    def _next_free(self, pool: Pool, version: int) -> IPAddress | None:
        """Return the next free address of a pool, also to others until somebody holds it."""
        users, facts, key = self._index.users, self._facts, (pool.name, version)
        if key not in self._free:
            again = (
                ip
                for ip in facts.aside.again
                if ip.version == version and ip not in users and self._pools.of(ip) is pool
            )
            cursor = facts.cursors.setdefault(key, Cursor())
            freed = facts.freed.within(pool.name)
            unused = pool.free(version, users, freed, cursor=cursor, released=facts.released)
            self._free[key] = free_of(unused, facts.aside, again=again)
        ip = self._next.get(key)
        if ip is None or ip in users:
            ip = self._next[key] = next(self._free[key], None)
        return ip

    def _holding(self, asker: Asker) -> HeldAddresses:
        request, index = asker.request, self._index
        shown = {*request.given, *(ip for ip in request.recorded if ip in request.external)}
        foreign = {ip for ip in shown if index.is_foreign(ip, request)}
        leaving = {
            ip
            for ip in shown - foreign - {*asker.held}
            if ip in asker.claimed and not self._sharing.holders_of(ip) | self._others(asker, ip)
        }
        return HeldAddresses(
            held=[ip for _, ip in sorted((_place(request, ip), ip) for ip in asker.held)],
            claimed=[ip for ip in asker.held if ip in asker.claimed or ip in index.by_hand],
            leaving=[ip for _, ip in sorted(((ip.version, int(ip)), ip) for ip in leaving)],
            up=[
                ip
                for ip in (*asker.held, *leaving)
                if ip in index.by_hand or (ip in asker.claimed and asker.claimed[ip].up)
            ],
            withdrawn=[ip for ip in request.given if ip not in foreign],
        )

    def _others(self, asker: Asker, ip: IPAddress) -> set[Owner]:
        """Return the other services with the address in their external IPs: it stays claimed."""
        return {*self._index.explicit.get(ip, ())} - {asker.request.owner}

    def _allocated(
        self, holdings: Sequence[tuple[Asker, HeldAddresses]]
    ) -> dict[IPAddress, Allocated]:
        found: dict[IPAddress, Allocated] = {}
        for asker, holding in holdings:
            for ip in (*holding.held, *holding.leaving):
                source = self._source(asker, ip, leaves=ip in holding.leaving)
                others = found[ip].owners if ip in found else ()
                owners = tuple(sorted((*others, asker.request.owner)))
                found[ip] = Allocated(source.interface, owners, source.pool)
        return found

    def _source(self, asker: Asker, ip: IPAddress, *, leaves: bool) -> Claimed:
        """Return the source of an address: the pool as it is now, else its claim."""
        pool = self._pools.of(ip)
        if pool is None or leaves:
            return asker.claimed[ip]
        claimed = asker.claimed.get(ip)
        if claimed is not None and prefix_length(claimed.interface) == pool.prefixlen(ip):
            return Claimed(claimed.interface, pool.name)  # a new interface object costs much time
        return Claimed(pool.interface(ip), pool.name)


def _explain(asker: Asker, lacking: Mapping[int, list[str]], kept: Sequence[IPAddress]) -> str:
    """Return a sentence about missing and kept addresses; empty when the request is met.

    With two families of which one is enough, one address meets the request.
    """
    request = asker.request
    needed = request.every_family or not asker.held
    found = [*request.unclear]
    for version, reasons in lacking.items():
        if needed or _of_version((*request.requested, *kept), version):
            found += reasons
    if found and request.together and not asker.held:
        found.append(
            "it gets no address until it can have one of each IP family (RequireDualStack)"
        )
    if found and kept:
        found.append(f"it keeps {', '.join(map(str, kept))} until then")
    return "; ".join(dict.fromkeys(found, 0))


def _upcoming(request: AddressRequest, holding: HeldAddresses) -> Upcoming | None:
    unclaimed = frozenset(ip for ip in holding.held if ip not in holding.claimed)
    if not unclaimed:
        return None
    update = plan_update(request, replace(holding, claimed=holding.held))
    return Upcoming(update, unclaimed) if update is not None else None


def age_of(request: AddressRequest) -> tuple[str, ...]:
    """Return the sort key of a service: of two, the older one gets an address first."""
    owner = request.owner
    return request.created, owner.kind, owner.namespace, owner.name, owner.uid


def _place(request: AddressRequest, ip: IPAddress) -> tuple[int, int, int]:
    """Return the sort key of a service's address: its family, then its place in the request."""
    asked = request.requested.index(ip) if ip in request.requested else len(request.requested)
    return request.families.index(ip.version), asked, int(ip)


def _written(request: AddressRequest, version: int) -> bool:
    """Whether a person wrote an address of that family into `spec.externalIPs`."""
    return any(ip.version == version and ip not in request.recorded for ip in request.external)


def _of_version(ips: Iterable[IPAddress], version: int) -> list[IPAddress]:
    return [ip for ip in ips if ip.version == version]
