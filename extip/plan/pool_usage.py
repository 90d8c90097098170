"""Which address is whose → what a pool's status says."""

from collections.abc import Iterable, Mapping
from typing import TypeVar

from extip.api.ipcontroller_v1 import EXHAUSTED, OVERLAPPING, IpClaimPool, SetAsideAddress
from extip.api.meta_v1 import Condition
from extip.plan.conditions import with_condition
from extip.plan.link import IPAddress
from extip.plan.pools import Pool, Pools

MAX_COUNT = 2**63 - 1
"""The greatest number that a status can hold."""

MAX_LISTED = 10_000
"""Addresses that a status lists; an object of the API server holds 1.5 MiB."""

T = TypeVar("T")

Usage = Mapping[str, Mapping[IPAddress, object]]

_NONE: Mapping[IPAddress, SetAsideAddress] = {}


def usage_by_pool(pools: Pools, users: Mapping[IPAddress, T]) -> dict[str, dict[IPAddress, T]]:
    """Return the addresses of each pool, by its name, that are in use."""
    usage: dict[str, dict[IPAddress, T]] = {pool.name: {} for pool in pools.ordered}
    for ip, user in users.items():
        pool = pools.of(ip)
        if pool is not None:
            usage[pool.name][ip] = user
    return usage


def pool_status_patch(
    shown: IpClaimPool,
    pool: Pool,
    used: Mapping[IPAddress, object],
    *,
    now: str,
    aside: Mapping[IPAddress, SetAsideAddress] = _NONE,
) -> dict[str, object] | None:
    """Return the merge patch that makes the status true, or None when it is.

    `aside` are the addresses of the pool that other stations have, `now` is RFC 3339 in UTC. Only
    what differs is written: a pool may list thousands.
    """
    allocated = _changes(
        {str(ip): str(used[ip]) for ip in _first(used)}, shown.status.allocated or {}
    )
    set_aside = _changes({str(ip): aside[ip] for ip in aside}, shown.status.set_aside or {})
    unused = sum(ip not in used for ip in aside)
    free = pool.size - len(used) - unused
    conditions = shown.status.conditions
    for condition in (_exhausted(pool, free, aside=unused), _overlapping(pool)):
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
    """Return what makes a map of an object say what is listed; a merge patch removes by null."""
    changes: dict[str, T | None] = {k: one for k, one in listed.items() if known.get(k) != one}
    for key in known.keys() - listed.keys():
        changes[key] = None
    return changes


def _first(used: Iterable[IPAddress]) -> list[IPAddress]:
    ordered = sorted((int(ip), ip) for ip in used)
    return [ip for _, ip in ordered[:MAX_LISTED]]


def _exhausted(pool: Pool, free: int, *, aside: int) -> Condition:
    if pool.problem:
        status, reason, message = str(free <= 0), "Malformed", pool.problem
    elif free <= 0:
        status, reason, message = "True", "NoFreeAddress", f"all {pool.size} addresses are in use"
        if aside:
            message += f", {aside} of them by other stations"
    else:
        status, reason, message = "False", "FreeAddresses", ""
    return Condition(type=EXHAUSTED, status=status, reason=reason, message=message)


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
