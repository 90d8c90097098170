"""Claims and services → who has which address, as far as they say so."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum

from extip.api.ipcontroller_v1 import IpClaim
from extip.plan.claims import parse_cidr, pool_of, recorded_ports
from extip.plan.demand import Demand
from extip.plan.link import IPAddress, IPInterface
from extip.plan.pools import Pools
from extip.plan.requests import Owner, Ports, Requests
from extip.plan.set_aside import NOTHING, Aside

_NOTHING: Mapping[IPAddress, "Claimed"] = {}


class Strength(IntEnum):
    """How sure it is that a service has an address; the smallest wins."""

    CLAIMED_AND_SHOWN = 0
    CLAIMED = 1
    SHOWN = 2
    INHERITED = 3
    """Claimed for a service of the same name that is no more."""


def _no_ports(_owner: Owner) -> Ports:
    return frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What else decides about addresses."""

    requests: Requests = field(default_factory=Requests)
    """External IPs that services have by writing them."""
    node_ips: frozenset[IPAddress] = frozenset()
    namespaces: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Labels of the namespaces."""
    freed: Iterable[IPAddress] = ()
    """Addresses that were given back lately, the oldest first: used again last, and in order."""
    aside: Aside = NOTHING
    """Addresses that other stations have."""
    ports: Callable[[Owner], Ports] = _no_ports
    """The ports of a service."""


@dataclass(frozen=True, slots=True)
class Claimed:
    """An address that is claimed for a service."""

    interface: IPInterface
    pool: str
    """The claim's label; empty when the address was not allocated."""
    up: bool = False
    """A node has reported that it is up."""


class Evidence:
    """An index of what is there before a pass; only `users` grows during it."""

    def __init__(
        self, demands: Sequence[Demand], pools: Pools, claims: Iterable[IpClaim], context: Context
    ) -> None:
        self.users: dict[IPAddress, object] = dict.fromkeys(context.node_ips, "a node")
        """Addresses that are not to be given to anybody else, with who has them."""
        self.explicit = {i.ip: owners for i, owners in context.requests.wanted.items()}
        """Who wrote which address into `spec.externalIPs`."""
        self.shown: dict[IPAddress, set[Owner]] = {}
        """Which services have it in their status."""
        self._pools = pools
        self._context = context
        self.by_hand: set[IPAddress] = set()
        """Addresses that somebody claims by hand, for whoever wants them."""
        self._claimed: dict[tuple[str, str, str], dict[IPAddress, Claimed]] = {}
        self._by_name: dict[tuple[str, str], dict[IPAddress, Claimed]] = {}
        self._recorded: dict[IPAddress, Mapping[tuple[str, int], str]] = {}
        self._sharing: dict[IPAddress, dict[str, Owner]] = {}
        """Who shares an address of which it is recorded who has which port, by name."""
        for claim in claims:
            self._read(claim)
        for ip in self._recorded:
            self._sharing[ip] = {owner.name: owner for owner in self.explicit.get(ip, ())}
        for ip, owners in self.explicit.items():
            self.users[ip] = owners[0]
        for demand in demands:
            for ip in demand.given:
                self.shown.setdefault(ip, set()).add(demand.owner)
                self.users[ip] = demand.owner
            for ip in self._recorded.keys() & self.claimed(demand.owner).keys():
                self._sharing[ip][demand.owner.name] = demand.owner

    def claimed(self, owner: Owner) -> Mapping[IPAddress, Claimed]:
        """Return the addresses that are claimed for the service, or for one before it.

        A name is that of one service at a time: whose uid is another is gone.
        """
        return self._by_name.get((owner.namespace, owner.name), _NOTHING)

    def of(self, demand: Demand) -> dict[IPAddress, Strength]:
        """Return the addresses that the service has been given, before anybody judges them."""
        if not demand.families:
            return {}
        shown = {*demand.given} if demand.to_status else set[IPAddress]()
        if demand.to_external_ips:
            shown |= {*demand.external}
        written = {*demand.external} - {*demand.recorded}  # claimed for that reason alone
        owner = demand.owner
        own = self._claimed.get((owner.namespace, owner.name, owner.uid), _NOTHING)
        found = {
            ip: Strength.CLAIMED_AND_SHOWN if ip in shown else Strength.CLAIMED
            for ip, claimed in own.items()
            if (claimed.pool or self._pools.of(ip)) and ip not in written
        }
        for ip in self.claimed(owner).keys() - own.keys() - written - shown:
            if self._would_give(ip, demand):
                found[ip] = Strength.INHERITED
        for ip in shown:
            pool = self._pools.of(ip)
            if ip not in found and pool is not None and self.serves(pool.name, demand):
                found[ip] = Strength.SHOWN
        return found

    def intruded(self, owner: Owner, ip: IPAddress) -> set[Owner]:
        """Return who shares the address and had a port, and has it, that the service asks for."""
        recorded, sharing = self._recorded.get(ip), self._sharing.get(ip, {})
        if not recorded or owner.name not in sharing:
            return set()
        ports = self._context.ports
        names = ((port, recorded.get(port, "")) for port in ports(owner))
        return {
            sharing[name]
            for port, name in names
            if name != owner.name and name in sharing and port in ports(sharing[name])
        }

    def serves(self, pool: str, demand: Demand) -> bool:
        """Whether the pool's selectors match the service."""
        labels = self._context.namespaces.get(demand.owner.namespace, {})
        return self._pools.by_name[pool].serves(demand.labels, labels)

    def _would_give(self, ip: IPAddress, demand: Demand) -> bool:
        """Whether the service could be given the address if it were free."""
        pool = self._pools.of(ip)
        return (
            pool is not None
            and (pool.spec.auto_assign or pool.name in demand.pools)
            and self.serves(pool.name, demand)
        )

    def is_foreign(self, ip: IPAddress, demand: Demand) -> bool:
        """Whether an address in a status that is not ours to write came from somebody else."""
        claimed = self.claimed(demand.owner).get(ip)
        if claimed is not None and claimed.pool:
            return False
        return demand.other_class or self._pools.of(ip) is None

    def _read(self, claim: IpClaim) -> None:
        interface = parse_cidr(claim.spec.cidr)
        if interface is None:
            return
        services = claim.spec.services or ()
        self.users[interface.ip] = services[0] if services else f"IpClaim {claim.metadata.name}"
        if not claim.managed:
            self.by_hand.add(interface.ip)
            return
        if ports := recorded_ports(claim):
            self._recorded[interface.ip] = ports
        claimed = Claimed(interface, pool_of(claim), up=bool(claim.status.holder))
        for service in services:
            name = service.namespace, service.name
            self._claimed.setdefault((*name, service.uid), {})[interface.ip] = claimed
            self._by_name.setdefault(name, {})[interface.ip] = claimed
