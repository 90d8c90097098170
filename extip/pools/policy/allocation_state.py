"""Allocation from one change to the next: only services that a change concerns are planned. Pure.

A change concerns a service, or an address. With it go all services of its addresses, all addresses
of those services, all services of their sharing keys, and so on: they may share an address, or
contest it. `plan_allocation` plans for this part of the services; the addresses of all others are
in use. Services that wait for any address are planned when one may be free, the oldest first.
"""

import sys
from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import islice

from extip.api.ipcontroller_v1 import IpClaim
from extip.api.pool_parts import THE_CLUSTER
from extip.cache.changes import give_back
from extip.net.interfaces import IPAddress
from extip.pools.policy.address_request import AddressRequest
from extip.pools.policy.allocation import plan_part
from extip.pools.policy.allocation_index import Facts
from extip.pools.policy.allocation_part import Part, keys_of, note
from extip.pools.policy.decisions import Decisions
from extip.pools.policy.line import Line
from extip.pools.policy.outcome import Allocation
from extip.pools.policy.pools import Cursor, Pools
from extip.pools.policy.relations import Relations, named
from extip.pools.policy.sweep import Sweep
from extip.services.policy.requests import Owner, Request, Requests

_FASTER = 4
"""Services at rest that are looked at in the time of one plan."""

_SEARCHED = 64
"""Addresses of a pool that are looked at in that time."""


