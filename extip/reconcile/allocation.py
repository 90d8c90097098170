"""Gives addresses from pools to services, in step with the loop that writes their claims.

`plan` decides what each service has, for the claims to be made of it; `due` says what then is to be
written to the services, and to the pools how much of them is left; `write` does. All run only while
this process leads.

Writes to services carry the version that they were decided over: a decision that went stale fails.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Protocol

from extip import log
from extip.api.ipcontroller_v1 import IpClaim, IpClaimPool
from extip.clock import Clock
from extip.errors import ConflictError, NotFoundError
from extip.metrics import Metrics
from extip.plan.allocation import Allocation, plan_allocation
from extip.plan.claims import parse_cidr, pool_of, recorded_ports
from extip.plan.demand import Demand
from extip.plan.evidence import Context
from extip.plan.link import IPAddress
from extip.plan.pool_usage import pool_status_patch, usage_by_pool
from extip.plan.pools import Pools
from extip.plan.publication import Publication
from extip.plan.requests import Owner, Ports, Requests
from extip.plan.set_aside import Aside, SetAside, taken
from extip.reconcile.contention import Contention
from extip.reconcile.scheduling_ports import Publishing, SetPoolStatus

_STATUSES_S = 1.0
"""Time between two writes of pools' statuses, into which all changes meanwhile go."""

_ARRIVAL_S = 1.0
"""Time after which it is looked again whether an address is up that is to replace another one: what
claims report does not begin a pass."""

_FREED_MAX = 1 << 16
"""Addresses remembered as given back; the oldest are forgotten."""

_RFC3339 = "%Y-%m-%dT%H:%M:%SZ"


class AllocationStore(Protocol):
    """Where the results are written; every call raises ApiError."""

    async def publish(self, publication: Publication) -> None:
        """Write to a service what it was given."""

    async def rival(self, publication: Publication) -> str:
        """Return who else owns what the publication writes; empty: not known."""

    async def patch_pool_status(self, pool: IpClaimPool, patch: object) -> None:
        """Merge into a pool's status."""


