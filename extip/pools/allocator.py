"""Gives addresses from pools to services, in step with the scheduling loop.

`plan` decides the addresses of each service, of which the loop makes claims. `due` returns the
writes to services, and to the status of pools. `write` makes one of them. All run only while this
process leads.

A write to a service carries the version that was decided over, so that a stale decision fails.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from math import inf
from random import Random
from typing import NamedTuple

from extip import log
from extip.api.core_v1 import DetailedService
from extip.api.ipcontroller_v1 import IpClaim, IpClaimPool
from extip.cache.derived import Followed
from extip.claims.policy.claims import parse_cidr
from extip.clock import Clock
from extip.errors import ConflictError, NotFoundError
from extip.metrics import Metrics
from extip.net.interfaces import IPAddress
from extip.pools.contention import Contention
from extip.pools.policy.address_request import AddressRequest
from extip.pools.policy.allocation_index import Facts
from extip.pools.policy.allocation_state import AllocationState
from extip.pools.policy.freed import Freed
from extip.pools.policy.outcome import Allocation
from extip.pools.policy.pools import Pools
from extip.pools.policy.service_update import AllocationWrite, ServiceUpdate, SetPoolStatus
from extip.pools.policy.set_aside import Aside, SetAside
from extip.pools.policy.usage import PoolUsage
from extip.pools.pool_statuses import PoolStatuses
from extip.pools.publisher import AllocationEvents, AllocationWriter
from extip.services.policy.references import owner_of
from extip.services.policy.requests import Owner, Ports, Request

_ARRIVAL_S = 1.0
"""Seconds after which a pass looks whether a replacing address is up. The status of a claim does
not trigger a pass."""

_STEP = 32
"""Services that are looked at in one call of `plan`: some milliseconds."""

_COMPARED = 256
"""Addresses of the leadership before that are compared in one call of `plan`."""

_CONFLICT_S = 15.0
"""Seconds after which a write that met a conflict is tried again over the same version."""

_RFC3339 = "%Y-%m-%dT%H:%M:%SZ"


@dataclass(frozen=True, slots=True, kw_only=True)
class AllocationInputs:
    """The facts that allocation decides over, without claims and written external IPs."""

    pools: Pools
    known_pools: Mapping[str, IpClaimPool]
    """The pools as objects, by name."""
    namespaces: Mapping[str, Mapping[str, str]]
    """The labels of namespaces, by name."""
    ports: Callable[[Owner], Ports]
    misunderstood: Mapping[Owner, str]
    """The errors in annotations of services, also of services that ask for no address."""


class _Written(NamedTuple):
    """A write that was made, or met a conflict: the watch is to deliver another version."""

    version: str
    content: object
    until: float = inf

    def is_of(self, one: AllocationWrite, now: float) -> bool:
        """Whether it makes this write needless, or useless, for now."""
        return (self.version, self.content) == (_version(one), _content(one)) and now < self.until


class Allocator:
    """Plans, remembers freed addresses, and writes to services and pools."""

    def __init__(  # noqa: PLR0913 - a composition of ports
        self,
        *,
        inputs: Callable[[], AllocationInputs],
        requests: Followed[DetailedService, AddressRequest],
        writer: AllocationWriter,
        events: AllocationEvents,
        clock: Clock,
        rng: Random,
        metrics: Metrics,
    ) -> None:
        """Compose; `requests` are what services ask of pools, by ``namespace/name``."""
        self._inputs = inputs
        self._requests = requests
        self._writer = writer
        self._events = events
        self._clock = clock
        self._metrics = metrics
        self._contention = Contention(writer, events, clock=clock, rng=rng)
        self._log = log.get_logger("allocation")
        self._state = AllocationState()
        self._last: Allocation | None = None
        self._planned_pools: Pools | None = None
        """The pools of the last plan; they may be other ones by the time of `due`."""
        self._set_aside = SetAside()
        self._freed = Freed()
        self._used: Mapping[IPAddress, object] = {}
        self._former: dict[IPAddress, object] = {}
        """The users in earlier leaderships of addresses that were not compared since."""
        self._written: dict[str, _Written] = {}
        self._unclaimed: dict[Owner, set[IPAddress]] = {}
        self._statuses = PoolStatuses(clock=clock, metrics=metrics)
        self._usage = PoolUsage(Pools(), {})
        self._told: dict[Owner, str] = {}
        self._told_slips: Mapping[Owner, str] = {}

    def forget(self) -> None:
        """Forget the last plan and all writes: another process may have led meanwhile."""
        self._former |= self._used
        self._state, self._used = AllocationState(), {}
        self._requests.forget()
        self._last = None
        self._set_aside = SetAside()
        self._contention.forget()
        self._statuses.forget()
        self._written, self._unclaimed = {}, {}

    def take_claims(self, changes: Mapping[str, IpClaim | None]) -> None:
        """Take the new versions of claims by name; None for a claim that is gone."""
        self._state.take_claims(changes)

    def take_explicit(self, changes: Mapping[IPAddress, Request | None]) -> None:
        """Take the new requests of services that write an external IP themselves; None for none."""
        self._state.take_explicit(changes)

    def plan(self, node_ips: frozenset[IPAddress]) -> Allocation:
        """Decide the addresses of some services, and remember the freed ones.

        The first call after a change begins, and more calls go on, until nothing is `pending`.
        """
        inputs = self._inputs()
        state = self._state
        self._freed.regroup(inputs.pools)
        state.take_requests(self._requests.changes(_STEP))
        facts = Facts(
            node_ips=node_ips,
            namespaces=inputs.namespaces,
            freed=self._freed,
            aside=self._look_aside(inputs),
            ports=inputs.ports,
            now=self._clock.utcnow(),
        )
        if self._requests.pending:
            return state.last
        allocation = state.plan(inputs.pools, facts, _STEP)
        self._planned_pools = inputs.pools
        if allocation is not self._last:
            self._last = allocation
            self._unclaimed = {
                owner: {*one.unclaimed} for owner, one in allocation.upcoming.items()
            }
            self._remember(allocation, inputs.pools)
            self._usage_of(inputs.pools, allocation).take(allocation.changed)
        self._remember_former(allocation, inputs.pools)
        return allocation

    @property
    def pending(self) -> bool:
        """Whether `plan` has more to decide."""
        return self._requests.pending or self._state.pending or bool(self._former)

    def _look_aside(self, inputs: AllocationInputs) -> Aside:
        """Return the addresses of other stations; claims that may have news of them are read."""
        now_s, now = self._clock.monotonic(), self._clock.utcnow()
        self._set_aside.learn(inputs.known_pools.values(), now_s, now)
        claims = self._state.claims_about(self._set_aside.listed())
        news = self._set_aside.update(claims, now_s, now.strftime(_RFC3339))
        for ip, message in news.items():
            self._log.warning("address_set_aside", address=str(ip), reason=message)
        return self._set_aside.view(now_s)

    def due(self, allocation: Allocation) -> tuple[dict[str, AllocationWrite], float | None]:
        """Return the writes to services, then to pools, by name.

        The second value is the number of seconds after which there may be more, or None.
        """
        inputs = self._inputs()
        self._tell(allocation.waiting, inputs.misunderstood)
        unhurried, later_s = self._contention.due(allocation.service_updates)
        found: dict[str, AllocationWrite] = {str(one.owner): one for one in unhurried}
        whole = inputs.pools is self._planned_pools and not self.pending
        statuses_s = None
        if whole:
            usage, aside = self._usage_of(inputs.pools, allocation), self._set_aside.listed()
            statuses_s = self._statuses.plan(inputs.pools, inputs.known_pools, usage, aside)
        aside_s = self._set_aside.next_s(self._clock.monotonic())
        arrival_s = _ARRIVAL_S if allocation.arriving else None
        waits_s = [s for s in (later_s, statuses_s, aside_s, arrival_s) if s is not None]
        found |= self._statuses.writes
        self._written = {
            key: written
            for key, written in self._written.items()
            if key in found or key in inputs.known_pools
        }
        now = self._clock.monotonic()
        due = dict(found)
        for key, written in self._written.items():
            if key in found and written.is_of(found[key], now):
                del due[key]
                waits_s += [written.until - now] if written.until < inf else []
        return due, min(waits_s, default=None)

    def claimed(self, claim: IpClaim) -> dict[str, AllocationWrite]:
        """Note a claim that was written; return the writes to services that waited for it.

        So a service shows its address together with its claim, not after all other claims.
        """
        interface = parse_cidr(claim.spec.cidr)
        if self._last is None or interface is None:
            return {}
        found: dict[str, AllocationWrite] = {}
        for service in claim.spec.services or ():
            owner = owner_of(service)
            unclaimed = self._unclaimed.get(owner)
            if unclaimed is None or interface.ip not in unclaimed:
                continue
            unclaimed.discard(interface.ip)
            one = self._last.upcoming[owner].update
            if not unclaimed and self._contention.due((one,))[0]:
                found[_key(one)] = one
        return found

    async def write(self, one: AllocationWrite) -> None:
        """Write to a service or a pool; raises ApiError.

        After a conflict `due` leaves the write out until the watch delivers another version, for
        `_CONFLICT_S` at most: a webhook may answer with 409, too.
        """
        try:
            if isinstance(one, SetPoolStatus):
                await self._writer.patch_pool_status(one.pool, one.patch)
            else:
                await self._publish(one)
        except (ConflictError, NotFoundError):
            until = self._clock.monotonic() + _CONFLICT_S
            self._written[_key(one)] = _Written(_version(one), _content(one), until)
            raise
        self._written[_key(one)] = _Written(_version(one), _content(one))

    def failed(self, one: AllocationWrite, error: str) -> None:
        """Report the first failure of a write."""
        self._log.warning("write_failed", object=_key(one), error=error)
        if not isinstance(one, SetPoolStatus):
            self._events.waiting(one.owner, f"its addresses cannot be written: {error}")

    async def _publish(self, one: ServiceUpdate) -> None:
        await self._contention.report(one)
        await self._writer.publish(one)
        self._contention.wrote(one)
        allocated = {} if self._last is None else self._last.allocated
        pools = {ip: allocated[ip].pool for ip in one.new if ip in allocated}
        new = [str(ip) for ip in one.new]
        self._log.info("service_written", service=str(one.owner), new=new)
        if pools:
            self._events.allocated(one.owner, pools)

    def _usage_of(self, pools: Pools, allocation: Allocation) -> PoolUsage:
        """Return the used addresses; for other pools they are empty, and all services are due."""
        if self._usage.pools is not pools or self._usage.users is not allocation.users:
            self._usage = PoolUsage(pools, allocation.users)
            self._statuses.compare_anew()
        return self._usage

    def _tell(self, waiting: Mapping[Owner, str], slips: Mapping[Owner, str]) -> None:
        if slips is not self._told_slips:
            for owner, what in slips.items():
                if self._told_slips.get(owner) != what:
                    self._events.misunderstood(owner, what)
            self._told_slips = slips
        for owner, why in waiting.items():
            if self._told.get(owner) != why:
                self._events.waiting(owner, why)
        self._told = dict(waiting)
        self._metrics.services_waiting.set(len(waiting))

    def _remember(self, allocation: Allocation, pools: Pools) -> None:
        """Remember the addresses that were freed."""
        users = allocation.users
        came: Collection[IPAddress] = allocation.changed
        gone = allocation.freed
        if self._used is not users:
            came, gone = list(self._freed), {}
        for ip in came:
            if ip in users:
                self._freed.drop(ip)
        self._put_freed(gone, pools)
        self._used = users

    def _remember_former(self, allocation: Allocation, pools: Pools) -> None:
        """Remember addresses that were freed while another process led; look at some of them."""
        some = [self._former.popitem() for _ in range(min(_COMPARED, len(self._former)))]
        lost = {ip: str(user) for ip, user in some if ip not in allocation.users}
        self._put_freed({ip: user for ip, user in lost.items() if ip not in self._freed}, pools)

    def _put_freed(self, gone: Mapping[IPAddress, str], pools: Pools) -> None:
        for ip in sorted(gone, key=lambda ip: (ip.version, int(ip))):
            if pools.of(ip) is not None:
                for forgotten in self._freed.put(ip, gone[ip]):
                    self._state.offer_again(forgotten)


def _key(one: AllocationWrite) -> str:
    return one.pool.metadata.name if isinstance(one, SetPoolStatus) else str(one.owner)


def _version(one: AllocationWrite) -> str:
    return one.pool.metadata.resource_version if isinstance(one, SetPoolStatus) else one.version


def _content(one: AllocationWrite) -> object:
    """Return the content of a pool's status. One that changes nothing leaves the version as it is.

    That is so where the definition is an older one, which drops what differs.
    """
    return one.patch if isinstance(one, SetPoolStatus) else None
