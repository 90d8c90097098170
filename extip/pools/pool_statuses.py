"""The status of each pool: when it is written, and the gauges that say the same.

Nobody waits for it, and with many addresses it is the dearest write of all. So it comes a second
after a service has got an address, with all that changed meanwhile. The claim and the service are
written then. A change of the pool itself, or of what is set aside, is told at once. Two writes of a
status are a second apart. A status with many addresses takes long. So the other pools have their
turn in the next plans, and each status is of one moment.
"""

from collections.abc import Collection, Mapping
from math import inf
from typing import NamedTuple

from extip.api.ipcontroller_v1 import IpClaimPool
from extip.api.pool_parts import SetAsideAddress
from extip.clock import Clock
from extip.metrics import Metrics
from extip.net.interfaces import IPAddress
from extip.pools.policy.pools import Pool, Pools
from extip.pools.policy.service_update import SetPoolStatus
from extip.pools.policy.usage import (
    MAX_LISTED,
    PoolUsage,
    PoolUsed,
    pool_status_patch,
    usage_by_pool,
)

APART_S = 1.0
"""Seconds between two writes of a status, and between a new address and the write that tells it."""

_RFC3339 = "%Y-%m-%dT%H:%M:%SZ"
_STATES = ("used", "free", "set aside")


class _Basis(NamedTuple):
    """The facts over which a status is planned."""

    shown: IpClaimPool
    pool: Pool
    aside: Mapping[IPAddress, SetAsideAddress]
    used: int
    """The version of the used addresses."""


class PoolStatuses:
    """Plans the writes; a plan that finds nothing new costs no more than that look."""

    def __init__(self, *, clock: Clock, metrics: Metrics) -> None:
        self._clock = clock
        self._gauge = metrics.pool_addresses
        self.writes: dict[str, SetPoolStatus] = {}
        """The planned writes, by the name of the pool."""
        self._compared: dict[str, _Basis] = {}
        """The facts of the last plan."""
        self._due_s: dict[str, float] = {}
        """When a change of the used addresses is told; only while there is one."""
        self._next_s: dict[str, float] = {}
        """When the next write may be planned."""
        self._late: dict[str, _Basis] = {}
        """The facts over which a write was found that has to wait: once is enough."""
        self._turns: dict[str, None] = {}
        """All pools, and last the one that was looked at last."""
        self._counted: set[str] = set()
        """The pools that the gauges tell of."""

    def forget(self) -> None:
        """Forget all plans: another process may have led meanwhile."""
        for known in (self.writes, self._due_s, self._next_s, self._late):
            known.clear()
        self.compare_anew()

    def compare_anew(self) -> None:
        """Have the next plan look at all pools: their used addresses are counted from the start."""
        self._compared.clear()

    def plan(
        self,
        pools: Pools,
        known: Mapping[str, IpClaimPool],
        usage: PoolUsage,
        listed: Mapping[IPAddress, SetAsideAddress],
    ) -> float | None:
        """Plan the writes; return the seconds until another plan may have more, or None.

        `known` are the pools as objects, by name, and `listed` the addresses that are set aside.
        """
        asides = usage_by_pool(pools, listed)
        self._take_names(asides)
        waits_s, looked_at = [], 0
        for name in list(self._turns):
            basis = _Basis(known[name], pools.by_name[name], asides[name], usage.of[name].version)
            if basis == self._compared.get(name):
                continue
            if looked_at >= MAX_LISTED:
                return 0.0
            self._count(basis.pool, usage.of[name], basis.aside)
            wait_s = self._wait_s(basis)
            if wait_s <= 0:
                wait_s = self._look(basis, usage.of[name])
                looked_at += len(usage.of[name])
            waits_s += [wait_s] if wait_s > 0 else []
        return min(waits_s, default=None)

    def _take_names(self, names: Mapping[str, object]) -> None:
        """Take the names of all pools, and forget the others."""
        self._turns = {name: None for name in (*self._turns, *names) if name in names}
        for known_of in (self.writes, self._compared, self._due_s, self._next_s, self._late):
            for name in known_of.keys() - names.keys():
                del known_of[name]
        for name in self._counted - names.keys():
            self._counted.remove(name)
            for state in _STATES:
                self._gauge.remove(name, state)

    def _wait_s(self, basis: _Basis) -> float:
        """Return the seconds that pass before a pool whose facts differ need be looked at."""
        name, now_s = basis.pool.name, self._clock.monotonic()
        before = self._compared.get(name)
        if before is not None and before[1:-1] == basis[1:-1] and before.used != basis.used:
            wait_s = self._due_s.setdefault(name, now_s + APART_S) - now_s
            if wait_s > 0:
                return wait_s
        return self._next_s[name] - now_s if self._late.get(name) == basis else 0.0

    def _look(self, basis: _Basis, used: PoolUsed) -> float:
        """Plan the write of one pool; return the seconds that it has to wait."""
        name, now_s = basis.pool.name, self._clock.monotonic()
        self._turns[name] = self._turns.pop(name)
        patch = pool_status_patch(
            basis.shown,
            basis.pool,
            used,
            now=self._clock.utcnow().strftime(_RFC3339),
            aside=basis.aside,
        )
        # The watch shows our own last write soon after it: then there is nothing to wait for.
        wait_s = self._next_s.get(name, -inf) - now_s
        if patch is not None and wait_s > 0:
            self._late[name] = basis
            return wait_s
        self._compared[name] = basis
        self._late.pop(name, None)
        self._due_s.pop(name, None)
        self.writes.pop(name, None)
        if patch is not None:
            self.writes[name] = SetPoolStatus(basis.shown, patch)
            self._next_s[name] = now_s + APART_S
        return 0.0

    def _count(self, pool: Pool, users: PoolUsed, aside: Collection[IPAddress]) -> None:
        self._counted.add(pool.name)
        unused = sum(ip not in users for ip in aside)
        free = pool.size - len(users) - unused
        for state, number in zip(_STATES, (len(users), free, unused), strict=True):
            self._gauge.labels(pool.name, state).set(number)