class AllocationReporter(Protocol):
    """Tells users what became of their services, where they look."""

    def allocated(self, owner: Owner, addresses: Mapping[IPAddress, str]) -> None:
        """Record that the service has new addresses, each with the name of its pool."""

    def waiting(self, owner: Owner, why: str) -> None:
        """Record that the service does not have what it asks for."""

    def misunderstood(self, owner: Owner, what: str) -> None:
        """Record that an annotation of the service means nothing."""

    def contested(self, owner: Owner, field: str, rival: str) -> None:
        """Record that another program keeps changing a field of the service."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AllocationInputs:
    """Everything that allocation decides over, but claims and what services write themselves."""

    demands: Collection[Demand]
    pools: Pools
    known_pools: Mapping[str, IpClaimPool]
    """The pools as the API server has them, by name."""
    namespaces: Mapping[str, Mapping[str, str]]
    """Labels by name."""
    ports: Callable[[Owner], Ports]
    misunderstood: Mapping[Owner, str]
    """What is wrong with annotations of services, whether these ask for addresses or not."""


class _Planned:
    """The last plan: claims change far more often than what allocation reads of them."""

    def __init__(
        self,
        inputs: AllocationInputs,
        claims: Iterable[IpClaim],
        requests: Requests,
        node_ips: frozenset[IPAddress],
        allocation: Allocation,
        aside: Aside,
    ) -> None:
        self.allocation = allocation
        self.aside = aside
        self._over = _parts(inputs, requests, node_ips)
        self._claims = {claim.metadata.name: claim for claim in claims}

    def holds(
        self,
        inputs: AllocationInputs,
        claims: Collection[IpClaim],
        requests: Requests,
        node_ips: frozenset[IPAddress],
    ) -> bool:
        """Whether planning again would come to the same."""
        parts = _parts(inputs, requests, node_ips)
        if any(new is not old for new, old in zip(parts, self._over, strict=True)):
            return False
        if self.allocation.arriving:
            return False  # what claims report is not compared
        if self.allocation.waiting or len(claims) != len(self._claims):
            return False  # who waits may wait for a port of a service that is not among the demands
        return all(self._reads_the_same(claim) for claim in claims)

    def _reads_the_same(self, new: IpClaim) -> bool:
        old = self._claims.get(new.metadata.name)
        return old is new or (
            old is not None
            and (old.spec.cidr, old.spec.services) == (new.spec.cidr, new.spec.services)
            and (old.managed, pool_of(old)) == (new.managed, pool_of(new))
            and recorded_ports(old) == recorded_ports(new)
            and taken(old) == taken(new)
        )


def _parts(
    inputs: AllocationInputs, requests: Requests, node_ips: frozenset[IPAddress]
) -> tuple[object, ...]:
    return inputs.demands, inputs.pools, inputs.namespaces, requests, node_ips


class Allocator:
    """Plans, remembers what was freed, and writes; implements `AddressAllocator`."""

    def __init__(
        self,
        *,
        inputs: Callable[[], AllocationInputs],
        store: AllocationStore,
        reporter: AllocationReporter,
        clock: Clock,
        rng: Random,
        metrics: Metrics,
    ) -> None:
        self._inputs = inputs
        self._store = store
        self._reporter = reporter
        self._clock = clock
        self._metrics = metrics
        self._contention = Contention(store, reporter, clock=clock, rng=rng)
        self._log = log.get_logger("allocation")
        self._last: _Planned | None = None
        self._set_aside = SetAside()
        self._freed: dict[IPAddress, None] = {}
        self._used: Collection[IPAddress] = ()
        self._written: dict[str, str] = {}
        self._unclaimed: dict[Owner, set[IPAddress]] = {}
        self._statuses: dict[str, SetPoolStatus] = {}
        self._told: dict[Owner, str] = {}
        self._told_slips: Mapping[Owner, str] = {}
        self._statuses_due_s = 0.0
        self._counted: set[str] = set()

    def forget(self) -> None:
        """Read anew what others have written: another may have led meanwhile."""
        self._last = None
        self._set_aside = SetAside()
        self._contention.forget()
        self._statuses, self._statuses_due_s = {}, 0.0
        self._written, self._unclaimed = {}, {}

    def plan(
        self, claims: Collection[IpClaim], requests: Requests, node_ips: frozenset[IPAddress]
    ) -> Allocation:
        """Decide which service has which address; remembers those that nobody has any more."""
        inputs = self._inputs()
        last = self._last
        if last is not None and not last.holds(inputs, claims, requests, node_ips):
            last = None
        aside = self._look_aside(inputs, claims, anew=last is None)
        if last is not None and last.aside == aside:
            return last.allocation
        allocation = plan_allocation(
            inputs.demands,
            inputs.pools,
            claims,
            Context(
                requests=requests,
                node_ips=node_ips,
                namespaces=inputs.namespaces,
                freed=self._freed,
                aside=aside,
                ports=inputs.ports,
            ),
        )
        self._last = _Planned(inputs, claims, requests, node_ips, allocation, aside)
        self._unclaimed = {owner: {*one.unclaimed} for owner, one in allocation.upcoming.items()}
        self._remember(allocation.users, inputs.pools)
        return allocation

    def _look_aside(
        self, inputs: AllocationInputs, claims: Iterable[IpClaim], *, anew: bool
    ) -> Aside:
        """Return which addresses others have; the claims are read when it may be news."""
        now_s, now = self._clock.monotonic(), self._clock.utcnow()
        if anew or self._set_aside:
            self._set_aside.learn(inputs.known_pools.values(), now_s, now)
            news = self._set_aside.look(claims, now_s, now.strftime(_RFC3339))
            for ip, message in news.items():
                self._log.warning("address_set_aside", address=str(ip), reason=message)
        return self._set_aside.view(now_s)

    def due(self, allocation: Allocation) -> tuple[dict[str, Publishing], float | None]:
        """Return what is to be written to services, then to pools, by name.

        And the seconds after which there may be more to write, None for no need.
        """
        inputs = self._inputs()
        self._tell(allocation.waiting, inputs.misunderstood)
        unhurried, later_s = self._contention.due(allocation.publications)
        found: dict[str, Publishing] = {str(one.owner): one for one in unhurried}
        statuses_s = self._plan_statuses(inputs, allocation)
        aside_s = self._set_aside.next_s(self._clock.monotonic())
        arrival_s = _ARRIVAL_S if allocation.arriving else None
        waits_s = [s for s in (later_s, statuses_s, aside_s, arrival_s) if s is not None]
        found |= self._statuses
        self._written = {
            key: version
            for key, version in self._written.items()
            if key in found or key in inputs.known_pools
        }
        due = {k: one for k, one in found.items() if self._written.get(k) != _version(one)}
        return due, min(waits_s, default=None)

    def claimed(self, claim: IpClaim) -> dict[str, Publishing]:
        """Take note of a claim that was written; return what can be written to services then.

        So a service says its address as soon as a claim does, not when everything is claimed.
        """
        interface = parse_cidr(claim.spec.cidr)
        if self._last is None or interface is None:
            return {}
        found: dict[str, Publishing] = {}
        for service in claim.spec.services or ():
            owner = Owner(
                kind="Service", namespace=service.namespace, name=service.name, uid=service.uid
            )
            unclaimed = self._unclaimed.get(owner)
            if unclaimed is None or interface.ip not in unclaimed:
                continue
            unclaimed.discard(interface.ip)
            one = self._last.allocation.upcoming[owner].publication
            if not unclaimed and self._contention.due((one,))[0]:
                found[_key(one)] = one
        return found

    async def write(self, one: Publishing) -> None:
        """Write to a service or a pool; raises ApiError.

        Not again over the same version: the watch is about to show another one.
        """
        try:
            if isinstance(one, SetPoolStatus):
                await self._store.patch_pool_status(one.pool, one.patch)
            else:
                await self._publish(one)
        except (ConflictError, NotFoundError):
            self._written[_key(one)] = _version(one)
            raise
        self._written[_key(one)] = _version(one)

    def failed(self, one: Publishing, error: str) -> None:
        """Tell of a write that failed and had not before."""
        self._log.warning("write_failed", object=_key(one), error=error)
        if not isinstance(one, SetPoolStatus):
            self._reporter.waiting(one.owner, f"its addresses cannot be written: {error}")

    async def _publish(self, one: Publication) -> None:
        await self._contention.look(one)
        await self._store.publish(one)
        self._contention.wrote(one)
        allocated = {} if self._last is None else self._last.allocation.allocated
        pools = {ip: allocated[ip].pool for ip in one.new if ip in allocated}
        new = [str(ip) for ip in one.new]
        self._log.info("service_written", service=str(one.owner), new=new)
        if pools:
            self._reporter.allocated(one.owner, pools)

    def _plan_statuses(self, inputs: AllocationInputs, allocation: Allocation) -> float | None:
        """Find what makes the pools' statuses true; return when to do so anew, None if at will."""
        wait_s = self._statuses_due_s - self._clock.monotonic()
        if wait_s > 0:
            return wait_s
        self._statuses_due_s = self._clock.monotonic() + _STATUSES_S
        usage = usage_by_pool(inputs.pools, allocation.users)
        aside = usage_by_pool(inputs.pools, self._set_aside.listed())
        self._count(inputs.pools, usage, aside)
        now = self._clock.utcnow().strftime(_RFC3339)
        self._statuses = {}
        for pool in inputs.pools.ordered:
            shown = inputs.known_pools[pool.name]
            patch = pool_status_patch(
                shown, pool, usage[pool.name], now=now, aside=aside[pool.name]
            )
            if patch is not None:
                self._statuses[pool.name] = SetPoolStatus(shown, patch)
        return None

    def _tell(self, waiting: Mapping[Owner, str], slips: Mapping[Owner, str]) -> None:
        if slips is not self._told_slips:
            for owner, what in slips.items():
                if self._told_slips.get(owner) != what:
                    self._reporter.misunderstood(owner, what)
            self._told_slips = slips
        for owner, why in waiting.items():
            if self._told.get(owner) != why:
                self._reporter.waiting(owner, why)
        self._told = dict(waiting)
        self._metrics.services_waiting.set(len(waiting))

    def _remember(self, users: Collection[IPAddress], pools: Pools) -> None:
        for ip in users:
            self._freed.pop(ip, None)
        gone = [ip for ip in self._used if ip not in users and pools.of(ip) is not None]
        for _, ip in sorted(((ip.version, int(ip)), ip) for ip in gone):
            self._freed[ip] = None
        for ip in list(self._freed)[: max(0, len(self._freed) - _FREED_MAX)]:
            del self._freed[ip]
        self._used = users

    def _count(
        self,
        pools: Pools,
        usage: Mapping[str, Collection[IPAddress]],
        aside: Mapping[str, Collection[IPAddress]],
    ) -> None:
        gauge = self._metrics.pool_addresses
        for name in self._counted - pools.by_name.keys():
            for state in ("used", "free", "set aside"):
                gauge.remove(name, state)
        self._counted = set(pools.by_name)
        for pool in pools.ordered:
            used = len(usage[pool.name])
            unused = sum(ip not in usage[pool.name] for ip in aside[pool.name])
            gauge.labels(pool.name, "used").set(used)
            gauge.labels(pool.name, "free").set(pool.size - used - unused)
            gauge.labels(pool.name, "set aside").set(unused)


def _key(one: Publishing) -> str:
    return one.pool.metadata.name if isinstance(one, SetPoolStatus) else str(one.owner)


def _version(one: Publishing) -> str:
    return one.pool.metadata.resource_version if isinstance(one, SetPoolStatus) else one.version
