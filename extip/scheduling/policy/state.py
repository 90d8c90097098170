"""The scheduler's state: each IP is decided anew when something about it has changed. Pure.

The state has the claims and the wants of each IP, and the loads of nodes. A change makes IPs due:

- a claim, or a want: its IP;
- the facts of a node: the IPs of its claims, those that it is to take as their standby, and IPs
  whose decision depends on all nodes;
- the endpoints and the wishes of a service, or the wishes of a pool: the IPs of that one;
- the node that has an IP up without a claim: that IP;
- the first node of a subnet: the IPs of that subnet.

`decide` takes due IPs, the most urgent first, and plans for them as `planner` does for all. Each IP
is decided once, however often it was touched.
"""

from collections.abc import Collection, Iterable, Mapping
from functools import partial

from extip.api.ipcontroller_v1 import IpClaim
from extip.api.names import label_value
from extip.cache.changes import differing
from extip.claims.policy.assignment import standby_of
from extip.claims.policy.claims import pool_of
from extip.claims.policy.names import claim_name
from extip.net.interfaces import IPInterface
from extip.scheduling.policy.at_rest import is_at_rest
from extip.scheduling.policy.due import Crowd, Due, within
from extip.scheduling.policy.indexes import KeysBy
from extip.scheduling.policy.keys import Key, Wanted, key_of
from extip.scheduling.policy.placement import Strategy
from extip.scheduling.policy.planner import plan_some
from extip.scheduling.policy.schedule import CreateClaim, Decided, Schedule, Write
from extip.scheduling.policy.snapshot import Snapshot
from extip.scheduling.policy.snapshot_changes import changed_nodes, changed_wishes
from extip.scheduling.policy.spread import Seat, services_that_moved
from extip.scheduling.policy.standbys import Standbys
from extip.scheduling.policy.standing import Standing
from extip.scheduling.policy.urgency import Urgency


