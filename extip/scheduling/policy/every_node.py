"""IPs on every node that may hold them: one claim for each of these nodes. Pure.

A BGP daemon on each node exports the IP, and the network spreads the traffic (ECMP). So claims come
and go with the nodes, and none of them moves.

- A node that may hold the IP gets a claim. One that may not any more loses it.
- While no node may hold the IP, claims stay where they are: of those on a segment, one.
- A node that is up keeps its claim until another one has the IP up.
- While there is no claim at all, one without a node says why.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from extip.api.ipcontroller_v1 import IpClaim
from extip.api.names import label_value
from extip.claims.policy.assignment import needs_label
from extip.claims.policy.claims import (
    Create,
    Delete,
    SetServices,
    index_claims,
    new_claim,
    plan_claim,
    pool_of,
)
from extip.claims.policy.ports import ports_text
from extip.claims.policy.same_ip import seniority
from extip.net.interfaces import IPInterface
from extip.scheduling.policy.filters import USELESS, Needs, Unfit
from extip.scheduling.policy.node_filters import NodeFilters
from extip.scheduling.policy.schedule import AssignClaim, CreateClaim, Schedule, Write, absent
from extip.scheduling.policy.snapshot import (
    Snapshot,
    link_wish,
    needs_of_new,
    not_served,
)
from extip.scheduling.policy.standing import Standing
from extip.services.policy.arrivals import place_of
from extip.services.policy.requests import Owner


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedIP:
    """An IP of which each node has a claim."""

    create: Create
    """The creation of a claim without a node."""
    claims: tuple[IpClaim, ...]

    @property
    def interface(self) -> IPInterface:
        """The IP with its prefix length."""
        return self.create.interface


def shared_ips(
    wanted: Mapping[IPInterface, tuple[Owner, ...]],
    claims: Sequence[IpClaim],
    snapshot: Snapshot,
    pools: Mapping[IPInterface, str],
) -> list[SharedIP]:
    """Return the wanted IPs of pools with such a placement.

    An IP of which a person made a claim is not among them: that claim is the claim of the IP.
    """
    if not snapshot.every_node:
        return []
    by_ip = index_claims(claims)
    found = []
    for interface, owners in wanted.items():
        pool, existing = pools.get(interface, ""), by_ip.get(interface.ip, ())
        if label_value(pool) in snapshot.every_node and all(claim.managed for claim in existing):
            link = link_wish(owners, pool, snapshot)
            actions = plan_claim(interface, owners, (), pool=pool, link=link)
            new = (one for one in actions if isinstance(one, Create))
            found += [SharedIP(create=one, claims=existing) for one in new]
    return found


def plan_every_node(
    shared: Iterable[SharedIP], standing: Standing, *, taken: Collection[str]
) -> Schedule:
    """Plan for such IPs. `taken` are names of claims of other IPs."""
    plans = [_Plan.of(one, standing) for one in shared]
    claims = [claim for plan in plans for claim in plan.kept.values()]
    new = [create for plan in plans for create in plan.creations()]
    free = [one for one in new if one.name not in taken]
    names = {claim.metadata.name for claim in claims} | {one.name for one in free}
    writes: list[Write] = [write for plan in plans for write in plan.changes()]
    return Schedule(
        writes=(*(CreateClaim(claim=new_claim(one, node=one.node)) for one in free), *writes),
        waiting={name: why for plan in plans for name, why in plan.waiting().items()},
        in_the_way={one.name: one.interface for one in new if one.name in taken},
        not_served=not_served(claims, standing.snapshot),
        absent=absent((one for plan in plans for one in plan.ip.claims), standing.snapshot),
        on_every_node=frozenset(names),
        uneasy=frozenset(names),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    """The nodes and the claims of one IP."""

    ip: SharedIP
    needs: Needs
    filters: NodeFilters
    kept: Mapping[str, IpClaim]
    """The claim of each node; that of the empty name has no node."""
    may: frozenset[str]
    """The nodes that may hold it."""
    stays: frozenset[str]
    """The nodes that keep their claim."""

    @classmethod
    def of(cls, ip: SharedIP, standing: Standing) -> "_Plan":
        """Look at the nodes."""
        filters, needs = standing.filters, needs_of_new(ip.create, standing.snapshot)
        found = filters.filter_nodes(needs)
        may = found.nodes
        kept: dict[str, IpClaim] = {}
        for claim in sorted(ip.claims, key=_age):
            if claim.spec.cidr == ip.interface.with_prefixlen:
                kept.setdefault(claim.spec.node_name, claim)
        stays = frozenset(n for n in kept if n and (not may or n in filters.eligible(needs, n)))
        on_segment = [n for n in kept if n in stays and filters.is_on_segment(n, needs)]
        useless = frozenset(n for n, reason in found.unfit.items() if reason in USELESS)
        on_segment.sort(key=useless.__contains__)  # stable
        stays -= frozenset(on_segment[1:])  # two nodes would answer there
        return cls(ip=ip, needs=needs, filters=filters, kept=kept, may=may, stays=stays)

    def creations(self) -> list[Create]:
        """Return the new claims: one for each node that has none, else one without a node."""
        missing = self._missing()
        if not missing and not self.kept:
            return [self.ip.create]
        placed_first = 1 if "" in self.kept else 0
        return [replace(self.ip.create, node=node) for node in missing[placed_first:]]

    def changes(self) -> list[Write]:
        """Return the writes to claims that there are."""
        found: list[Write] = []
        missing, unplaced = self._missing(), self.kept.get("")
        if unplaced is not None and missing:
            found.append(AssignClaim(claim=unplaced, node=missing[0], why="it had no node"))
        for node, claim in self.kept.items():
            if needs_label(claim):
                why = "its label named another node"
                found.append(AssignClaim(claim=claim, node=node, why=why))
            if not node or node in self.stays:
                found += _services_change(claim, self.ip.create)
        return found + [Delete(claim) for claim in self.ip.claims if self._goes(claim)]

    def waiting(self) -> dict[str, str]:
        """Return why no node may have the IP, by the names of its claims."""
        if self.may:
            return {}
        why = self.filters.filter_nodes(self.needs).explain()
        return {
            claim.metadata.name: why
            for node, claim in self.kept.items()
            if node not in self.filters.eligible(self.needs, node)
        }

    def _missing(self) -> list[str]:
        return sorted(self.may - self.kept.keys())

    def _goes(self, claim: IpClaim) -> bool:
        """Whether a claim goes now."""
        node = claim.spec.node_name
        if not node:
            return bool(self.stays) and not self._missing()
        if self.kept.get(node) is not claim:  # with another prefix length, or a second one
            return node in self.kept or (bool(self.may) and node not in self.may)
        if node in self.stays:
            return False
        dead = self.filters.filter_nodes(self.needs).unfit.get(node, Unfit.DEAD) is Unfit.DEAD
        others = any(place_of(self.kept[other]) is not None for other in self.stays)
        return dead or others or place_of(claim) is None


def _services_change(claim: IpClaim, due: Create) -> tuple[SetServices, ...]:
    known = claim.spec.services or (), pool_of(claim), ports_text(claim), claim.spec.link
    if known == (due.services, label_value(due.pool), due.ports, due.link):
        return ()
    return (SetServices(claim, due.services, due.pool, due.ports, due.link),)


def _age(claim: IpClaim) -> tuple[str, str]:
    return seniority(claim.metadata.created, claim.metadata.name)
