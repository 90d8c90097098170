"""Services that ask for addresses x pools x claims → which service has which address.

The truth is what claims and services say. A service has an address when a claim names it, or when
it says so itself and a pool agrees; whoever dies between two writes, the next pass reads the same
from what was written. New addresses are first claimed, then written to the service, and a service
is cleared before its claim goes. What a pool's status says is derived from all that and never read.

An address that a service has, it keeps while it asks for one, also when the pool shrinks or goes;
and when it asks for another one, until it can be given that.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from extip.api.ipcontroller_v1 import IpClaim
from extip.plan.demand import Demand, ways_in
from extip.plan.evidence import Claimed, Context, Evidence, Strength
from extip.plan.link import IPAddress, IPInterface
from extip.plan.pools import Pool, Pools
from extip.plan.publication import Holding, Publication, publish
from extip.plan.requests import Owner, Ports, Requests, cut
from extip.plan.set_aside import free_of
from extip.plan.sharing import Case, Sharing


@dataclass(frozen=True, slots=True)
class Allocated:
    """An address that was given to services."""

    interface: IPInterface
    """As it goes on the interface."""
    owners: tuple[Owner, ...]
    pool: str


@dataclass(frozen=True, slots=True)
class Upcoming:
    """A write that waits for claims."""

    publication: Publication
    unclaimed: frozenset[IPAddress]


@dataclass(frozen=True, slots=True, kw_only=True)
class Allocation:
    """The outcome of a pass."""

    allocated: Mapping[IPAddress, Allocated] = field(default_factory=dict)
    publications: tuple[Publication, ...] = ()
    """What to write to services; whatever it gives them is claimed already."""
    upcoming: Mapping[Owner, Upcoming] = field(default_factory=dict)
    """What to write to services once the last of their addresses is claimed."""
    disowned: frozenset[tuple[Owner, IPAddress]] = frozenset()
    """External IPs that a service was given, has not any more, and is about to lose."""
    waiting: Mapping[Owner, str] = field(default_factory=dict)
    """Services that do not have what they ask for: why, and what they keep until then."""
    arriving: bool = False
    """A service shows an address only until that which replaces it is up."""
    ports: Mapping[Owner, Ports] = field(default_factory=dict)
    """Of the services that share an address."""
    users: Mapping[IPAddress, object] = field(default_factory=dict)
    """Every address that is not to be given to anybody else; the text of the value says who has
    it."""

    def extend(self, requests: Requests) -> Requests:
        """Return the requests with what was allocated; an IP has one prefix length, its pool's."""
        if not self.allocated and not self.disowned:
            return requests
        wanted: dict[IPInterface, tuple[Owner, ...]] = {}
        for interface, owners in requests.wanted.items():
            left = owners
            if self.disowned:
                left = tuple(
                    owner for owner in owners if (owner, interface.ip) not in self.disowned
                )
            found = self.allocated.get(interface.ip)
            if found is not None:
                sharing = sorted({*found.owners, *left})
                wanted[found.interface] = tuple(self._with_ports(sharing))
            elif left:
                wanted[interface] = left
        for found in self.allocated.values():
            wanted.setdefault(found.interface, tuple(self._with_ports(found.owners)))
        return replace(requests, wanted=wanted)

    def _with_ports(self, owners: Sequence[Owner]) -> Iterator[Owner]:
        """Yield those who share an address with the ports that they are to be recorded with."""
        for owner in owners:
            ports = self.ports.get(owner) if len(owners) > 1 else None
            yield replace(owner, ports=ports) if ports else owner

    def pools(self) -> dict[IPInterface, str]:
        """Return the pool of each address that was given."""
        return {found.interface: found.pool for found in self.allocated.values()}


def plan_allocation(
    demands: Iterable[Demand], pools: Pools, claims: Iterable[IpClaim], context: Context
) -> Allocation:
    """Plan for all services at once; in which order they come does not matter.

    Once the claims are there and the publications written, planning again gives the same addresses
    and no more publications.
    """
    asking = sorted(demands, key=_age)
    if not asking and not pools.ordered:
        return Allocation()
    return _Planner(asking, pools, Evidence(asking, pools, claims, context), context).plan()


