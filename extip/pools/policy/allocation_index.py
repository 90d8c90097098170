"""An index of the addresses that services have by claims, statuses and external IPs. Pure."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum

from extip.api.ipcontroller_v1 import ACROSS_NAMESPACES, IpClaim
from extip.api.pool_parts import THE_CLUSTER
from extip.claims.policy.claims import parse_cidr, pool_of
from extip.claims.policy.ports import recorded_ports
from extip.net.interfaces import IPAddress, IPInterface
from extip.pools.policy.address_request import AddressRequest
from extip.pools.policy.freed import Freed
from extip.pools.policy.pools import Cursor, Pools
from extip.pools.policy.set_aside import NOTHING, Aside
from extip.services.policy.requests import Owner, Ports, Requests

_NOTHING: Mapping[IPAddress, "Claimed"] = {}


class AllocationSource(IntEnum):
    """The source from which a service has an address; the smallest wins."""

    CLAIMED_AND_SHOWN = 0
    CLAIMED = 1
    SHOWN = 2
    INHERITED = 3
    """Claimed for a deleted service of the same name."""


def _no_ports(_owner: Owner) -> Ports:
    return frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Other facts that allocation looks at."""

    requests: Requests = field(default_factory=Requests)
    """External IPs that services write themselves."""
    node_ips: frozenset[IPAddress] = frozenset()
    """Addresses that the cluster itself uses."""
    namespaces: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Labels of the namespaces."""
    freed: Freed = field(default_factory=Freed)
    """Recently freed addresses: others get them last, in their order."""
    aside: Aside = NOTHING
    """Addresses of other stations."""
    decided: Mapping[Owner, frozenset[IPAddress]] = field(default_factory=dict)
    """Addresses that the last plan gave, of which no claim is known yet: one may be on its way."""
    now: datetime | None = None
    """The time, in UTC; None when nobody waits for any."""
    ports: Callable[[Owner], Ports] = _no_ports
    """The ports of a service."""
    users: dict[IPAddress, object] | None = None
    """The users of addresses that no service of the plan has to do with, and of nodes."""
    cursors: dict[tuple[str, int], Cursor] = field(default_factory=dict)
    """How far each pool was searched before, by its name and the IP version."""
    released: Iterable[IPAddress] = ()
    """Addresses that may be free though the search has passed them."""


@dataclass(frozen=True, slots=True)
class Claimed:
    """An address that is claimed for a service."""

    interface: IPInterface
    pool: str
    """The claim's label; empty when the address was not allocated."""
    up: bool = False
    """A node has reported it up."""
    since: str = ""
    """RFC 3339: when that node brought it up."""


