"""Allocation: address requests x pools x claims → the addresses of each service. Pure.

Claims and services are the truth. A service has an address when a claim names the service, or when
the service shows the address and a pool agrees. So after a crash between two writes the next pass
reads the same. A new address is claimed before it is written to the service, and removed from the
service before its claim is deleted. The status of a pool is derived from that, and never read. An
address that the last plan gave stays with its service until the claim is known.

A service keeps its address while it asks for one, also when the pool shrinks or is deleted. When it
asks for another address, it keeps the old one until it can get the new one.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import datetime

from extip.api.ipcontroller_v1 import IpClaim
from extip.net.interfaces import IPAddress, prefix_length
from extip.pools.policy.address_request import AddressRequest, age_of, is_written_by_hand, ways_in
from extip.pools.policy.allocation_index import AllocationIndex, AllocationSource, Claimed, Facts
from extip.pools.policy.free_addresses import FreeAddresses
from extip.pools.policy.outcome import Allocated, Allocation, upcoming
from extip.pools.policy.pools import Pool, Pools
from extip.pools.policy.port_sharing import Asker, Sharing
from extip.pools.policy.service_update import HeldAddresses, end_of, plan_update
from extip.pools.policy.unmet import Found, explain, of_version, why_none
from extip.services.policy.requests import Owner


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
        self._free = FreeAddresses(pools, index.users, facts)
        self._lacking: list[Owner] = []

    def plan(self) -> Allocation:
        """Return the result."""
        self._keep()
        self._keep_decided()
        waiting = {
            asker.request.owner: reason for asker in self._askers if (reason := self._serve(asker))
        }
        self._free.give_back()
        holdings = [(asker, self._holding(asker)) for asker in self._askers]
        ours = [
            (asker.request, holding) for asker, holding in holdings if not asker.is_foreign_balancer
        ]
        written = (plan_update(request, holding) for request, holding in ours)
        later = ((request.owner, upcoming(request, holding)) for request, holding in ours)
        return Allocation(
            allocated=self._allocated(holdings),
            service_updates=tuple(one for one in written if one is not None),
            upcoming={owner: one for owner, one in later if one is not None},
            disowned=frozenset(
                (asker.request.owner, ip)
                for asker, holding in holdings
                for ip in {*asker.request.recorded}.difference(holding.held, holding.leaving)
            ),
            waiting=waiting,
            lacking=frozenset(self._lacking),
            arriving={asker.request.owner: one.next_end for asker, one in holdings if one.replaced},
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
            if source is AllocationSource.SHOWN and ip in asker.named:
                others |= {*self._index.explicit.get(ip, ())}  # it may have lost it to them
            if not self._fits(asker, ip):
                if source is not AllocationSource.INHERITED:
                    self._sharing.set_aside(asker, ip)
            elif not self._sharing.conflicting(asker, ip, others):
                self._sharing.hold(asker, ip)

    def _keep_decided(self) -> None:
        """Let services keep the addresses of the last plan, as if they were claimed.

        An older service that comes later gets another address. Otherwise the claim that is being
        made would be deleted, and an address would have been up for nothing.
        """
        for asker in self._askers if self._facts.decided else ():
            decided = self._facts.decided.get(asker.request.owner, frozenset())
            new = decided.difference(asker.held)
            may = sorted((ip.version, int(ip), ip) for ip in new if self._may_have(asker, ip))
            families = {ip.version for ip in asker.held}.union(version for version, _, _ in may)
            if asker.request.together and not families.issuperset(asker.request.families):
                continue
            for version, _, ip in may:
                if ip in asker.named or asker.lacks(version) > 0:
                    self._sharing.hold(asker, ip)

    def _may_have(self, asker: Asker, ip: IPAddress) -> bool:
        """Whether the service could be given the address of the last plan now."""
        request, pool, sharing = asker.request, self._pools.of(ip), self._sharing
        waits = request.unproxied or request.unclear or asker.is_foreign_balancer
        if waits or pool is None or not self._fits(asker, ip):
            return False
        if ip in self._index.users and (
            not sharing.holders_of(ip) or sharing.conflicting(asker, ip, sharing.owners_of(ip))
        ):
            return False
        return not self._why_not(asker, ip) if ip in asker.named else self._gives(pool, request)

    def _fits(self, asker: Asker, ip: IPAddress) -> bool:
        """Whether the service still asks for this address, or for any address like it."""
        request = asker.request
        if ip.version not in request.families:
            return False
        if any(one.version == ip.version for one in request.requested):
            return ip in asker.named
        if ip in self._facts.aside.taken:
            return False
        if asker.lacks(ip.version) <= 0 or self._is_drained(ip):
            return False
        if request.pools and self._pool_name(asker, ip) not in request.pools:
            return False
        return (
            request.to_status
            or not is_written_by_hand(request, ip.version)
            or request.has_external(ip)
        )

    def _is_drained(self, ip: IPAddress) -> bool:
        pool = self._pools.of(ip)
        return pool is not None and pool.is_draining

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
            one.lacking
            and not one.is_partial
            and not of_version((*asker.current, *asker.held), version)
            for version, one in found.items()
        )
        for one in found.values():
            for ip in () if waits else one.ips:
                self._sharing.hold(asker, ip)
        kept = list(asker.held) if request.unclear else []
        for version, reasons in lacking.items():
            if reasons or waits or request.unclear:
                kept += self._stay(asker, version)
        self._sharing.settle(asker)
        return explain(asker, lacking, kept)

    def _find(self, asker: Asker, version: int) -> Found:
        """Find the addresses of a family that the service lacks."""
        requested = of_version(asker.request.requested, version)
        if not requested:
            return self._find_any(asker, version)
        found = Found()
        for ip in requested:
            if reason := self._why_not(asker, ip):
                found.lacking.append(reason)
            elif ip not in asker.held:
                found.ips.append(ip)
        return found

    def _stay(self, asker: Asker, version: int) -> list[IPAddress]:
        """Let the service keep addresses that it no longer asks for, until it gets the new ones."""
        taken = self._facts.aside.taken  # other stations have those
        current = [ip for ip in of_version(asker.current, version) if ip not in taken]
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
        if reason := self._why_not_of(pool, asker, ip):
            return reason
        if ip in self._facts.node_ips:
            return f"{ip} is that of a node, a gateway or an API server, or a cluster IP"
        others = self._sharing.conflicting(asker, ip, self._sharing.owners_of(ip))
        return f"{ip} is in use by {', '.join(str(other) for other in others)}" if others else ""

    def _why_not_of(self, pool: Pool, asker: Asker, ip: IPAddress) -> str:
        if asker.request.pools and pool.name not in asker.request.pools:
            return f"{ip} is in pool {pool.name}, which the service does not name"
        if not self._index.serves(pool.name, asker.request):
            return f"pool {pool.name} of {ip} does not serve this service"
        if not pool.is_open and ip not in asker.current:
            return f"{ip} is in pool {pool.name}, which gives no new addresses"
        return ""

    def _find_any(self, asker: Asker, version: int) -> Found:
        request = asker.request
        lacks = asker.lacks(version)
        if lacks <= 0 or (not request.to_status and is_written_by_hand(request, version)):
            return Found()
        pools = [pool for pool in self._candidates(request) if version in pool.versions]
        ips = _first(lacks, self._suitable(asker, version, pools), but=asker.held)
        if len(ips) == lacks:
            return Found(ips=ips)
        reasons = list(why_none(request, version, pools, self._pools, self._facts.aside))
        if has := request.count - lacks + len(ips):
            reasons.append(f"it has {has} of {request.count} IPv{version} addresses")
        return Found(ips=ips, lacking=reasons, all_in_use=bool(pools))

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
            yield from self._free.within(pool, version)

    def _candidates(self, request: AddressRequest) -> Iterator[Pool]:
        by_name = self._pools.by_name
        named = [by_name[name] for name in request.pools if name in by_name]
        known = named if request.pools else self._pools.ordered
        return (pool for pool in known if self._gives(pool, request))

    def _gives(self, pool: Pool, request: AddressRequest) -> bool:
        """Whether the pool gives new addresses to the service."""
        asked = pool.name in request.pools if request.pools else pool.spec.auto_assign
        return asked and pool.is_open and self._index.serves(pool.name, request)

    def _holding(self, asker: Asker) -> HeldAddresses:
        request, index = asker.request, self._index
        shown = {*request.given, *{*request.recorded}.intersection(request.external)}
        foreign = {ip for ip in shown if index.is_foreign(ip, request)}
        leaving = {
            ip
            for ip in shown - foreign - {*asker.held}
            if ip in asker.claimed and not self._sharing.holders_of(ip) | self._others(asker, ip)
        }
        return HeldAddresses(
            held=asker.in_order(),
            claimed=[ip for ip in asker.held if ip in asker.claimed or ip in index.by_hand],
            claimed_anew=[ip for ip in asker.held if ip in shown and self._is_to_claim(ip)],
            leaving=[ip for _, ip in sorted(((ip.version, int(ip)), ip) for ip in leaving)],
            up=[
                ip
                for ip in (*asker.held, *leaving)
                if ip in index.by_hand or (ip in asker.claimed and asker.claimed[ip].up)
            ],
            lasting={ip: end for ip in leaving if (end := self._lasts_until(asker, ip))},
            withdrawn=[ip for ip in request.given if ip not in foreign],
        )

    def _is_to_claim(self, ip: IPAddress) -> bool:
        """Whether an address gets a claim again: it has none, and nothing speaks against it."""
        return ip not in self._index.claimed_by_some and ip not in self._facts.node_ips

    def _lasts_until(self, asker: Asker, ip: IPAddress) -> datetime | None:
        """Return until when an address of a draining pool stays beside those that replace it."""
        pool, now = self._pools.of(ip), self._facts.now
        if pool is None or not pool.is_draining or now is None:
            return None
        successors = (asker.claimed.get(other) for other in of_version(asker.held, ip.version))
        since = [one.since for one in successors if one is not None and one.up and one.since]
        return end_of(since, pool.spec.drain_seconds, now=now)

    def _others(self, asker: Asker, ip: IPAddress) -> set[Owner]:
        """Return the other services with the address in their external IPs: it stays claimed."""
        return {*self._index.explicit.get(ip, ())} - {asker.request.owner}

    def _allocated(
        self, holdings: Sequence[tuple[Asker, HeldAddresses]]
    ) -> dict[IPAddress, Allocated]:
        found: dict[IPAddress, Allocated] = {}
        for asker, holding in holdings:  # the youngest is the last one: it is told as the user
            self._index.users |= dict.fromkeys(holding.held, asker.request.owner)
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


def _first(most: int, ips: Iterable[IPAddress], *, but: Collection[IPAddress]) -> list[IPAddress]:
    """Return the first addresses, each once."""
    found: dict[IPAddress, None] = {}
    for ip in ips:
        if ip not in but:
            found[ip] = None
        if len(found) == most:
            break
    return list(found)
