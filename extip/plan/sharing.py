"""Who has an address while allocation plans, and who may have it beside them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from extip.plan.demand import Demand
from extip.plan.evidence import Claimed, Evidence, Strength
from extip.plan.link import IPAddress
from extip.plan.requests import Owner, Ports


@dataclass(slots=True, eq=False)
class Case:
    """One service during a pass."""

    demand: Demand
    claimed: Mapping[IPAddress, Claimed]
    evident: Mapping[IPAddress, Strength]
    held: list[IPAddress] = field(default_factory=list)

    @property
    def is_others(self) -> bool:
        """Whether another load balancer serves it."""
        return self.demand.to_status and not self.evident and bool(self.demand.ingress)

    def has(self, version: int) -> bool:
        """Whether it has an address of that family by now."""
        return any(ip.version == version for ip in self.held)


class Sharing:
    """Who holds which address so far, and who agrees with them about it."""

    def __init__(self, evidence: Evidence, ports: Callable[[Owner], Ports]) -> None:
        self._evidence = evidence
        self._ports = ports
        self._holders: dict[IPAddress, list[Case]] = {}
        self._aside: dict[IPAddress, set[Owner]] = {}

    def hold(self, case: Case, ip: IPAddress) -> None:
        """Give the address to the service."""
        case.held.append(ip)
        self._holders.setdefault(ip, []).append(case)
        self._evidence.users[ip] = case.demand.owner

    def set_aside(self, case: Case, ip: IPAddress) -> None:
        """Give to nobody else what the service has and does not ask for: it may have to keep it."""
        self._aside.setdefault(ip, set()).add(case.demand.owner)

    def settle(self, case: Case) -> None:
        """End that: it holds now what it keeps."""
        for ip in case.evident:
            if ip in self._aside:
                self._aside[ip].discard(case.demand.owner)

    def holding(self, ip: IPAddress) -> set[Owner]:
        """Return who was given the address."""
        return {holder.demand.owner for holder in self._holders.get(ip, ())}

    def having(self, ip: IPAddress) -> set[Owner]:
        """Return who has the address in any way: allocated, written by hand, or in its status."""
        written, shown = self._evidence.explicit.get(ip, ()), self._evidence.shown.get(ip, set())
        return self.holding(ip) | {*written} | shown | self._aside.get(ip, set())

    def disagreeing(self, case: Case, ip: IPAddress, others: set[Owner]) -> list[Owner]:
        """Return those of the others that do not share the address with the service.

        They share it when they are in one namespace, each of them asks for this very address, and
        no port is the same.
        """
        if not others:
            return []
        owner = case.demand.owner
        holders = (holder.demand for holder in self._holders.get(ip, ()))
        asking = {holder.owner for holder in holders if _asks(holder, ip)}
        asking.update(self._evidence.explicit.get(ip, ()))
        return sorted(
            other
            for other in others - {owner}
            if other not in asking or not _asks(case.demand, ip) or not self._fit(owner, other)
        )

    def may_stay(self, case: Case, ip: IPAddress) -> bool:
        """Whether the service may keep what was set aside: alone, or as it shared it."""
        owner = case.demand.owner
        others = self.holding(ip) - {owner}
        return owner in self._aside.get(ip, ()) and all(
            ip in case.claimed and self._fit(owner, other) for other in others
        )

    def ports(self) -> dict[Owner, Ports]:
        """Return the ports of all who share an address with a service that was given it."""
        found: dict[Owner, Ports] = {}
        for ip, holders in self._holders.items():
            sharing = {holder.demand.owner for holder in holders}
            sharing.update(self._evidence.explicit.get(ip, ()))
            if len(sharing) > 1:
                found |= {owner: self._ports(owner) for owner in sharing}
        return found

    def _fit(self, one: Owner, other: Owner) -> bool:
        return one.namespace == other.namespace and not self._ports(one) & self._ports(other)


def _asks(demand: Demand, ip: IPAddress) -> bool:
    """Whether the service names the address, in its annotation or among its external IPs."""
    return ip in demand.requested or (ip in demand.external and ip not in demand.recorded)
