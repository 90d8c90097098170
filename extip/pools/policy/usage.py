"""The users of addresses → the status of each pool. Pure."""

from bisect import bisect_left, insort
from collections.abc import Iterable, Mapping
from ipaddress import IPv4Address, IPv6Address
from itertools import islice
from typing import TypeVar

from extip.api.conditions import with_condition
from extip.api.ipcontroller_v1 import EXHAUSTED, OVERLAPPING, IpClaimPool
from extip.api.meta_v1 import Condition
from extip.api.pool_parts import SetAsideAddress
from extip.net.interfaces import IPAddress
from extip.pools.policy.pools import Pool, Pools

MAX_COUNT = 2**63 - 1
"""The greatest number that a status can hold."""

MAX_LISTED = 10_000
"""Addresses that a status lists. An object of the API server may have 1.5 MiB."""

_V4, _V6 = 4, 6
_BLOCK_BITS = 8

T = TypeVar("T")

_NONE: Mapping[IPAddress, SetAsideAddress] = {}


def usage_by_pool(pools: Pools, users: Mapping[IPAddress, T]) -> dict[str, dict[IPAddress, T]]:
    """Return the used addresses of each pool, by the pool's name."""
    usage: dict[str, dict[IPAddress, T]] = {pool.name: {} for pool in pools.ordered}
    for ip, user in users.items():
        pool = pools.of(ip)
        if pool is not None:
            usage[pool.name][ip] = user
    return usage


class PoolUsed:
    """The used addresses of one pool, with their users."""

    def __init__(self) -> None:
        self._lines: dict[int, str] = {}
        """The line of the status about each address, made when its user is noted: to make those of
        a whole status at once would take long."""
        self._blocks: dict[int, list[int]] = {}
        """The addresses in order, in blocks of 256 neighbours: a list of all would be slow."""
        self._count = {_V4: 0, _V6: 0}
        self.version = 0
        """It grows with each change."""

    def __len__(self) -> int:
        """Return the number of addresses."""
        return len(self._lines)

    def __contains__(self, ip: object) -> bool:
        """Whether an address of the pool is used."""
        return isinstance(ip, IPv4Address | IPv6Address) and int(ip) in self._lines

    def count(self, version: int) -> int:
        """Return the number of addresses of an IP version."""
        return self._count[version]

    def put(self, ip: IPAddress, user: object) -> None:
        """Note the user of an address; None for no user."""
        number = int(ip)
        line = None if user is None else f"{ip} {user}"
        known = self._lines.get(number)
        if known == line:
            return
        self.version += 1
        if line is None:
            self._count[ip.version] -= 1
            del self._lines[number]
            self._remove(number)
            return
        if known is None:
            self._count[ip.version] += 1
            insort(self._blocks.setdefault(number >> _BLOCK_BITS, []), number)
        self._lines[number] = line

    def listed(self) -> dict[str, str]:
        """Return the first addresses with their users, as a status lists them."""
        first = (number for at in sorted(self._blocks) for number in self._blocks[at])
        return dict(self._lines[number].split(" ", 1) for number in islice(first, MAX_LISTED))

    def _remove(self, number: int) -> None:
        block = self._blocks[number >> _BLOCK_BITS]
        block.pop(bisect_left(block, number))
        if not block:
            del self._blocks[number >> _BLOCK_BITS]


class PoolUsage:
    """The used addresses of all pools: those that were among the changed ones of `take`."""

    def __init__(self, pools: Pools, users: Mapping[IPAddress, object]) -> None:
        self.pools = pools
        self.users = users
        self.of = {pool.name: PoolUsed() for pool in pools.ordered}

    def take(self, changed: Iterable[IPAddress]) -> None:
        """Look at addresses of which the user may be another one."""
        for ip in changed:
            self._take(ip)

    def _take(self, ip: IPAddress) -> None:
        pool = self.pools.of(ip)
        if pool is not None:
            self.of[pool.name].put(ip, self.users.get(ip))


def pool_status_patch(
    shown: IpClaimPool,
    pool: Pool,
    used: PoolUsed,
    *,
    now: str,
    aside: Mapping[IPAddress, SetAsideAddress] = _NONE,
) -> dict[str, object] | None:
    """Return the merge patch that brings the status up to date; None when it is.

    `aside` are the pool's addresses that other stations have. `now` is RFC 3339 in UTC. The patch
    has only the differences, since a pool may list thousands of addresses.
    """
    allocated = _changes(used.listed(), shown.status.allocated or {})
    set_aside = _changes({str(ip): aside[ip] for ip in aside}, shown.status.set_aside or {})
    unused = sum(ip not in used for ip in aside)
    free = pool.size - len(used) - unused
    conditions = shown.status.conditions
    for condition in (_exhausted(pool, used, aside), _overlapping(pool)):
        conditions = with_condition(conditions, _observed(condition, shown), now=now)
    counts = min(pool.size, MAX_COUNT), min(free, MAX_COUNT)
    if (
        not allocated
        and not set_aside
        and counts == (shown.status.size, shown.status.free)
        and conditions == shown.status.conditions
    ):
        return None
    return {
        "metadata": {"resourceVersion": shown.metadata.resource_version},
        "status": {
            "allocated": allocated,
            "setAside": set_aside,
            "size": counts[0],
            "free": counts[1],
            "conditions": conditions,
        },
    }


def _changes(listed: Mapping[str, T], known: Mapping[str, T]) -> dict[str, T | None]:
    """Return the entries of a merge patch from `known` to `listed`; null removes an entry."""
    changes: dict[str, T | None] = {k: one for k, one in listed.items() if known.get(k) != one}
    for key in known.keys() - listed.keys():
        changes[key] = None
    return changes


def _exhausted(pool: Pool, used: PoolUsed, aside: Iterable[IPAddress]) -> Condition:
    """Return the condition: a pool of two IP versions is exhausted when one of them is."""
    full: list[str] = []
    for version in sorted(pool.versions):
        size = pool.size_of(version)
        unused = sum(ip.version == version and ip not in used for ip in aside)
        if size - used.count(version) - unused <= 0:
            family = f" IPv{version}" if len(pool.versions) > 1 else ""
            others = f", {unused} of them by other stations" if unused else ""
            full.append(f"all {size}{family} addresses are in use{others}")
    if pool.problem:
        status = str(bool(full) or not pool.networks)
        return Condition(type=EXHAUSTED, status=status, reason="Malformed", message=pool.problem)
    if full:
        message = "; ".join(full)
        return Condition(type=EXHAUSTED, status="True", reason="NoFreeAddress", message=message)
    return Condition(type=EXHAUSTED, status="False", reason="FreeAddresses")


def _overlapping(pool: Pool) -> Condition:
    if not pool.overlaps:
        return Condition(type=OVERLAPPING, status="False", reason="NoOverlap")
    names = ", ".join(pool.overlaps)
    return Condition(
        type=OVERLAPPING,
        status="True",
        reason="SharedAddresses",
        message=f"has addresses of {names}; the first in order of priority and name gives them",
    )


def _observed(condition: Condition, pool: IpClaimPool) -> Condition:
    return Condition(
        type=condition.type,
        status=condition.status,
        reason=condition.reason,
        message=condition.message,
        observed_generation=pool.metadata.generation,
    )
