"""Services that ask for addresses x pools x claims → which service has which address.

The truth is what claims and services say. A service has an address when a claim names it, or when
it says so itself and a pool agrees; whoever dies between two writes, the next pass reads the same
from what was written. New addresses are first claimed, then written to the service, and a service
is cleared before its claim goes. What a pool's status says is derived from all that and never read.

An address that a service has, it keeps while it asks for one, also when the pool shrinks or goes.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from extip.api.ipcontroller_v1 import IpClaim
from extip.plan.demand import Demand
from extip.plan.evidence import Context, Evidence, Strength
from extip.plan.link import IPAddress, IPInterface
from extip.plan.pools import Pool, Pools
from extip.plan.publication import Holding, Publication, publish
from extip.plan.requests import Owner, Requests


@dataclass(frozen=True, slots=True)
class Allocated:
    """An address that was given to services."""

    interface: IPInterface
    """As it goes on the interface."""
    owners: tuple[Owner, ...]
    pool: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Allocation:
    """The outcome of a pass."""

    allocated: Mapping[IPAddress, Allocated] = field(default_factory=dict)
    publications: tuple[Publication, ...] = ()
    """What to write to services; whatever it gives them is claimed already."""
    disowned: frozenset[tuple[Owner, IPAddress]] = frozenset()
    """External IPs that a service was given, has not any more, and is about to lose."""
    waiting: Mapping[Owner, str] = field(default_factory=dict)
    """Services that do not have what they ask for, with the reason."""
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
                wanted[found.interface] = tuple(sorted({*found.owners, *left}))
            elif left:
                wanted[interface] = left
        for found in self.allocated.values():
            wanted.setdefault(found.interface, found.owners)
        return Requests(wanted=wanted, malformed=requests.malformed)

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
        self._demands = demands
        self._pools = pools
        self._evidence = evidence
        self._context = context
        self._held: dict[Owner, list[IPAddress]] = {demand.owner: [] for demand in demands}
        self._holders: dict[IPAddress, list[Demand]] = {}
        self._free: dict[str, Iterator[IPAddress]] = {}

    def plan(self) -> Allocation:
        """Return the outcome."""
        evident = self._keep()
        waiting: dict[Owner, str] = {}
        for demand in self._demands:
            if reason := self._serve(demand, evident=demand.owner in evident):
                waiting[demand.owner] = reason
        holdings = [(demand, self._holding(demand)) for demand in self._demands]
        written = (
            publish(demand, holding)
            for demand, holding in holdings
            if not self._is_others(demand, evident=demand.owner in evident)
        )
        return Allocation(
            allocated=self._allocated(holdings),
            publications=tuple(one for one in written if one is not None),
            disowned=frozenset(
                (demand.owner, ip)
                for demand, holding in holdings
                for ip in demand.recorded
                if ip not in holding.held and ip not in holding.leaving
            ),
            waiting=waiting,
            users=self._evidence.users,
        )

    def _keep(self) -> set[Owner]:
        """Leave to services what they have; return those that have been given anything.

        Where two say that they have the same address, the surer one has it.
        """
        ranked: list[tuple[Strength, tuple[str, Owner], int, int, IPAddress, Demand]] = [
            (strength, _age(demand), ip.version, int(ip), ip, demand)
            for demand in self._demands
            for ip, strength in self._evidence.of(demand).items()
        ]
        ranked.sort()
        for _strength, _since, _version, _number, ip, demand in ranked:
            if self._fits(demand, ip) and not self._disagreeing(demand, ip, self._holding_it(ip)):
                self._hold(demand, ip)
        return {one[-1].owner for one in ranked}

    def _fits(self, demand: Demand, ip: IPAddress) -> bool:
        """Whether the service still asks for this very address or for any of the kind."""
        if ip.version not in demand.families or ip in self._held[demand.owner]:
            return False
        if requested := _of_version(demand.requested, ip.version):
            return ip in requested
        if _of_version(self._held[demand.owner], ip.version):
            return False
        if demand.pools and self._pool_name(demand, ip) not in demand.pools:
            return False
        return demand.to_status or ip in demand.external or not _written(demand, ip.version)

    def _pool_name(self, demand: Demand, ip: IPAddress) -> str:
        pool = self._pools.of(ip)
        if pool is not None:
            return pool.name
        claimed = self._evidence.claimed(demand.owner).get(ip)
        return "" if claimed is None else claimed.pool

    def _serve(self, demand: Demand, *, evident: bool) -> str:
        """Give the service what it lacks; return why it does not get it, or nothing."""
        if self._is_others(demand, evident=evident):
            return "its status.loadBalancer was written by another load balancer"
        reasons = [f"{text!r} is no IP address" for text in demand.unreadable]
        for version in demand.families:
            requested = _of_version(demand.requested, version)
            for ip in requested:
                reasons += self._give_requested(demand, ip)
            if not requested:
                reasons += self._give_any(demand, version)
        if demand.every_family or demand.requested or not self._held[demand.owner]:
            return "; ".join(reasons)
        return ""

    def _is_others(self, demand: Demand, *, evident: bool) -> bool:
        return demand.to_status and not evident and bool(demand.ingress)

    def _give_requested(self, demand: Demand, ip: IPAddress) -> Iterator[str]:
        if ip in self._held[demand.owner]:
            return
        pool = self._pools.of(ip)
        if pool is None:
            yield f"{ip} is in no pool"
        elif demand.pools and pool.name not in demand.pools:
            yield f"{ip} is in pool {pool.name}, which the service does not name"
        elif not self._evidence.serves(pool.name, demand):
            yield f"pool {pool.name} of {ip} does not serve this service"
        elif ip in self._context.node_ips:
            yield f"{ip} is the address of a node"
        elif others := self._disagreeing(demand, ip, self._having(ip)):
            yield f"{ip} is in use by {', '.join(str(other) for other in others)}"
        else:
            self._hold(demand, ip)

    def _give_any(self, demand: Demand, version: int) -> Iterator[str]:
        if _of_version(self._held[demand.owner], version):
            return
        if not demand.to_status and _written(demand, version):
            return
        pools = [pool for pool in self._candidates(demand) if pool.version == version]
        for pool in pools:
            ip = next(self._free_of(pool), None)
            if ip is not None:
                self._hold(demand, ip)
                return
        names = ", ".join(pool.name for pool in pools)
        if pools:
            yield f"no IPv{version} address is free in pool {names}"
        elif demand.pools:
            yield f"no pool of IPv{version} addresses among {', '.join(demand.pools)} serves it"
        else:
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
            self._free[pool.name] = pool.free(self._evidence.users, self._context.freed)
        return self._free[pool.name]

    def _hold(self, demand: Demand, ip: IPAddress) -> None:
        self._held[demand.owner].append(ip)
        self._holders.setdefault(ip, []).append(demand)
        self._evidence.users[ip] = demand.owner

    def _holding_it(self, ip: IPAddress) -> set[Owner]:
        return {holder.owner for holder in self._holders.get(ip, ())}

    def _having(self, ip: IPAddress) -> set[Owner]:
        """Return who has the address in any way: allocated, written by hand, or in its status."""
        written = self._evidence.explicit.get(ip, ())
        return self._holding_it(ip) | {*written} | self._evidence.shown.get(ip, set())

    def _disagreeing(self, demand: Demand, ip: IPAddress, others: set[Owner]) -> list[Owner]:
        """Return those of the others that do not share the address with the service.

        They share it when each of them asks for this very address and no port is the same.
        """
        asking = {holder.owner for holder in self._holders.get(ip, ()) if _asks(holder, ip)}
        asking.update(self._evidence.explicit.get(ip, ()))
        ports = self._context.ports
        return sorted(
            other
            for other in others - {demand.owner}
            if not _asks(demand, ip) or other not in asking or ports(other) & ports(demand.owner)
        )

    def _holding(self, demand: Demand) -> Holding:
        held = self._held[demand.owner]
        evidence, owner = self._evidence, demand.owner
        shown = {*demand.given, *(ip for ip in demand.recorded if ip in demand.external)}
        leaving = {
            ip
            for ip in shown & evidence.claimed(owner).keys()
            if ip not in held and not self._holders.get(ip) and not evidence.is_foreign(ip, demand)
        }
        return Holding(
            held=[ip for _, ip in sorted((_place(demand, ip), ip) for ip in held)],
            claimed=[ip for ip in held if evidence.is_claimed(ip, owner)],
            leaving=[ip for _, ip in sorted(((ip.version, int(ip)), ip) for ip in leaving)],
            withdrawn=[ip for ip in demand.given if not evidence.is_foreign(ip, demand)],
        )

    def _allocated(self, holdings: Sequence[tuple[Demand, Holding]]) -> dict[IPAddress, Allocated]:
        found: dict[IPAddress, Allocated] = {}
        for demand, holding in holdings:
            claimed = self._evidence.claimed(demand.owner)
            for ip in (*holding.held, *holding.leaving):
                pool = None if ip in holding.leaving else self._pools.of(ip)
                interface = claimed[ip].interface if pool is None else pool.interface(ip)
                name = claimed[ip].pool if pool is None else pool.name
                known = found.get(ip)
                owners = () if known is None else known.owners
                found[ip] = Allocated(interface, tuple(sorted((*owners, demand.owner))), name)
        return found


def _age(demand: Demand) -> tuple[str, Owner]:
    return demand.created, demand.owner


def _place(demand: Demand, ip: IPAddress) -> tuple[int, int, int]:
    """Sort addresses of a service: in order of its families, then as it asks for them."""
    asked = demand.requested.index(ip) if ip in demand.requested else len(demand.requested)
    return demand.families.index(ip.version), asked, int(ip)


def _asks(demand: Demand, ip: IPAddress) -> bool:
    """Whether the service names the address, in its annotation or among its external IPs."""
    return ip in demand.requested or (ip in demand.external and ip not in demand.recorded)


def _written(demand: Demand, version: int) -> bool:
    """Whether a person wrote an address of that family into `spec.externalIPs`."""
    return any(ip.version == version and ip not in demand.recorded for ip in demand.external)


def _of_version(ips: Iterable[IPAddress], version: int) -> list[IPAddress]:
    return [ip for ip in ips if ip.version == version]