class AllocationState:
    """The services, claims and decisions so far."""

    def __init__(self) -> None:
        self._relations = Relations()
        self._cursors: dict[tuple[str, int], Cursor] = {}
        self._left: Mapping[IPAddress, str] = {}
        """The addresses that the last plan left without a user, with the last one."""
        self._known = Facts()
        self._pools = Pools()
        self._touched = Part()
        self._sweep = Sweep()
        self._fresh = Line()
        """Touched services without any address: they come last."""
        self._room = False
        """Whether an address may be free since services that wait for any were planned."""
        self._hopes = False
        """Whether those services have their turn in this row of plans."""
        self._at_rest: list[IPAddress] = []
        """The addresses of services that this step finds at rest."""
        self._planned = self._under_way = False
        self._overlooked = False
        """Whether changes were not kept, since there was no pool and no request."""
        self._owner_of: dict[str, Owner] = {}
        """The owners that the last decisions are about."""
        self._decisions = Decisions()
        self._users: dict[IPAddress, object] = {}
        self._mixed: dict[IPAddress, None] = {}
        """Allocated addresses that other services write themselves: their ports matter, too."""
        self.last = Allocation(users=self._users)
        """The last plan."""

    def take_requests(self, changes: Mapping[str, AddressRequest | None]) -> None:
        """Take the new address requests by ``namespace/name``; None for one that is gone."""
        for name, new in changes.items():
            old = self._relations.requests.get(name)
            if old == new:
                continue
            self._touched.services[name] = None
            if old is not None:
                note(self._touched.ips, old.given)
            self._relations.set_request(name, new)
            if new is not None:
                for ip in new.given:
                    self._users.setdefault(ip, new.owner)

    def take_claims(self, changes: Mapping[str, IpClaim | None]) -> None:
        """Take the new versions of claims by name; None for a claim that is gone."""
        for name, new in changes.items():
            old = self._relations.claims.get(name)
            if old is new:
                continue
            if old is not None and new is not None and old.status != new.status:
                self._look_who_arrives(new)
            touched = self._relations.set_claim(name, new)
            note(self._touched.services, touched.services)
            note(self._touched.ips, touched.ips)
            for ip in () if new is None else touched.ips:
                self._users.setdefault(ip, new)

    def _look_who_arrives(self, claim: IpClaim) -> None:
        """Touch services that show an address until the one of this claim is up."""
        for name in map(str, claim.spec.services or ()):
            if self._decisions.is_arriving(self._owner_of.get(name)):
                self._touched.services[name] = None

    def claims_about(self, ips: Iterable[IPAddress]) -> list[IpClaim]:
        """Return the claims of these addresses, and all of which other stations have the address.

        `SetAside` learns nothing from other claims.
        """
        names = dict(self._relations.taken)
        for ip in ips:
            note(names, self._relations.claims_of.of(ip))
        return [self._relations.claims[name] for name in names]

    def take_explicit(self, changes: Mapping[IPAddress, Request | None]) -> None:
        """Take the new requests of services that write an external IP themselves; None for none."""
        explicit = self._relations.explicit
        for ip, new in changes.items():
            if explicit.get(ip) == new:
                continue
            self._touched.ips[ip] = None
            if new is None:
                del explicit[ip]
            else:
                explicit[ip] = new
                self._users.setdefault(ip, new[1][0])

    @property
    def pending(self) -> bool:
        """Whether the last plan left something for the next ones."""
        return self._under_way

    def plan(self, pools: Pools, facts: Facts, most: int = sys.maxsize // _SEARCHED) -> Allocation:
        """Plan what about `most` changes concern; `facts.requests` is not looked at.

        Nobody gets an address of services whose turn is still to come. The same object is returned
        while nothing changes. Its `changed` has the addresses whose services may differ.
        """
        if not self._relations.requests and not pools.ordered:
            return self._nothing()
        if not self._under_way:
            note(self._touched.services, map(str, self._decisions.unsettled(facts.now)))
            self._touched.ips.update(self._mixed)
            self._hopes = False
        self._compare(pools, facts)
        part = self._next(most)
        at_rest, self._at_rest = self._at_rest, []
        self._under_way = bool(self._touched or self._fresh or self._sweep)
        if not part.services and not part.ips and not at_rest:
            return self.last
        self._planned = True
        before = {ip: self._users[ip] for ip in part.ips if ip in self._users}
        decided = self._decisions.unclaimed(
            self._owner_of[name] for name in part.services if name in self._owner_of
        )
        self._retract(part)
        requests = [
            self._relations.requests[name]
            for name in part.services
            if name in self._relations.requests
        ]
        names: dict[str, None] = {}
        for ip in part.ips:
            note(names, self._relations.claims_of.of(ip))
        explicit = (
            self._relations.explicit[ip] for ip in part.ips if ip in self._relations.explicit
        )
        found = plan_part(
            requests,
            pools,
            [self._relations.claims[name] for name in names],
            replace(
                facts,
                requests=Requests(wanted=dict(explicit)),
                users=self._users,
                decided=decided,
                cursors=self._cursors,
                released=part.ips,
            ),
        )
        self._record(part, requests, found)
        self._left = {ip: str(one) for ip, one in before.items() if ip not in self._users}
        self._room |= bool(self._left)
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
        self._touched, self._sweep, self._overlooked = Part(), Sweep(), True
        self._fresh.clear()
        self._users.clear()
        self._cursors.clear()
        self._known, self._pools = Facts(), Pools()
        return self.last

    def _everything(self) -> Part:
        services = keys_of(self._relations.requests) | keys_of(self._owner_of)
        return Part(
            services,
            keys_of(self._users)
            | keys_of(self._relations.claims_of)
            | keys_of(self._relations.explicit),
        )

    def _compare(self, pools: Pools, facts: Facts) -> None:
        known = self._known
        if self._overlooked:
            # Nobody gets an address of a claim before the sweep comes to it.
            self._users |= dict.fromkeys(self._relations.claims_of, "an IpClaim")
            self._users |= {ip: owners[0] for ip, (_, owners) in self._relations.explicit.items()}
        for ip in known.aside.avoided - facts.aside.avoided:
            self.offer_again(ip)
        for ip in self._left:
            if ip not in facts.freed:
                self.offer_again(ip)
        self._left = {}
        if pools is not self._pools or _differ(facts.namespaces, known.namespaces):
            self._cursors.clear()
            if self._planned or self._overlooked:  # else all is touched
                self._sweep.begin((self._owner_of, self._relations.requests), self._users)
        if facts.node_ips is not known.node_ips:
            note(self._touched.ips, facts.node_ips ^ known.node_ips)
        note(self._touched.ips, facts.aside.taken ^ known.aside.taken)
        self._room |= facts.aside != known.aside
        self._pools, self._known, self._overlooked = pools, facts, False

    def _next(self, most: int) -> Part:
        """Take some of what is touched, with what hangs together with it.

        Services without any address come after all others, the oldest first.
        """
        part, left = self._take(Part(), most)
        frees = self._room or not self._users.keys().isdisjoint(part.ips)
        if frees and not self._hopes:  # services that wait may get an address now
            self._hopes, self._room = True, False
            note(self._touched.services, map(str, self._decisions.hopeful()))
            part, left = self._take(part, left)
        if self._fresh and not self._touched and not self._sweep:
            note(part.services, self._fresh.take(left))
            part = self._whole(part)
        if part.services and not self._search(most):
            note(self._touched.services, part.services)
            note(self._touched.ips, part.ips)
            return Part()
        return part

    def _search(self, most: int) -> bool:
        """Let the search in each pool come to a free address, or to its end, before it is needed.

        Return False when it has to go on in the next step.
        """
        left = _SEARCHED * most
        for pool in self._pools.ordered:
            for version in pool.versions:
                cursor = self._cursors.setdefault((pool.name, version), Cursor())
                freed = self._known.freed.within(pool.name)
                left = pool.search(version, self._users, freed, cursor=cursor, most=left)
        return left > 0

    def _take(self, part: Part, most: int) -> tuple[Part, int]:
        """Add to a part what is touched; return also how many more fit."""
        touched, left = self._touched, _FASTER * most
        note(touched.services, self._sweep.services(left - len(touched.services)))
        for name in list(islice(touched.services, left)):
            if left <= 0:
                break
            del touched.services[name]
            if name in part.services:
                continue
            if self._rests(name):
                left -= 1
            elif not self._relations.has_ips(name):
                # One that may give up an address which is not claimed yet comes first.
                gives = self._owner_of.get(name) in self._decisions.upcoming
                self._fresh.add(name, None if gives else self._relations.requests.get(name))
                self._room |= gives and not self._hopes
                left -= 1
            else:
                part.services[name] = None
                left -= _FASTER
        if not touched.services:
            note(touched.ips, self._sweep.ips(left - len(touched.ips)))
        left = max(0, left // _FASTER)
        for ip in list(islice(touched.ips, left)):
            del touched.ips[ip]
            part.ips[ip] = None
            left -= 1
        part = self._whole(part)
        give_back(touched.services)
        give_back(touched.ips)
        return part, left

    def _whole(self, touched: Part) -> Part:
        """Return what hangs together with the touched: its turn is now."""
        part = self._relations.whole(touched)
        for name in part.services:
            self._touched.services.pop(name, None)
            self._fresh.discard(name)
        for ip in part.ips:
            self._touched.ips.pop(ip, None)
        self._sweep.has_done(part)
        return part

    def _rests(self, name: str) -> bool:
        """Note the address of a service that is at rest; return False for another service."""
        found = self._relations.at_rest(name, self._pools)
        ip = None if found is None else found.interface.ip
        if found is None or ip is None or ip in self._known.aside.taken:
            return False
        if name in self._owner_of:
            self._decisions.forget(self._owner_of[name])
            self._mixed.pop(ip, None)
        self._owner_of[name] = self._users[ip] = found.owners[0]
        if self._decisions.allocated.get(ip) != found:
            self._decisions.allocated[ip] = found
        self._relations.relate(name, (ip,))
        self._touched.ips.pop(ip, None)
        self._sweep.has_done(Part({name: None}, {ip: None}))
        self._at_rest.append(ip)
        return True

    def offer_again(self, ip: IPAddress) -> None:
        """Note an address that may be free now, and is not among the freed ones of `Facts`."""
        self._room = True
        pool = self._pools.of(ip)
        cursor = None if pool is None else self._cursors.get((pool.name, ip.version))
        place = None if pool is None else pool.place(ip)
        if cursor is not None and place is not None:
            cursor.at = min(cursor.at, place)

    def _retract(self, part: Part) -> None:
        """Forget the decisions about a part."""
        for name in part.services:
            owner = self._owner_of.pop(name, None)
            if owner is not None:
                self._decisions.forget(owner)
            self._relations.relate(name, ())
        for ip in part.ips:
            self._decisions.allocated.pop(ip, None)
            self._mixed.pop(ip, None)
            if ip in self._known.node_ips:
                self._users[ip] = THE_CLUSTER
            else:
                self._users.pop(ip, None)

    def _record(self, part: Part, requests: Iterable[AddressRequest], found: Allocation) -> None:
        related = {str(one.owner): {*named(one)} for one in requests}
        self._owner_of |= {str(one.owner): one.owner for one in requests}
        self._owner_of |= {str(owner): owner for owner in found.ports}
        for ip in part.ips:
            for owner in self._relations.explicit[ip][1] if ip in self._relations.explicit else ():
                related.setdefault(str(owner), set()).add(ip)
        for ip, one in found.allocated.items():
            for owner in one.owners:
                related[str(owner)].add(ip)
            if self._relations.is_written_by_others(ip):
                self._mixed[ip] = None
        for name, ips in related.items():
            self._relations.relate(name, ips)
        self._decisions.take(requests, found)


def _differ(new: object, old: object) -> bool:
    return new is not old and new != old
