"""Relations between services and addresses: by requests, claims, and decisions. Pure."""

from collections.abc import Collection, Iterable

from extip.api.ipcontroller_v1 import IpClaim
from extip.cache.multimap import Multimap
from extip.claims.policy.claims import parse_cidr, pool_of
from extip.claims.policy.ports import ports_text
from extip.net.interfaces import IPAddress
from extip.pools.policy.address_request import AddressRequest
from extip.pools.policy.allocation_part import Part, note
from extip.pools.policy.at_rest import address_at_rest, allocated_at_rest
from extip.pools.policy.outcome import Allocated
from extip.pools.policy.pools import Pools
from extip.pools.policy.set_aside import taken
from extip.services.policy.requests import Request


class Relations:
    """The services, claims and external IPs, with an index from each to the others."""

    def __init__(self) -> None:
        self.requests: dict[str, AddressRequest] = {}
        self.claims: dict[str, IpClaim] = {}
        self.explicit: dict[IPAddress, Request] = {}
        """External IPs that services write themselves."""
        self.taken: dict[str, None] = {}
        """Claims of which other stations have the addresses, by name."""
        self.claims_of = Multimap[IPAddress, str]()
        self._keyed = Multimap[str, str]()
        """The services of each sharing key."""
        self._claimed_for = Multimap[str, IPAddress]()
        self._services_of = Multimap[IPAddress, str]()
        self._ips_of = Multimap[str, IPAddress]()

    def set_request(self, name: str, new: AddressRequest | None) -> None:
        """Take the new request of a service; None for one that is gone."""
        old = self.requests.pop(name, None)
        if old is not None:
            self._keyed.discard(old.sharing_key, name)
        if new is not None:
            self.requests[name] = new
            if new.sharing_key:
                self._keyed.add(new.sharing_key, name)

    def set_claim(self, name: str, new: IpClaim | None) -> Part:
        """Take the new version of a claim, None for one that is gone; return what it concerns."""
        touched, old = Part(), self.claims.get(name)
        if old is None or new is None or _parts(old) != _parts(new):
            if old is not None:
                self._unread(old, touched)
            if new is not None:
                self._read(new, touched)
        if new is None:
            del self.claims[name]
        else:
            self.claims[name] = new
        return touched

    def relate(self, name: str, ips: Iterable[IPAddress]) -> None:
        """Note the addresses that a service has to do with, and forget the earlier ones."""
        for ip in tuple(self._ips_of.of(name)):
            self._services_of.discard(ip, name)
            self._ips_of.discard(name, ip)
        for ip in ips:
            self._services_of.add(ip, name)
            self._ips_of.add(name, ip)

    def whole(self, touched: Part) -> Part:
        """Return the services and addresses that hang together with the touched ones."""
        part = Part()
        services, ips, keys = list(touched.services), list(touched.ips), {""}
        while services or ips:
            for name in services:  # it grows
                if name not in part.services:
                    part.services[name] = None
                    ips += self._ips_at(name)
                    key = self.requests[name].sharing_key if name in self.requests else ""
                    if key not in keys:
                        keys.add(key)
                        services += self._keyed.of(key)
            services = []
            for ip in ips:
                if ip not in part.ips:
                    part.ips[ip] = None
                    services += self._services_at(ip)
            ips = []
        return part

    def has_ips(self, name: str) -> bool:
        """Whether a service has to do with any address, apart from what was decided."""
        if self._claimed_for.of(name):
            return True
        return name in self.requests and bool(named(self.requests[name]))

    def is_written_by_others(self, ip: IPAddress) -> bool:
        """Whether a service writes an IP that asks for no address: its changes are not requests."""
        owners = self.explicit[ip][1] if ip in self.explicit else ()
        return any(str(owner) not in self.requests for owner in owners)

    def at_rest(self, name: str, pools: Pools) -> Allocated | None:
        """Return the one address of a service that a plan would leave as it is; None otherwise.

        Nobody else has to do with that address, and the service with no other one.
        """
        request = self.requests.get(name)
        ip = None if request is None else address_at_rest(request)
        if request is None or ip is None or ip in self.explicit:
            return None
        claims, claimed = self.claims_of.of(ip), self._claimed_for.of(name)
        if len(claims) != 1 or len(claimed) != 1:
            return None
        if any(one != name for one in self._services_of.of(ip)):
            return None
        if any(one != ip for one in self._ips_of.of(name)):
            return None
        return allocated_at_rest(request, self.claims[next(iter(claims))], pools)

    def _ips_at(self, name: str) -> Iterable[IPAddress]:
        yield from self._ips_of.of(name)
        yield from self._claimed_for.of(name)
        if name in self.requests:
            yield from named(self.requests[name])

    def _services_at(self, ip: IPAddress) -> Iterable[str]:
        yield from self._services_of.of(ip)
        for name in self.claims_of.of(ip):
            yield from map(str, self.claims[name].spec.services or ())
        if ip in self.explicit:
            yield from map(str, self.explicit[ip][1])

    def _read(self, claim: IpClaim, touched: Part) -> None:
        interface = parse_cidr(claim.spec.cidr)
        if interface is None:
            return
        touched.ips[interface.ip] = None
        self.claims_of.add(interface.ip, claim.metadata.name)
        if taken(claim):
            self.taken[claim.metadata.name] = None
        for service in claim.spec.services or ():
            name = str(service)
            touched.services[name] = None
            self._claimed_for.add(name, interface.ip)

    def _unread(self, claim: IpClaim, touched: Part) -> None:
        name, interface = claim.metadata.name, parse_cidr(claim.spec.cidr)
        if interface is None:
            return
        touched.ips[interface.ip] = None
        self.claims_of.discard(interface.ip, name)
        self.taken.pop(name, None)
        services = tuple(map(str, claim.spec.services or ()))
        note(touched.services, services)
        for service in services:
            if not self._is_claimed_elsewhere(service, interface.ip, name):
                self._claimed_for.discard(service, interface.ip)

    def _is_claimed_elsewhere(self, service: str, ip: IPAddress, but: str) -> bool:
        """Whether another claim of the address names the service, too."""
        others = (self.claims[name] for name in self.claims_of.of(ip) if name != but)
        return any(service in map(str, other.spec.services or ()) for other in others)


def named(request: AddressRequest) -> Collection[IPAddress]:
    """Return the addresses in a request."""
    return (*request.given, *request.recorded, *request.external, *request.requested)


def _parts(claim: IpClaim) -> tuple[object, ...]:
    """Return what allocation reads in a claim, apart from whether its address is up."""
    spec = claim.spec
    return spec.cidr, spec.services, claim.managed, pool_of(claim), ports_text(claim), taken(claim)