class ScheduleState:
    """Claims, wants, loads, and the IPs that are due."""

    def __init__(self, strategy: Strategy) -> None:
        self._strategy = strategy
        self._standing: Standing | None = None
        self._claims: dict[str, IpClaim] = {}
        self._names: dict[Key, tuple[str, ...]] = {}
        self._wanted: dict[Key, Wanted] = {}
        self._due = Due()
        self._counted: dict[Key, tuple[str, ...]] = {}
        self._held: dict[Key, tuple[str, ...]] = {}
        self._alone: dict[str, tuple[str, ...]] = {}
        """Each node, and each pool, alone in a tuple that many IPs share."""
        self._uneasy: dict[Key, None] = {}
        self.astray: dict[Key, None] = {}
        """The IPs with a claim that has a better node than its own."""
        self._seats: dict[Key, tuple[Seat, ...]] = {}
        self._by_node = KeysBy[Key]()
        self._by_service = KeysBy[Key]()
        self._by_pool = KeysBy[Key]()
        self._round: list[Key] = []
        """The IPs that this round of `audit` has still to look at."""
        self.version = 0
        """It grows with each change of a claim or a node."""
        self.writes: dict[Key, tuple[Write, ...]] = {}
        """The writes that are decided and not made."""
        self._gone: dict[Key, tuple[str, ...]] = {}
        """The claims that are gone since the last decision, by name."""
        self._creating: dict[str, Key] = {}
        """The IPs of claims that are to be created, by the claim's name."""
        self.standbys = Standbys()
        """The standbys of claims at rest. Choose some only while no IP is due."""
        self.in_the_way: dict[str, IPInterface] = {}
        """IPs whose claim cannot be created, by its name."""

    @property
    def claims(self) -> Mapping[str, IpClaim]:
        """All claims by name."""
        return self._claims

    def claims_of(self, ip: Key) -> tuple[IpClaim, ...]:
        """Return the claims of an IP."""
        return tuple(self._claims[name] for name in self._names.get(ip, ()))

    def counted(self, key: Key) -> tuple[str, ...]:
        """Return the nodes whose load counts claims of an IP, also when they are to come."""
        return self._counted.get(key, ())

    def on(self, node: str) -> Collection[Key]:
        """Return the IPs whose decision depends on a node."""
        return self._by_node.of(node)

    @property
    def standing(self) -> Standing | None:
        """The nodes with their loads; None before the first snapshot."""
        return self._standing

    @property
    def pending(self) -> int:
        """The number of IPs that are due."""
        return len(self._due)

    def take_claims(self, changes: Mapping[str, IpClaim | None]) -> None:
        """Take the new versions of claims by name; None for a claim that is gone."""
        for name, new in changes.items():
            old = self._claims.get(name)
            if old is new:
                continue
            self.version += 1
            if old is not None and (new is None or new.spec.cidr != old.spec.cidr):
                self._drop(key_of(old), name)
            if new is None:
                del self._claims[name]
            else:
                self._claims[name], key = new, key_of(new)
                self._add(key, name)
                self.touch(key, _urgency(new))
            if name in self.in_the_way:
                self.touch(self.in_the_way[name].ip, Urgency.NEW)
            if name in self._creating:
                self.touch(self._creating[name], Urgency.NEW)

    def take_wants(self, changes: Mapping[Key, Wanted | None]) -> None:
        """Take the new requests for IPs; None for an IP that nobody wants any more."""
        for ip, new in changes.items():
            if self._wanted.get(ip) == new:
                continue
            if new is None:
                del self._wanted[ip]
            else:
                self._wanted[ip] = new
            self.touch(ip, Urgency.COSMETIC if ip in self._names else Urgency.NEW)

    def take_snapshot(self, new: Snapshot) -> None:
        """Take the facts of the nodes."""
        if self._standing is None:
            self._standing = Standing(new, self._strategy)
            return
        old = self._standing.snapshot
        if new is old:
            return
        self.version += 1
        subnets = self._standing.filters.subnets
        self._standing.renew(new)
        fresh = self._standing.filters.subnets - subnets
        if fresh:  # their IPs may be on another LAN
            name = ("within", *sorted(map(str, fresh)))
            among = Crowd(name, lambda: self._names, partial(within, fresh))
            self._due.gather(among, Urgency.NEW)
        nodes = changed_nodes(old, new)
        self._touch_all("node", self._by_node, nodes, Urgency.LEAVING)
        self._touch_standbys(nodes)
        if nodes or old.returning != new.returning:
            self._touch_uneasy()
        services, pools = changed_wishes(old, new, nodes)
        self._touch_all("service", self._by_service, services, Urgency.COSMETIC)
        self._touch_all("pool", self._by_pool, pools, Urgency.COSMETIC)
        for ip in differing(old.located, new.located):
            if ip in self._wanted:
                self.touch(ip, Urgency.NEW)

    def _touch_standbys(self, nodes: Collection[str]) -> None:
        """Decide anew whether these nodes may take what they are to take."""
        if nodes:
            self.standbys.nodes_changed()
        for node in nodes:
            claims = Crowd(("standby", node), partial(self.standbys.of, node), self._key_of_claim)
            self._due.gather(claims, Urgency.COSMETIC)

    def _key_of_claim(self, name: Key) -> Key | None:
        claim = self._claims.get(str(name))
        return None if claim is None else key_of(claim)

    def _touch_uneasy(self) -> None:
        self._due.gather(Crowd(("uneasy",), lambda: self._uneasy), Urgency.NEW)

    def _touch_all(
        self, kind: str, index: KeysBy[Key], words: Iterable[str], urgency: Urgency
    ) -> None:
        for word in words:
            self._due.gather(Crowd((kind, word), partial(index.of, word)), urgency)

    def is_balanced(self, steady: Collection[str]) -> bool:
        """Whether rebalancing surely moves nothing. While writes wait, loads may never come."""
        if self._standing is None or self.writes or self.astray:
            return False
        return self._standing.is_balanced(steady)

    def touch(self, key: Key, urgency: Urgency = Urgency.COSMETIC) -> None:
        """Make an IP due."""
        self._due.touch(key, urgency)

    def touch_claim(self, claim: IpClaim) -> None:
        """Make the IP of a claim due; the claim need not exist."""
        self.touch(key_of(claim))

    def decide(self, most: int, *, plans_all: bool = False) -> Decided | None:
        """Decide up to about `most` due IPs; return None when none is due.

        Claims at rest need no plan, and get one only if it `plans_all`.
        """
        standing = self._standing
        if standing is None or not self.pending:
            return None
        planned, resting = self._take(most, standing, plans_all=plans_all)
        before = standing.awaited()
        seats = {key: self._seats.get(key, ()) for key in (*planned, *resting)}
        told = self._retract((*planned, *resting))
        for key, claim in resting.items():
            self._stay(key, claim, standing)
        wants = [want for key in planned if (want := self._wanted.get(key)) is not None]
        claims = tuple(self._claims[name] for key in planned for name in self._names.get(key, ()))
        schedule = plan_some(
            {want.interface: want.owners for want in wants},
            claims,
            standing,
            pools={want.interface: want.pool for want in wants if want.pool},
        )
        self._record(planned, claims, schedule)
        self._touch_groups(seats)
        if standing.awaited() != before:
            self._touch_uneasy()
        claims = *claims, *resting.values()
        awaiting = self.standbys.awaiting(claims)
        return Decided(claims=claims, schedule=schedule, before=told, unprepared=awaiting)

    def audit(self, most: int) -> Decided | None:
        """Decide some IPs anew, though nothing about them has changed: the same should come out.

        All IPs have their turn, round after round. Return None while any IP is due.
        """
        if self._standing is None or self.pending:
            return None
        if not self._round:
            self._round = [*self._wanted, *self._names]
            self._standing.refilter()
            most = -(-most // 4)  # all nodes are filtered anew, too
        for key in self._round[-most:]:
            self.touch(key)
        del self._round[-most:]
        return self.decide(most, plans_all=True)

    def _take(
        self, most: int, standing: Standing, *, plans_all: bool
    ) -> tuple[dict[Key, None], dict[Key, IpClaim]]:
        """Take due IPs: those that need a plan, and those whose claims are at rest.

        IPs whose claims have the names of claims to create need the same plan.
        """
        planned: dict[Key, None] = {}
        resting: dict[Key, IpClaim] = {}
        for key in self._due.take(most):
            claim = None if plans_all else self._resting(key, standing)
            if claim is None:
                planned[key] = None
            else:
                resting[key] = claim
        for key in list(planned):
            want = self._wanted.get(key)
            other = None if want is None else self._claims.get(claim_name(want.interface))
            if other is not None:
                planned[key_of(other)] = None
                resting.pop(key_of(other), None)
        self._due.discard(planned)
        return planned, resting

    def _resting(self, key: Key, standing: Standing) -> IpClaim | None:
        """Return the only claim of an IP if a plan would change nothing about it."""
        names, want = self._names.get(key, ()), self._wanted.get(key)
        if want is None or len(names) != 1:
            return None
        claim = self._claims[names[0]]
        interface, owners, pool = want
        return claim if is_at_rest(claim, interface, owners, pool, standing) else None

    def _stay(self, key: Key, claim: IpClaim, standing: Standing) -> None:
        """Note that a claim stays where it is, as `_record` does."""
        name, node = claim.metadata.name, claim.spec.node_name
        self.standbys.record(name, node, standby_of(claim))
        self._counted[key] = here = self._alone.setdefault(node, (node,))
        standing.placement.hold(node)
        if self._strategy is Strategy.FIRST_ALIVE:
            self._held[key] = here
            standing.holding[node] += 1
        self._by_node.put(key, here)
        self._by_service.put(key, map(str, claim.spec.services or ()))
        pool = pool_of(claim)
        self._by_pool.put(key, self._alone.setdefault(pool, (pool,)) if pool else ())

    def _retract(self, keys: Collection[Key]) -> frozenset[str]:
        """Forget earlier decisions; return the claims that they had writes for."""
        standing = self._standing
        assert standing is not None  # noqa: S101 - `decide` has looked
        told: list[str] = []
        for key in keys:
            for node in self._counted.pop(key, ()):
                standing.placement.release(node)
            for group, node in self._seats.pop(key, ()):
                standing.placement.spread.release(group, node)
            for node in self._held.pop(key, ()):
                standing.holding[node] -= 1
            names = [write.claim.metadata.name for write in self.writes.pop(key, ())]
            for name in (*self._names.get(key, ()), *self._gone.get(key, ())):
                self.standbys.forget(name)
            for name in names:
                self._creating.pop(name, None)
            told += (*names, *self._gone.pop(key, ()))
            self._uneasy.pop(key, None)
            self.astray.pop(key, None)
        for name in [name for name, one in self.in_the_way.items() if one.ip in keys]:
            del self.in_the_way[name]
        return frozenset(told)

    def _record(self, keys: Iterable[Key], claims: Iterable[IpClaim], schedule: Schedule) -> None:
        of_name = {claim.metadata.name: key_of(claim) for claim in claims}
        writes: dict[Key, list[Write]] = {}
        for write in schedule.writes:
            if isinstance(write, CreateClaim):
                name = write.claim.metadata.name
                self._creating[name] = of_name.setdefault(name, key_of(write.claim))
            writes.setdefault(key_of(write.claim), []).append(write)
        self.writes |= {key: tuple(found) for key, found in writes.items()}
        self.in_the_way |= schedule.in_the_way
        self._count(of_name, schedule)
        for name, standby in schedule.standbys.items():
            self.standbys.record(name, schedule.holders[name], standby)
        for key in keys:
            if len(self._names.get(key, ())) > 1:
                self._uneasy[key] = None
            self._index(key)

    def _count(self, of_name: Mapping[str, Key], schedule: Schedule) -> None:
        standing = self._standing
        assert standing is not None  # noqa: S101 - `decide` has looked
        for name, node in schedule.counted.items():
            key = of_name[name]
            self._counted[key] = (*self._counted.get(key, ()), node)
            if name in schedule.groups:
                self._seats[key] = (*self._seats.get(key, ()), (schedule.groups[name], node))
        for name in schedule.uneasy:
            self._uneasy[of_name[name]] = None
        for name in schedule.astray:
            self.astray[of_name[name]] = None
        if self._strategy is Strategy.FIRST_ALIVE:
            for name, node in schedule.holders.items():
                if node and name in of_name:
                    key = of_name[name]
                    self._held[key] = (*self._held.get(key, ()), node)
                    standing.holding[node] += 1

    def _touch_groups(self, before: Mapping[Key, tuple[Seat, ...]]) -> None:
        for service in services_that_moved(before, self._seats):
            for other in (one for one in self._by_service.of(service) if one not in before):
                self.touch(other)

    def _index(self, key: Key) -> None:
        """Note the nodes, services and pools that the decision about an IP depends on."""
        claims = [self._claims[name] for name in self._names.get(key, ())]
        want = self._wanted.get(key)
        nodes = {claim.spec.node_name for claim in claims} | {*self._counted.get(key, ())}
        services = {str(one) for claim in claims for one in claim.spec.services or ()}
        pools = {pool_of(claim) for claim in claims}
        if want is not None:
            services |= {str(owner) for owner in want.owners}
            pools.add(label_value(want.pool))
        self._by_node.put(key, nodes - {""})
        self._by_service.put(key, services)
        self._by_pool.put(key, pools - {""})

    def _add(self, key: Key, name: str) -> None:
        names = self._names.get(key, ())
        if name not in names:
            self._names[key] = tuple(sorted((*names, name)))

    def _drop(self, key: Key, name: str) -> None:
        self._gone[key] = (*self._gone.get(key, ()), name)
        rest = tuple(other for other in self._names[key] if other != name)
        if rest:
            self._names[key] = rest
        else:
            del self._names[key]
        self.touch(key, Urgency.NEW)


def _urgency(claim: IpClaim) -> Urgency:
    return Urgency.COSMETIC if claim.spec.node_name else Urgency.NEW
