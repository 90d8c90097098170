"""Allocation from one change to the next: only services that a change concerns are planned. Pure.

A change concerns a service, or an address. With it go all services of its addresses, all addresses
of those services, all services of their sharing keys, and so on: they may share an address, or
contest it. Services whose request is not met, or whose claims are still to come, are planned each
time. `plan_allocation` plans for this part of the services; the addresses of all others are in use.
"""

import sys
from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import islice
from math import ceil

from extip.api.ipcontroller_v1 import IpClaim
from extip.cache.changes import differing
from extip.cache.multimap import Multimap
from extip.claims.policy.claims import parse_cidr, pool_of, ports_text
from extip.net.interfaces import IPAddress, IPInterface
from extip.pools.policy.address_request import AddressRequest
from extip.pools.policy.allocation import plan_part
from extip.pools.policy.allocation_index import A_NODE, Facts
from extip.pools.policy.allocation_part import Part, keys_of, note
from extip.pools.policy.at_rest import address_at_rest, allocated_at_rest
from extip.pools.policy.decisions import Decisions
from extip.pools.policy.outcome import Allocation
from extip.pools.policy.pools import Cursor, Pools
from extip.pools.policy.set_aside import taken
from extip.services.policy.requests import Owner, Requests

_FASTER = 8
"""Services at rest that are looked at in the time of one plan."""


