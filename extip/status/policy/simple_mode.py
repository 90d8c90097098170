"""Simple mode: pools, services and Events → the rows of addresses that it has or gave. Pure.

No claim tells whether such an address is up. Its Events, its log and its metrics do.
"""

from collections.abc import Iterable, Sequence

from extip.api.coordination_v1 import Lease
from extip.api.core_v1 import Event
from extip.api.ipcontroller_v1 import IpClaim, IpClaimPool
from extip.claims.policy.claims import index_claims
from extip.net.interfaces import IPAddress
from extip.services.policy.arrivals import UP_REASON
from extip.services.policy.requests import parse_ip
from extip.status.policy.pending import PendingService, is_about_ip
from extip.status.policy.table import ClaimRow, ClaimState, told_by


def given_rows(
    pools: Iterable[IpClaimPool],
    claims: Iterable[IpClaim],
    leases: Iterable[Lease],
    told: Sequence[Event],
) -> list[ClaimRow]:
    """Return a row for each address of a pool that has no claim, in the order of IPs.

    `leases` are those of simple mode: without a holder there is no row. `told` are Warnings, and
    Events of IPs that have come up: such a one ends the Warnings before it.
    """
    node = giver_of(leases)
    by_ip = index_claims(claims)
    given = {
        ip: (service, pool.metadata.name)
        for pool in pools
        for text, service in (pool.status.allocated or {}).items()
        if node and (ip := parse_ip(text)) is not None and ip not in by_ip
    }
    return [_row(str(ip), *given[ip], node, told) for ip in sorted(given, key=_numeric)]


def giver_of(leases: Iterable[Lease]) -> str:
    """Return the node of the process that gives addresses; empty for none."""
    return next((one.holder.rpartition("_")[0] for one in leases if one.holder), "")


def written_rows(
    lacking: Iterable[PendingService], node: str, told: Sequence[Event]
) -> list[ClaimRow]:
    """Return a row for each IP that a service wrote itself: simple mode makes no claim of it."""
    return [_row(one.ip, str(one.owner), "", node, told) for one in lacking if is_written(one)]


def is_written(one: PendingService) -> bool:
    """Whether the service wrote the IP, and nothing is known to be in its way."""
    return bool(one.ip) and not one.why


def _row(ip: str, service: str, pool: str, node: str, told: Sequence[Event]) -> ClaimRow:
    about = [
        event
        for event in told
        if f"{event.involved_object.namespace}/{event.involved_object.name}" == service
        and is_about_ip(ip, event.message)
    ]
    latest = max(about, key=_when, default=None)
    warning = None if latest is None or latest.reason == UP_REASON else latest
    state, why = (ClaimState.GIVEN, "by simple mode") if warning is None else told_by(warning)
    return ClaimRow(
        ip=ip,
        node=node,
        state=state,
        since="" if warning is None else warning.first_timestamp or "",
        services=(service,),
        why=why,
        pool=pool,
    )


def _numeric(ip: IPAddress) -> tuple[int, int]:
    return ip.version, int(ip)


def _when(event: Event) -> tuple[str, bool]:
    return event.last_timestamp or "", event.reason == UP_REASON