class _Planner:
    """One pass: who has what already, what is new, and what follows from it."""

    def __init__(
        self, demands: Sequence[Demand], pools: Pools, evidence: Evidence, context: Context
    ) -> None:
        self._pools = pools
        self._evidence = evidence
        self._context = context
        self._cases = [
            Case(demand, evidence.claimed(demand.owner), evidence.of(demand)) for demand in demands
        ]
        self._sharing = Sharing(evidence, context.ports)
        self._free: dict[str, Iterator[IPAddress]] = {}

    def plan(self) -> Allocation:
        """Return the outcome."""
        self._keep()
        waiting = {
            case.demand.owner: reason for case in self._cases if (reason := self._serve(case))
        }
        holdings = [(case, self._holding(case)) for case in self._cases]
        ours = [(case.demand, holding) for case, holding in holdings if not case.is_others]
        written = (publish(demand, holding) for demand, holding in ours)
        upcoming = ((demand.owner, _upcoming(demand, holding)) for demand, holding in ours)
        return Allocation(
            allocated=self._allocated(holdings),
            publications=tuple(one for one in written if one is not None),
            upcoming={owner: one for owner, one in upcoming if one is not None},
            disowned=frozenset(
                (case.demand.owner, ip)
                for case, holding in holdings
                for ip in case.demand.recorded
                if ip not in holding.held and ip not in holding.leaving
            ),
            waiting=waiting,
            arriving=any(holding.replaced for _, holding in holdings),
            ports=self._sharing.ports(),
            users=self._evidence.users,
        )

    def _keep(self) -> None:
        """Leave to services what they have.

        Where two say that they have the same address, the surer one has it, then the one that asks
        for no port which the other had, then the older one.
        """
        intruded = self._evidence.intruded
        ranked = [
            (strength, bool(intruded(case.demand.owner, ip)), age, ip.version, int(ip), ip)
            for age, case in enumerate(self._cases)
            for ip, strength in case.evident.items()
        ]
        ranked.sort()
        for strength, intrudes, age, _version, _number, ip in ranked:
            case = self._cases[age]
            others = self._sharing.holding(ip)
            if intrudes:  # also on who wrote the address into its external IPs
                others |= intruded(case.demand.owner, ip)
            if strength is Strength.SHOWN and ip in case.demand.requested:
                others |= {*self._evidence.explicit.get(ip, ())}  # it may have lost it to them
            if not self._fits(case, ip):
                if strength is not Strength.INHERITED:
                    self._sharing.set_aside(case, ip)
            elif not self._sharing.disagreeing(case, ip, others):
                self._sharing.hold(case, ip)

    def _fits(self, case: Case, ip: IPAddress) -> bool:
        """Whether the service still asks for this very address, or for any of the kind."""
        demand = case.demand
        if ip.version not in demand.families:
            return False
        if requested := _of_version(demand.requested, ip.version):
            return ip in requested
        if ip in self._context.aside.taken:
            return False
        if case.has(ip.version):
            return False
        if demand.pools and self._pool_name(case, ip) not in demand.pools:
            return False
        return demand.to_status or ip in demand.external or not _written(demand, ip.version)

    def _pool_name(self, case: Case, ip: IPAddress) -> str:
        pool = self._pools.of(ip)
        if pool is not None:
            return pool.name
        return case.claimed[ip].pool if ip in case.claimed else ""

    def _serve(self, case: Case) -> str:
        """Give the service what it lacks; return why it does not get it, or nothing."""
        if case.is_others:
            return (
                f"{', '.join(ways_in(case.demand))} in its status.loadBalancer is of another load "
                "balancer, and no pool has it: clear the status to have an address of a pool, or "
                "have only one of the two serve it (loadBalancerClass)"
            )
        demand = case.demand
        if demand.unproxied:
            return demand.unproxied
        lacking: dict[int, list[str]] = {}
        for version in demand.families:
            lacking[version] = [] if demand.unclear else list(self._give(case, version))
        kept = list(case.held) if demand.unclear else []
        for version, reasons in lacking.items():
            if reasons or demand.unclear:
                kept += self._stay(case, version)
        self._sharing.settle(case)
        return _told(case, lacking, kept)

    def _give(self, case: Case, version: int) -> Iterator[str]:
        """Give what is asked for of a family; yield why not."""
        requested = _of_version(case.demand.requested, version)
        for ip in requested:
            yield from self._give_requested(case, ip)
        if not requested:
            yield from self._give_any(case, version)

    def _stay(self, case: Case, version: int) -> list[IPAddress]:
        """Leave to the service what it has, and does not ask for any more, until it gets that."""
        taken = self._context.aside.taken  # by other stations: it does not have those
        evident = [ip for ip in _of_version(case.evident, version) if ip not in taken]
        staying = [ip for ip in evident if self._sharing.may_stay(case, ip)]
        for ip in staying:
            self._sharing.hold(case, ip)
        return staying

    def _give_requested(self, case: Case, ip: IPAddress) -> Iterator[str]:
        if ip in case.held:
            if ip in self._context.aside.taken:
                yield f"another station has {ip}"
            return
        pool = self._pools.of(ip)
        if pool is None:
            yield f"{ip} is in no pool"
        elif case.demand.pools and pool.name not in case.demand.pools:
            yield f"{ip} is in pool {pool.name}, which the service does not name"
        elif not self._evidence.serves(pool.name, case.demand):
            yield f"pool {pool.name} of {ip} does not serve this service"
        elif ip in self._context.node_ips:
            yield f"{ip} is the address of a node"
        elif others := self._sharing.disagreeing(case, ip, self._sharing.having(ip)):
            yield f"{ip} is in use by {', '.join(str(other) for other in others)}"
        else:
            self._sharing.hold(case, ip)

    def _give_any(self, case: Case, version: int) -> Iterator[str]:
        demand = case.demand
        if case.has(version) or (not demand.to_status and _written(demand, version)):
            return
        pools = [pool for pool in self._candidates(demand) if pool.version == version]
        for pool in pools:
            ip = next(self._free_of(pool), None)
            if ip is not None:
                self._sharing.hold(case, ip)
                return
        yield from self._why_none(demand, version, pools)

    def _why_none(self, demand: Demand, version: int, pools: Sequence[Pool]) -> Iterator[str]:
        known = [name for name in demand.pools if name in self._pools.by_name]
        for name in demand.pools:
            if name not in known:
                yield f"there is no pool {cut(name)}"
        if pools:
            names = ", ".join(pool.name for pool in pools)
            count = sum(self._pools.of(ip) in pools for ip in self._context.aside.avoided)
            others = f"; other stations have {count} that are set aside" if count else ""
            yield f"no IPv{version} address is free in pool {names}{others}"
        elif known:
            yield f"no pool of IPv{version} addresses among {', '.join(known)} serves it"
        elif not demand.pools:
            yield f"no pool of IPv{version} addresses serves it"

    def _candidates(self, demand: Demand) -> Iterator[Pool]:
        if demand.pools:
            by_name = self._pools.by_name
            found = [by_name[name] for name in demand.pools if name in by_name]
        else:
            found = [pool for pool in self._pools.ordered if pool.spec.auto_assign]
        return (pool for pool in found if self._evidence.serves(pool.name, demand))

    def _free_of(self, pool: Pool) -> Iterator[IPAddress]:
        if pool.name not in self._free:
            users, aside = self._evidence.users, self._context.aside
            again = (ip for ip in aside.again if ip not in users and self._pools.of(ip) is pool)
            unused = pool.free(users, self._context.freed)
            self._free[pool.name] = free_of(unused, aside, again=again)
        return self._free[pool.name]

    def _holding(self, case: Case) -> Holding:
        demand, evidence = case.demand, self._evidence
        shown = {*demand.given, *(ip for ip in demand.recorded if ip in demand.external)}
        foreign = {ip for ip in shown if evidence.is_foreign(ip, demand)}
        leaving = {
            ip
            for ip in shown - foreign - {*case.held}
            if ip in case.claimed and not self._sharing.holding(ip) | self._others(case, ip)
        }
        return Holding(
            held=[ip for _, ip in sorted((_place(demand, ip), ip) for ip in case.held)],
            claimed=[ip for ip in case.held if ip in case.claimed or ip in evidence.by_hand],
            leaving=[ip for _, ip in sorted(((ip.version, int(ip)), ip) for ip in leaving)],
            up=[
                ip
                for ip in (*case.held, *leaving)
                if ip in evidence.by_hand or (ip in case.claimed and case.claimed[ip].up)
            ],
            withdrawn=[ip for ip in demand.given if ip not in foreign],
        )

    def _others(self, case: Case, ip: IPAddress) -> set[Owner]:
        """Return who else wrote the address into its external IPs, so that it stays claimed."""
        return {*self._evidence.explicit.get(ip, ())} - {case.demand.owner}

    def _allocated(self, holdings: Sequence[tuple[Case, Holding]]) -> dict[IPAddress, Allocated]:
        found: dict[IPAddress, Allocated] = {}
        for case, holding in holdings:
            for ip in (*holding.held, *holding.leaving):
                source = self._source(case, ip, leaves=ip in holding.leaving)
                others = found[ip].owners if ip in found else ()
                owners = tuple(sorted((*others, case.demand.owner)))
                found[ip] = Allocated(source.interface, owners, source.pool)
        return found

    def _source(self, case: Case, ip: IPAddress, *, leaves: bool) -> Claimed:
        """Return where an address comes from: the pool as it is now, else what its claim says."""
        pool = self._pools.of(ip)
        if pool is None or leaves:
            return case.claimed[ip]
        claimed = case.claimed.get(ip)
        if claimed is not None and claimed.interface.network.prefixlen == pool.prefixlen:
            return Claimed(claimed.interface, pool.name)  # making an interface takes long
        return Claimed(pool.interface(ip), pool.name)