class AllocationIndex:
    """The state before a pass; only `users` grows during the pass."""

    def __init__(
        self,
        address_requests: Sequence[AddressRequest],
        pools: Pools,
        claims: Iterable[IpClaim],
        facts: Facts,
    ) -> None:
        self.users: dict[IPAddress, object] = (
            dict.fromkeys(facts.node_ips, THE_CLUSTER) if facts.users is None else facts.users
        )
        """Addresses that nobody else may get, with their users."""
        self.explicit = {i.ip: owners for i, owners in facts.requests.wanted.items()}
        """The owners that wrote an address into `spec.externalIPs`."""
        self.shown: dict[IPAddress, set[Owner]] = {}
        """The services that have an address in their status."""
        self._pools = pools
        self._facts = facts
        self.by_hand: set[IPAddress] = set()
        """Addresses in claims of persons; any service may have them."""
        self.claimed_by_some: set[IPAddress] = set()
        """Addresses in claims that name services, whichever these are."""
        self._claimed: dict[tuple[str, str, str], dict[IPAddress, Claimed]] = {}
        self._by_name: dict[tuple[str, str], dict[IPAddress, Claimed]] = {}
        self._recorded: dict[IPAddress, Mapping[tuple[str, int], tuple[str, ...]]] = {}
        self._sharing: dict[IPAddress, dict[str, Owner]] = {}
        """The services that share an address with recorded ports, by name."""
        for claim in claims:
            self._read(claim)
        for ip in self._recorded:
            self._sharing[ip] = {str(owner): owner for owner in self.explicit.get(ip, ())}
        for ip, owners in self.explicit.items():
            self.users[ip] = owners[0]
        for request in address_requests:
            for ip in request.given:
                self.shown.setdefault(ip, set()).add(request.owner)
                self.users[ip] = request.owner
            for ip in self._recorded.keys() & self.claimed(request.owner).keys():
                self._sharing[ip][str(request.owner)] = request.owner

    def claimed(self, owner: Owner) -> Mapping[IPAddress, Claimed]:
        """Return the addresses that are claimed for the service, or for an earlier one.

        Only one service has a name at a time: a service with another uid is gone.
        """
        return self._by_name.get((owner.namespace, owner.name), _NOTHING)

    def of(self, request: AddressRequest) -> dict[IPAddress, AllocationSource]:
        """Return the addresses that the service has, each with its source."""
        if not request.families:
            return {}
        shown = {*request.given} if request.to_status else set[IPAddress]()
        if request.to_external_ips:
            shown |= {*request.external}
        written = request.written  # claimed, but not allocated
        owner = request.owner
        own = self._claimed.get((owner.namespace, owner.name, owner.uid), _NOTHING)
        found = {
            ip: AllocationSource.CLAIMED_AND_SHOWN if ip in shown else AllocationSource.CLAIMED
            for ip, claimed in own.items()
            if (claimed.pool or self._pools.of(ip)) and ip not in written
        }
        for ip in self.claimed(owner).keys() - own.keys() - written - shown:
            if self._would_give(ip, request):
                found[ip] = AllocationSource.INHERITED
        for ip in shown:
            pool = self._pools.of(ip)
            if ip not in found and pool is not None and self.serves(pool.name, request):
                found[ip] = AllocationSource.SHOWN
        return found

    def intruded(self, request: AddressRequest, ip: IPAddress) -> set[Owner]:
        """Return the sharing services that already have a port which the service asks for.

        An address that a person wrote into `spec.externalIPs` was not given, so it is not taken.
        """
        owner = request.owner
        if ip in request.written:
            return set()
        recorded, sharing = self._recorded.get(ip), self._sharing.get(ip, {})
        if not recorded or str(owner) not in sharing:
            return set()
        ports = self._facts.ports
        having = ((port, recorded.get(port, ())) for port in ports(owner))
        return {
            sharing[name]
            for port, names in having
            for name in names
            if str(owner) not in names and name in sharing and port in ports(sharing[name])
        }

    def joins_namespaces(self, ip: IPAddress) -> bool:
        """Whether services of several namespaces may share the address."""
        pool = self._pools.of(ip)
        return pool is not None and pool.spec.sharing == ACROSS_NAMESPACES

    def serves(self, pool: str, request: AddressRequest) -> bool:
        """Whether the pool's selectors match the service."""
        labels = self._facts.namespaces.get(request.owner.namespace, {})
        return self._pools.by_name[pool].serves(request.labels, labels)

    def _would_give(self, ip: IPAddress, request: AddressRequest) -> bool:
        """Whether the service could be given the address if it were free."""
        pool = self._pools.of(ip)
        return (
            pool is not None
            and (pool.spec.auto_assign or pool.name in request.pools)
            and self.serves(pool.name, request)
        )

    def is_foreign(self, ip: IPAddress, request: AddressRequest) -> bool:
        """Whether an address in a status of another implementation came from that one."""
        claimed = self.claimed(request.owner).get(ip)
        if claimed is not None and claimed.pool:
            return False
        return request.other_class or self._pools.of(ip) is None

    def _read(self, claim: IpClaim) -> None:
        """Index a claim under its IP, and under each service that it names."""
        interface = parse_cidr(claim.spec.cidr)
        if interface is None:
            return
        services = claim.spec.services or ()
        self.users[interface.ip] = services[0] if services else f"IpClaim {claim.metadata.name}"
        if not claim.managed:
            self.by_hand.add(interface.ip)
            return
        if services:
            self.claimed_by_some.add(interface.ip)
        if ports := recorded_ports(claim):
            self._recorded[interface.ip] = ports
        claimed = Claimed(
            interface, pool_of(claim), up=bool(claim.status.holder), since=claim.status.since
        )
        for service in services:
            name = service.namespace, service.name
            for known in (
                self._claimed.setdefault((*name, service.uid), {}),
                self._by_name.setdefault(name, {}),
            ):
                known[interface.ip] = _joined(claimed, known.get(interface.ip))


def _joined(claimed: Claimed, other: Claimed | None) -> Claimed:
    """Return what one claim says, and `other` ones of the same IP, which other nodes have."""
    if other is None or not other.up:
        return claimed
    return claimed if claimed.up and claimed.since <= other.since else other
