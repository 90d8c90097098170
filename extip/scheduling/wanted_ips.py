"""The IPs that are wanted: what services ask for and pools give, without what is refused.

A change concerns some IPs, and only those are looked at: requests for them, their allocation, the
facts about them that the guard looks at. An IP that several namespaces ask for is looked at each
time, since its claims decide which of them has it.
"""

import sys
from collections.abc import Callable, Iterable, Mapping
from itertools import islice

from extip.api.ipcontroller_v1 import IpClaim
from extip.cache.changes import give_back
from extip.claims.policy.claims import current_owners
from extip.guard.policy.admission import Admission, admit
from extip.guard.policy.reserved import Reserved
from extip.guard.policy.rules import Guard, Surroundings, Verdicts
from extip.net.interfaces import IPAddress, IPInterface
from extip.pools.policy.outcome import Allocation
from extip.scheduling.policy.keys import Key, Wanted
from extip.services.policy.namespace_sharing import resolve_sharing
from extip.services.policy.requests import Owner, Rejection, Request, Requests


class WantedIps:
    """Brings requests, allocation and guard together."""

    def __init__(
        self,
        guard: Guard,
        on_admission: Callable[[Admission], None],
        claims_of: Callable[[IPAddress], Iterable[IpClaim]],
    ) -> None:
        """`on_admission` gets each refusal with its reason. `claims_of` returns an IP's claims."""
        self._guard = guard
        self._around = Surroundings()
        self._on_admission = on_admission
        self._claims_of = claims_of
        self._rejected = Requests()
        self._allocation = Allocation()
        self._explicit: dict[IPAddress, Request] = {}
        self._due: dict[IPAddress, None] = {}
        self._rest: list[IPAddress] = []
        """The IPs that are due since a fact about all of them has changed, the last one first."""
        self._anew = False
        """Whether all IPs are due once more after those."""
        self._asked: dict[IPAddress, None] = {}
        """The IPs that somebody asks for, refused or not."""
        self._contested: dict[IPAddress, None] = {}
        self._rejections: dict[IPAddress, frozenset[Rejection]] = {}
        self._doubts: dict[IPAddress, frozenset[Rejection]] = {}
        """Warnings about IPs that are wanted all the same."""
        self._admission = Admission(wanted=frozenset(), rejected=frozenset())
        self._stale = True
        """Whether somebody else may be refused than was told."""

    def take_explicit(self, changes: Mapping[IPAddress, Request | None]) -> None:
        """Take the new requests of services that write an IP themselves; None for none."""
        _note(self._due, changes)
        for ip, new in changes.items():
            if new is None:
                self._explicit.pop(ip, None)
            else:
                self._explicit[ip] = new

    def update(
        self,
        rejected: Requests,
        allocation: Allocation,
        reserved: Reserved,
        most: int = sys.maxsize,
    ) -> Mapping[Key, Wanted | None]:
        """Return wanted IPs that may differ from the last time; None for a refused one.

        `rejected` are malformed requests, and denied ones. About `most` IPs are looked at, and
        `pending` tells whether others are due.
        """
        due = self._due
        self._stale |= rejected is not self._rejected and rejected != self._rejected
        self._rejected = rejected
        if allocation is not self._allocation:
            _note(due, allocation.changed)
            self._allocation = allocation
        _note(due, self._take_surroundings(reserved))
        changed = dict.fromkeys(islice(due, most), None)
        for ip in changed:
            del due[ip]
        give_back(due)
        _note(changed, self._next(most - len(changed)))
        _note(changed, self._contested)
        before = self._objections(changed)
        wanted: dict[Key, Wanted | None] = {ip: self._wanted(ip) for ip in changed}
        if self._stale or before != self._objections(changed):
            self._stale = False
            others = admit(rejected, Verdicts(self._guard, self._around)).rejected
            self._admission = Admission(
                wanted=frozenset(),
                rejected=others.union(*self._rejections.values()),
                doubtful=frozenset().union(*self._doubts.values()),
            )
        return wanted

    @property
    def pending(self) -> bool:
        """Whether IPs are due that were not looked at."""
        return bool(self._due or self._rest or self._anew)

    def _next(self, most: int) -> list[IPAddress]:
        """Take up to `most` of the IPs that a fact about all of them makes due."""
        if not self._rest and self._anew:
            self._rest, self._anew = list(self._asked), False
            self._rest.reverse()
        found = self._rest[: -most - 1 : -1] if most > 0 else []
        del self._rest[len(self._rest) - len(found) :]
        return found

    def report(self) -> None:
        """Tell who is refused now."""
        self._on_admission(self._admission)

    def _take_surroundings(self, reserved: Reserved) -> Iterable[IPAddress]:
        """Take the facts that the guard looks at; return the IPs that they concern."""
        old = self._around
        kept = frozenset(
            ip
            for ip in reserved.hearsay()
            if any(claim.status.holder for claim in self._claims_of(ip))
        )
        if reserved is old.reserved and kept == old.kept:
            return ()
        self._around = Surroundings(reserved=reserved, kept=kept)
        found = reserved.differing(old.reserved)
        self._anew |= found is None  # to note each of very many would take long
        return () if found is None else found | (kept ^ old.kept)

    def _objections(self, ips: Iterable[IPAddress]) -> list[frozenset[Rejection] | None]:
        """Return what is told about IPs; nothing when there is nothing about any IP."""
        known = [told for told in (self._rejections, self._doubts) if told]
        return [told.get(ip) for ip in ips for told in known]

    def _wanted(self, ip: IPAddress) -> Wanted | None:
        """Look at one IP; return its request, or None when nobody wants it or it is refused."""
        self._contested.pop(ip, None)
        self._rejections.pop(ip, None)
        self._doubts.pop(ip, None)
        request = self._allocation.request_for(ip, self._explicit.get(ip))
        if request is None:
            self._asked.pop(ip, None)
            return None
        self._asked[ip] = None
        interface, owners, rejected = self._share(ip, request)
        refusal = self._guard.refuse(interface, self._around)
        if refusal is not None:
            rejected |= {Rejection(str(ip), owner, refusal) for owner in owners}
        if rejected:
            self._rejections[ip] = frozenset(rejected)
        if refusal is not None:
            return None
        doubt = self._guard.doubt(interface, self._around)
        if doubt is not None:
            self._doubts[ip] = frozenset(Rejection(str(ip), owner, doubt) for owner in owners)
        found = self._allocation.allocated.get(ip)
        return Wanted(interface, owners, "" if found is None else found.pool)

    def _share(
        self, ip: IPAddress, request: Request
    ) -> tuple[IPInterface, tuple[Owner, ...], set[Rejection]]:
        """Decide between namespaces; return the request, and the rejections of the others."""
        interface, owners = request
        if len(owners) == 1:
            return interface, owners, set()
        one = Requests(wanted={interface: owners})
        resolved = resolve_sharing(
            one,
            lambda ip: current_owners(self._claims_of(ip)),
            self._allocation.namespaces_together,
        )
        if resolved is not one:
            self._contested[ip] = None
        return interface, resolved.wanted[interface], {*resolved.denied}


def _note(noted: dict[IPAddress, None], ips: Iterable[IPAddress]) -> None:
    for ip in ips:
        noted[ip] = None
