"""IpClaimPools → their rows of `extip status`. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass

from extip.api.conditions import find_condition
from extip.api.ipcontroller_v1 import EXHAUSTED, OVERLAPPING, IpClaimPool
from extip.api.pool_parts import OPEN, THE_CLUSTER
from extip.status.policy.selection import some


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolRow:
    """One pool."""

    pool: str
    cidr: str
    state: str
    """``ok``, ``exhausted``, ``closed``, ``draining``, ``malformed`` or ``unknown``."""
    used: int
    free: int
    why: str
    """The reason for its state, or a remark."""


def pool_rows(pools: Iterable[IpClaimPool]) -> list[PoolRow]:
    """Return a row for each pool, in the order of names."""
    return [pool_row(pool) for pool in sorted(pools, key=_name)]


def _left(pool: IpClaimPool) -> str:
    """Say who still has addresses of a pool that gives none."""
    users = sorted({*(pool.status.allocated or {}).values()} - {THE_CLUSTER})
    if not users:
        return "nobody has an address of it: it can be deleted"
    return f"in use by {some(users)}"


def _name(pool: IpClaimPool) -> str:
    return pool.metadata.name


def pool_row(pool: IpClaimPool) -> PoolRow:
    """Return the row of a pool."""
    exhausted = find_condition(pool.status.conditions, EXHAUSTED)
    overlapping = find_condition(pool.status.conditions, OVERLAPPING)
    if exhausted is None:
        state, why = "unknown", "no scheduler has looked at it yet"
    elif exhausted.reason == "Malformed":
        state, why = "malformed", exhausted.message
    elif pool.spec.allocation != OPEN:
        state, why = pool.spec.allocation.lower(), _left(pool)
    elif exhausted.status == "True":
        state, why = "exhausted", exhausted.message
    else:
        state = "ok"
        why = "" if overlapping is None else overlapping.message
    size, free = pool.status.size, max(pool.status.free, 0)
    return PoolRow(
        pool=pool.metadata.name,
        cidr=", ".join(pool.spec.cidrs),
        state=state,
        used=size - free,
        free=free,
        why=why,
    )
