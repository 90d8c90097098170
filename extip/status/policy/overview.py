"""Rows → the problems in sentences, and the order in which rows are shown. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from extip.api.coordination_v1 import Lease
from extip.status.policy.explanation import Explanation
from extip.status.policy.pools import PoolRow
from extip.status.policy.selection import some
from extip.status.policy.table import FINE, ClaimRow, ClaimState, NodeRow

_LATE = 2
"""Durations of its Lease after which a leader that has not renewed it is called late."""
_SHOWN = 3
_NONE: Mapping[str, str] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Leader:
    """The scheduler that decides."""

    name: str
    """Empty when there is none."""
    since: str
    """RFC 3339: when it began to lead."""
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """All that `extip status` shows."""

    problems: tuple[str, ...]
    leader: Leader
    ips: tuple[ClaimRow, ...]
    nodes: tuple[NodeRow, ...]
    pools: tuple[PoolRow, ...]
    explanation: Explanation | None = None
    """Present when one IP was asked for."""

    @property
    def all_up(self) -> bool:
        """Whether each IP is up, as far as it is known."""
        return all(row.state in FINE for row in self.ips)


def leader_of(leases: Iterable[Lease], *, unread: str, now: datetime) -> Leader:
    """Return who leads, from the Leases of schedulers, or of simple mode, in all namespaces.

    `unread` is the reason for which they could not be read; empty when they were. `now` is the
    reader's wall clock: a late leader may be one whose clock differs.
    """
    if unread:
        return Leader(name="", since="", problem=f"who leads is not known: {unread}")
    known = list(leases)
    if not known:
        text = "no Lease of schedulers is there: none ran yet, or --leader-elect-resource-name says"
        return Leader(name="", since="", problem=f"{text} another name")
    held = [lease for lease in known if lease.holder]
    if not held:
        return Leader(name="", since="", problem="no scheduler leads: none runs, or all just began")
    lease = max(held, key=_renewed)
    limit_s = _LATE * (lease.spec.lease_duration_seconds or 0)
    silent_s = _seconds_since(lease.spec.renew_time or "", now)
    late = silent_s is not None and silent_s > limit_s
    text = f"no scheduler leads, or its clock is wrong: the leading scheduler {lease.holder} last"
    text += f" renewed its Lease {silent_s} s ago"
    return Leader(
        name=lease.holder, since=lease.spec.acquire_time or "", problem=text if late else ""
    )


def problems(
    leader: Leader,
    ips: Iterable[ClaimRow],
    nodes: Sequence[NodeRow],
    pools: Iterable[PoolRow],
    slips: Mapping[str, str] = _NONE,
) -> tuple[str, ...]:
    """Return a sentence for each thing that is wrong, the gravest first.

    `slips` are those of services, by their names.
    """
    found = [leader.problem] if leader.problem else []
    for state in ClaimState:
        of_state = [row for row in ips if row.state is state]
        if state not in FINE and of_state:
            named = some([row.ip or (*row.services, "without an address")[0] for row in of_state])
            found.append(f"{state.value}: {_counted(len(of_state), 'IP')} ({named})")
    lame = [row for row in nodes if row.state != "ready"]
    found += [f"node {row.node} is {row.state}: {row.why}" for row in lame[:_SHOWN]]
    if len(lame) > _SHOWN:
        found.append(f"{len(lame) - _SHOWN} more nodes are not ready")
    found += [
        f"pool {row.pool} is {row.state}: {row.why}"
        for row in pools
        if row.state in ("exhausted", "malformed")
    ]
    versions: dict[str, list[str]] = {}
    for node in nodes:
        if node.version:
            versions.setdefault(node.version, []).append(node.node)
    if len(versions) > 1:
        each = (f"{version} on {some(names)}" for version, names in sorted(versions.items()))
        found.append(f"controllers have different versions: {', '.join(each)}")
    found += [f"service {name}: {text}" for name, text in sorted(slips.items())[:_SHOWN]]
    if len(slips) > _SHOWN:
        found.append(f"{len(slips) - _SHOWN} more services have annotations to mend: extip doctor")
    return tuple(found)


def in_order(rows: Iterable[ClaimRow], by: str) -> list[ClaimRow]:
    """Return rows in one of the `SORTS` of `extip.status.question`, then in the order of IPs.

    With ``since`` the last change comes first.
    """
    found = list(rows)
    if by == "problems":
        found.sort(key=lambda row: row.state in FINE)
    elif by == "node":
        found.sort(key=lambda row: (not row.node, row.node))
    elif by == "state":
        found.sort(key=lambda row: row.state.value)
    elif by == "since":
        found.sort(key=lambda row: row.since, reverse=True)
    elif by == "service":
        found.sort(key=lambda row: row.services)
    return found


def nodes_in_order(rows: Iterable[NodeRow], by: str) -> list[NodeRow]:
    """Return rows in the order of names; those with problems first when IPs are shown so."""
    found = sorted(rows, key=_name)
    if by == "problems":
        found.sort(key=_is_ready)
    return found


def headline(overview: Overview) -> str:
    """Return one line that counts."""
    up = sum(row.state is ClaimState.UP for row in overview.ips)
    given = sum(row.state is ClaimState.GIVEN for row in overview.ips)
    ready = sum(row.state == "ready" for row in overview.nodes)
    parts = [
        f"{up} of {_counted(len(overview.ips), 'IP')} up" + (f", {given} given" if given else ""),
        f"{ready} of {_counted(len(overview.nodes), 'node')} ready",
    ]
    if overview.leader.name:
        parts.append(f"leader {overview.leader.name}")
    return ", ".join(parts)


def _renewed(lease: Lease) -> str:
    return lease.spec.renew_time or ""


def _name(row: NodeRow) -> str:
    return row.node


def _is_ready(row: NodeRow) -> bool:
    return row.state == "ready"


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _seconds_since(text: str, now: datetime) -> int | None:
    try:
        return int((now - datetime.fromisoformat(text)).total_seconds())
    except (ValueError, TypeError):
        return None