def _told(case: Case, lacking: Mapping[int, list[str]], kept: Sequence[IPAddress]) -> str:
    """Say what the service lacks, and what it keeps meanwhile; nothing when it has what it needs.

    Of two families that are both welcome, one is enough.
    """
    demand = case.demand
    needed = demand.every_family or not case.held
    found = [*demand.unclear]
    for version, reasons in lacking.items():
        if needed or _of_version((*demand.requested, *kept), version):
            found += reasons
    if found and kept:
        found.append(f"it keeps {', '.join(map(str, kept))} until then")
    return "; ".join(dict.fromkeys(found, 0))


def _upcoming(demand: Demand, holding: Holding) -> Upcoming | None:
    unclaimed = frozenset(ip for ip in holding.held if ip not in holding.claimed)
    if not unclaimed:
        return None
    publication = publish(demand, replace(holding, claimed=holding.held))
    return Upcoming(publication, unclaimed) if publication is not None else None


def _age(demand: Demand) -> tuple[str, Owner]:
    return demand.created, demand.owner


def _place(demand: Demand, ip: IPAddress) -> tuple[int, int, int]:
    """Sort addresses of a service: in order of its families, then as it asks for them."""
    asked = demand.requested.index(ip) if ip in demand.requested else len(demand.requested)
    return demand.families.index(ip.version), asked, int(ip)


def _written(demand: Demand, version: int) -> bool:
    """Whether a person wrote an address of that family into `spec.externalIPs`."""
    return any(ip.version == version and ip not in demand.recorded for ip in demand.external)


def _of_version(ips: Iterable[IPAddress], version: int) -> list[IPAddress]:
    return [ip for ip in ips if ip.version == version]