class AllocationState:
    """The services, claims and decisions so far."""

    def __init__(self) -> None:
        self._requests: dict[str, AddressRequest] = {}
        self._keyed = Multimap[str, str]()
        """The services of each sharing key."""
        self._cursors: dict[tuple[str, int], Cursor] = {}
        self._left: Mapping[IPAddress, str] = {}
        """The addresses that the last plan left without a user, with the last one."""
        self._claims: dict[str, IpClaim] = {}
        self._explicit: dict[IPAddress, tuple[IPInterface, tuple[Owner, ...]]] = {}
        self._wanted: Mapping[IPInterface, tuple[Owner, ...]] = {}
        self._known = Facts()
        self._pools = Pools()
        self._touched = Part()
        self._fresh: dict[str, None] = {}
        """Touched services without any address: they come last, all at once."""
        self._at_rest: list[IPAddress] = []
        """The addresses of services that this step finds at rest."""
        self._planned = self._under_way = False
        self._overlooked = False
        """Whether changes were not kept, since there was no pool and no request."""
        self._claims_of = Multimap[IPAddress, str]()
        self._taken: dict[str, None] = {}
        """Claims of which other stations have the addresses, by name."""
        self._claimed_for = Multimap[str, IPAddress]()
        self._services_of = Multimap[IPAddress, str]()
        self._ips_of = Multimap[str, IPAddress]()
        self._owner_of: dict[str, Owner] = {}
        """The owners that the last decisions are about."""
        self._decisions = Decisions()
        self._users: dict[IPAddress, object] = {}
        self._mixed: dict[IPAddress, None] = {}
        """Addresses that are allocated, and also written by hand: ports of any service matter."""
        self.last = Allocation()
        """The last plan."""

    def take_requests(self, changes: Mapping[str, AddressRequest | None]) -> None:
        """Take the new address requests by ``namespace/name``; None for one that is gone."""
        for name, new in changes.items():
            old = self._requests.get(name)
            if old == new:
                continue
            self._touched.services[name] = None
            if old is not None:
                self._keyed.discard(old.sharing_key, name)
                note(self._touched.ips, old.given)
            if new is None:
                del self._requests[name]
                continue
            self._requests[name] = new
            if new.sharing_key:
                self._keyed.add(new.sharing_key, name)
            for ip in new.given:
                self._users.setdefault(ip, new.owner)

    def take_claims(self, changes: Mapping[str, IpClaim | None]) -> None:
        """Take the new versions of claims by name; None for a claim that is gone."""
        for name, new in changes.items():
            old = self._claims.get(name)
            if old is new:
                continue
            if old is None or new is None or _parts(old) != _parts(new):
                self._unread(name)
                if new is not None:
                    self._read(new)
            if new is None:
                del self._claims[name]
            else:
                self._claims[name] = new

    def claims_about(self, ips: Iterable[IPAddress]) -> list[IpClaim]:
        """Return the claims of these addresses, and all of which other stations have the address.

        `SetAside` learns nothing from other claims.
        """
        names = dict(self._taken)
        for ip in ips:
            note(names, self._claims_of.of(ip))
        return [self._claims[name] for name in names]

    def take_explicit(self, wanted: Mapping[IPInterface, tuple[Owner, ...]]) -> None:
        """Take the external IPs that services write themselves."""
        if wanted is self._wanted:
            return
        new = {interface.ip: (interface, owners) for interface, owners in wanted.items()}
        note(self._touched.ips, differing(self._explicit, new))
        for ip, (_interface, owners) in new.items():
            self._users.setdefault(ip, owners[0])
        self._explicit, self._wanted = new, wanted

    @property
    def pending(self) -> bool:
        """Whether the last plan left something for the next ones."""
        return self._under_way

    def plan(self, pools: Pools, facts: Facts, most: int = sys.maxsize // _FASTER) -> Allocation:
        """Plan what about `most` changes concern; `facts.requests` is not looked at.

        Nobody gets an address of services whose turn is still to come. The same object is returned
        while nothing changes. Its `changed` has the addresses whose services may differ.
        """
        if not self._requests and not pools.ordered:
            return self._nothing()
        if not self._under_way:
            services = self._touched.services
            note(services, map(str, self._decisions.unmet()))
            self._touched.ips.update(self._mixed)
        self._compare(pools, facts)
        part = self._whole(self._next(most))
        at_rest, self._at_rest = self._at_rest, []
        self._under_way = bool(self._touched.services or self._touched.ips or self._fresh)
        if not part.services and not part.ips and not at_rest:
            return self.last
        self._planned = True
        before = {ip: self._users[ip] for ip in part.ips if ip in self._users}
        self._retract(part)
        requests = [self._requests[name] for name in part.services if name in self._requests]
        names: dict[str, None] = {}
        for ip in part.ips:
            note(names, self._claims_of.of(ip))
        explicit = (self._explicit[ip] for ip in part.ips if ip in self._explicit)
        found = plan_part(
            requests,
            pools,
            [self._claims[name] for name in names],
            replace(
                facts,
                requests=Requests(wanted=dict(explicit)),
                users=self._users,
                cursors=self._cursors,
                released=part.ips,
            ),
        )
        self._record(part, requests, found)
        self._left = {ip: str(one) for ip, one in before.items() if ip not in self._users}
        self.last = self._decisions.allocation(
            self._users, changed=(*at_rest, *part.ips, *found.allocated), freed=self._left
        )
        return self.last

    def _nothing(self) -> Allocation:
        """Return an empty allocation; decide everything anew when there is a pool."""
        if self._planned:
            changed = frozenset(self._decisions.allocated)
            left = {ip: str(user) for ip, user in self._users.items()}
            self._retract(self._whole(self._everything()))
            self.last = Allocation(changed=changed, freed=left)
        self._planned = self._under_way = False
        # The next plan is of everything. So changes are not kept: they might come for months.
        self._touched, self._fresh, self._overlooked = Part(), {}, True
        self._users.clear()
        self._cursors.clear()
        self._known, self._pools = Facts(), Pools()
        return self.last

    def _everything(self) -> Part:
        services = keys_of(self._requests) | keys_of(self._owner_of)
        return Part(
            services,
            keys_of(self._users) | keys_of(self._claims_of) | keys_of(self._explicit),
        )

    def _compare(self, pools: Pools, facts: Facts) -> None:
        known = self._known
        if self._overlooked:
            self._users |= {ip: owners[0] for ip, (_, owners) in self._explicit.items()}
        for ip in known.aside.avoided - facts.aside.avoided:
            self.offer_again(ip)
        for ip in self._left:
            if ip not in facts.freed:
                self.offer_again(ip)
        self._left = {}
        if pools is not self._pools or _differ(facts.namespaces, known.namespaces):
            self._cursors.clear()
            if self._planned or self._overlooked:  # else all is touched
                everything = self._everything()
                self._touched.services |= everything.services
                self._touched.ips |= everything.ips
        if facts.node_ips is not known.node_ips:
            note(self._touched.ips, facts.node_ips ^ known.node_ips)
        note(self._touched.ips, facts.aside.taken ^ known.aside.taken)
        self._pools, self._known, self._overlooked = pools, facts, False

    def _next(self, most: int) -> Part:
        """Take some of what is touched; services without any address only after all others.

        Services at rest need no plan: they are done at once.
        """
        part, touched, taken = Part(), self._touched, 0.0
        for name in list(islice(touched.services, _FASTER * most)):
            if taken >= most:
                break
            del touched.services[name]
            if self._rests(name):
                taken += 1 / _FASTER
                continue
            taken += 1
            has_some = next(iter(self._ips_at(name)), None) is not None
            (part.services if has_some else self._fresh)[name] = None
        for ip in list(islice(touched.ips, max(0, most - ceil(taken)))):
            del touched.ips[ip]
            part.ips[ip] = None
        if not touched.services and not touched.ips:
            part.services |= self._fresh
            self._fresh = {}
        return part

    def _rests(self, name: str) -> bool:
        """Note the address of a service that was never looked at and is at rest, or return False.

        Nobody else has to do with the address.
        """
        request = self._requests.get(name)
        ip = None if request is None or name in self._owner_of else address_at_rest(request)
        if request is None or ip is None or ip in self._explicit or self._services_of.of(ip):
            return False
        claims, claimed = self._claims_of.of(ip), self._claimed_for.of(name)
        if len(claims) != 1 or len(claimed) != 1 or ip in self._known.aside.taken:
            return False
        found = allocated_at_rest(request, self._claims[next(iter(claims))], self._pools)
        if found is None:
            return False
        self._owner_of[name] = self._users[ip] = request.owner
        self._decisions.allocated[ip] = found
        self._services_of.add(ip, name)
        self._ips_of.add(name, ip)
        self._touched.ips.pop(ip, None)
        self._at_rest.append(ip)
        return True

    def offer_again(self, ip: IPAddress) -> None:
        """Note an address that may be free now, and is not among the freed ones of `Facts`."""
        pool = self._pools.of(ip)
        cursor = None if pool is None else self._cursors.get((pool.name, ip.version))
        place = None if pool is None else pool.place(ip)
        if cursor is not None and place is not None:
            cursor.at = min(cursor.at, place)

    def _whole(self, touched: Part) -> Part:
        """Return the services and addresses that hang together with the touched ones."""
        part = Part()
        services, ips, keys = list(touched.services), list(touched.ips), {""}
        while services or ips:
            for name in services:  # it grows
                if name not in part.services:
                    part.services[name] = None
                    self._touched.services.pop(name, None)
                    ips += self._ips_at(name)
                    key = self._requests[name].sharing_key if name in self._requests else ""
                    if key not in keys:
                        keys.add(key)
                        services += self._keyed.of(key)
            services = []
            for ip in ips:
                if ip not in part.ips:
                    part.ips[ip] = None
                    self._touched.ips.pop(ip, None)
                    services += self._services_at(ip)
            ips = []
        return part

    def _ips_at(self, name: str) -> Iterable[IPAddress]:
        yield from self._ips_of.of(name)
        yield from self._claimed_for.of(name)
        if name in self._requests:
            yield from _named(self._requests[name])

    def _services_at(self, ip: IPAddress) -> Iterable[str]:
        yield from self._services_of.of(ip)
        for name in self._claims_of.of(ip):
            yield from map(str, self._claims[name].spec.services or ())
        if ip in self._explicit:
            yield from map(str, self._explicit[ip][1])

    def _retract(self, part: Part) -> None:
        """Forget the decisions about a part."""
        for name in part.services:
            owner = self._owner_of.pop(name, None)
            if owner is not None:
                self._decisions.forget(owner)
            self._relate(name, ())
        for ip in part.ips:
            self._decisions.allocated.pop(ip, None)
            self._mixed.pop(ip, None)
            if ip in self._known.node_ips:
                self._users[ip] = A_NODE
            else:
                self._users.pop(ip, None)

    def _record(self, part: Part, requests: Iterable[AddressRequest], found: Allocation) -> None:
        related = {str(one.owner): {*_named(one)} for one in requests}
        self._owner_of |= {str(one.owner): one.owner for one in requests}
        self._owner_of |= {str(owner): owner for owner in found.ports}
        for ip in part.ips:
            for owner in self._explicit[ip][1] if ip in self._explicit else ():
                related.setdefault(str(owner), set()).add(ip)
        for ip, one in found.allocated.items():
            for owner in one.owners:
                related[str(owner)].add(ip)
            if ip in self._explicit:
                self._mixed[ip] = None
        for name, ips in related.items():
            self._relate(name, ips)
        self._decisions.take(found)

    def _relate(self, name: str, ips: Iterable[IPAddress]) -> None:
        """Note the addresses that a service has to do with."""
        for ip in tuple(self._ips_of.of(name)):
            self._services_of.discard(ip, name)
            self._ips_of.discard(name, ip)
        for ip in ips:
            self._services_of.add(ip, name)
            self._ips_of.add(name, ip)

    def _read(self, claim: IpClaim) -> None:
        interface = parse_cidr(claim.spec.cidr)
        if interface is None:
            return
        self._touched.ips[interface.ip] = None
        self._users.setdefault(interface.ip, claim)
        self._claims_of.add(interface.ip, claim.metadata.name)
        if taken(claim):
            self._taken[claim.metadata.name] = None
        for service in claim.spec.services or ():
            self._touched.services[str(service)] = None
            self._claimed_for.add(str(service), interface.ip)

    def _unread(self, name: str) -> None:
        claim = self._claims.get(name)
        interface = None if claim is None else parse_cidr(claim.spec.cidr)
        if claim is None or interface is None:
            return
        self._touched.ips[interface.ip] = None
        self._claims_of.discard(interface.ip, name)
        self._taken.pop(name, None)
        for service in claim.spec.services or ():
            self._touched.services[str(service)] = None
            if not self._is_claimed_elsewhere(str(service), interface.ip, name):
                self._claimed_for.discard(str(service), interface.ip)

    def _is_claimed_elsewhere(self, service: str, ip: IPAddress, but: str) -> bool:
        """Whether another claim of the address names the service, too."""
        others = (self._claims[name] for name in self._claims_of.of(ip) if name != but)
        return any(service in map(str, other.spec.services or ()) for other in others)


def _parts(claim: IpClaim) -> tuple[object, ...]:
    """Return what allocation reads in a claim, apart from whether its address is up."""
    spec = claim.spec
    return spec.cidr, spec.services, claim.managed, pool_of(claim), ports_text(claim), taken(claim)


def _differ(new: object, old: object) -> bool:
    return new is not old and new != old


def _named(request: AddressRequest) -> Iterable[IPAddress]:
    """Return the addresses in a request."""
    return (*request.given, *request.recorded, *request.external, *request.requested)
