"""Claims, nodes and heartbeats → the rows of `extip status`: where, since when, why. Pure.

Times are those in the objects, from the writers' wall clocks. No decision depends on them.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from enum import StrEnum

from extip.api.conditions import find_condition
from extip.api.coordination_v1 import Lease
from extip.api.core_v1 import DetailedService, Event
from extip.api.ipcontroller_v1 import ACCEPTED, ASSIGNED, READY, UP, IpClaim, IpNode
from extip.api.meta_v1 import Condition
from extip.api.names import LEAVING_ANNOTATION, PREVIOUS_NODE_LABEL, node_of_lease
from extip.api.node_links import selected_links
from extip.claims.policy.assignment import standby_of
from extip.claims.policy.claims import is_pinned, parse_cidr, pool_of
from extip.claims.policy.same_ip import refusal
from extip.nodes.policy.verdict import NOT_FOUND
from extip.scheduling.policy.filters import Unfit
from extip.services.policy.no_endpoint import NO_READY_ENDPOINT, NONE_READY
from extip.services.policy.requests import parse_ip
from extip.services.policy.written_ips import shown_ips


class ClaimState(StrEnum):
    """The state of a claim. Every state but UP has a reason."""

    UP = "up"
    GIVEN = "given"
    """Simple mode gave it to a service; no claim tells whether it is up."""
    MOVING = "moving"
    """Its node has not reported it yet."""
    DOWN = "down"
    """Its node has accepted it, but it is not on the interface."""
    REFUSED = "refused"
    WAITING = "waiting"
    """No node may hold it, or it has no claim yet."""


FINE = frozenset({ClaimState.UP, ClaimState.GIVEN})
"""The states in which nothing is known to be wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimRow:
    """One external IP."""

    ip: str
    """Empty for a service that waits for any address of a pool."""
    node: str
    """Empty while it has no node."""
    state: ClaimState
    since: str
    """RFC 3339: the begin of that state; empty when it is not known."""
    services: tuple[str, ...]
    why: str
    """The reason for its node, or for its state."""
    link: str = ""
    """The interface that it is on."""
    pool: str = ""
    """The pool that it comes from; empty when a service or a person wrote it."""
    before: str = ""
    """Its former node."""
    standby: str = ""
    """The node that takes it when its node dies."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeRow:
    """One controller."""

    node: str
    state: str
    heartbeat: str
    """RFC 3339: the last renewal of its Lease, by the node's clock; empty for none."""
    claims: int
    why: str
    version: str = ""
    """The version of its controller."""
    links: str = ""
    """Its interfaces that are up, with commas in between."""


def claim_rows(
    claims: Iterable[IpClaim],
    *,
    registered: Collection[str],
    services: Iterable[DetailedService] = (),
) -> list[ClaimRow]:
    """Return a row for each claim, in the order of IPs; malformed claims come last.

    `registered` are the names of the IpNodes. `services` ask for IPs of claims that people made,
    which do not name them.
    """
    in_order = sorted(claims, key=_by_ip)
    if all(claim.managed for claim in in_order):
        services = ()
    asking: dict[str, list[str]] = {}
    for written in filter(None, map(shown_ips, services)):
        for ip in filter(None, map(parse_ip, written.texts)):
            asking.setdefault(str(ip), []).append(str(written.owner))
    rows: list[ClaimRow] = []
    for claim in in_order:
        row = claim_row(claim, registered)
        also = () if claim.managed else asking.get(row.ip, ())
        rows.append(replace(row, services=tuple(sorted({*row.services, *also}))) if also else row)
    return rows


def node_rows(
    nodes: Iterable[IpNode], leases: Iterable[Lease], claims: Iterable[IpClaim], *, missing: str
) -> list[NodeRow]:
    """Return a row for each node that has an IpNode, a Lease or a claim.

    Of several Leases of a node, in different namespaces, the one with the last renewal counts.
    `missing` is the text for a node without a Lease.
    """
    registered = {node.metadata.name: node for node in nodes}
    in_order = sorted(leases, key=_renewed)
    beats = {node: lease for lease in in_order if (node := node_of_lease(lease.metadata.name))}
    held: dict[str, int] = {}
    for claim in claims:
        if claim.spec.node_name:
            held[claim.spec.node_name] = held.get(claim.spec.node_name, 0) + 1
    return [
        node_row(
            name,
            registered.get(name),
            beats.get(name),
            claims=held.get(name, 0),
            missing=missing,
        )
        for name in sorted({*registered, *beats, *held})
    ]


def claim_row(claim: IpClaim, registered: Collection[str]) -> ClaimRow:
    """Return the row of a claim; `registered` are the names of the IpNodes."""
    interface = parse_cidr(claim.spec.cidr)
    state, condition, why = _claim_state(claim)
    node = claim.spec.node_name
    if state is ClaimState.MOVING and node not in registered:
        state, why = ClaimState.WAITING, f"there is no controller on a node of the name {node}"
    since = condition.last_transition_time if condition is not None else ""
    return ClaimRow(
        ip=claim.spec.cidr if interface is None else str(interface.ip),
        node=node,
        state=state,
        since=(claim.status.since if state is ClaimState.UP else since) or "",
        services=tuple(str(service) for service in claim.spec.services or ()),
        why=why,
        link=claim.status.link,
        pool=pool_of(claim),
        before=(claim.metadata.labels or {}).get(PREVIOUS_NODE_LABEL, ""),
        standby=standby_of(claim),
    )


def told_by(warning: Event) -> tuple[ClaimState, str]:
    """Return the state of an IP without a claim that a Warning is about, and the reason."""
    if warning.reason == NO_READY_ENDPOINT:
        return ClaimState.DOWN, NONE_READY  # as its claim would say
    return ClaimState.REFUSED, warning.message


def _claim_state(claim: IpClaim) -> tuple[ClaimState, Condition | None, str]:
    accepted, assigned, up = (
        find_condition(claim.status.conditions, kind) for kind in (ACCEPTED, ASSIGNED, UP)
    )
    if parse_cidr(claim.spec.cidr) is None:
        why = f"{claim.spec.cidr!r} is no address with a prefix length, such as 10.0.0.2/24"
        return ClaimState.REFUSED, accepted, why
    if not claim.spec.node_name:
        return ClaimState.WAITING, assigned, _message(assigned, "no scheduler has looked at it yet")
    elsewhere = refusal(claim)
    reported = claim.status.holder == claim.spec.node_name or _of_now(up, claim)
    if not elsewhere and not reported:
        return ClaimState.MOVING, assigned, _on_its_way(claim, assigned)
    refused = assigned if elsewhere else accepted
    if refused is not None and refused.status == "False":
        return ClaimState.REFUSED, refused, elsewhere or _message(refused, refused.reason)
    if up is None or up.status != "True":
        return ClaimState.DOWN, up, _message(up, "not reported yet")
    return ClaimState.UP, up, _why_there(claim, assigned)


def _on_its_way(claim: IpClaim, assigned: Condition | None) -> str:
    """Say where it comes from, and whose log has more when the report does not come."""
    coming = f"{claim.status.holder} had it; " if claim.status.holder else ""
    way = f"{assigned.message}; " if assigned is not None and assigned.message else ""
    return f"{coming}{way}not reported yet (should it last: the log of {claim.spec.node_name})"


def _why_there(claim: IpClaim, assigned: Condition | None) -> str:
    if is_pinned(claim):
        return "pinned by hand"
    if assigned is not None and assigned.status == "False":
        return assigned.message  # its node may not hold it, and no other node may
    place = f"to {claim.spec.node_name}"
    return _message(assigned, place).removeprefix(place).lstrip(",; ") or "there from the start"


def _of_now(condition: Condition | None, claim: IpClaim) -> bool:
    """Whether the condition is about the current generation of the claim."""
    return condition is not None and condition.observed_generation == claim.metadata.generation


def node_row(
    name: str, node: IpNode | None, lease: Lease | None, *, claims: int, missing: str
) -> NodeRow:
    """Return the row of a node; `missing` is the text for a node without a Lease."""
    verdict = None if node is None else find_condition(node.status.conditions, READY)
    leaving = "" if lease is None else (lease.metadata.annotations or {}).get(LEAVING_ANNOTATION)
    if node is not None and node.spec.draining:
        state, why = "draining", "spec.draining is set"
    elif leaving:
        state, why = "leaving", leaving
    elif lease is not None and not lease.holder:
        state, why = "stopped", "its controller was stopped in order"
    elif verdict is not None and verdict.status != "True":
        state = "unknown" if verdict.status == "Unknown" else "not ready"
        why = _message(verdict, verdict.reason) + _more(verdict.reason, node, lease)
    elif lease is None:
        state, why = "unknown", missing
    elif verdict is None:
        state, why = "unknown", "no scheduler has looked at it yet"
    else:
        state, why = "ready", verdict.message
    return NodeRow(
        node=name,
        state=state,
        heartbeat="" if lease is None else lease.spec.renew_time or "",
        claims=claims,
        why=why,
        version="" if node is None else node.status.version,
        links="" if node is None else _links(node),
    )


def _more(reason: str, node: IpNode | None, lease: Lease | None) -> str:
    """Return what the objects tell beside the scheduler's verdict; often nothing."""
    if reason == NOT_FOUND and lease is not None:
        return f" (there is one in {lease.metadata.namespace})"
    down = [] if node is None else [one.name for one in selected_links(node) if not one.up]
    return f" ({', '.join(down)})" if reason == Unfit.LINK_DOWN and down else ""


def _links(node: IpNode) -> str:
    """Return its interfaces that are up, and those for IPs that are down."""
    selected = selected_links(node)
    others = [link for link in node.status.links or () if link.up and link not in selected]
    return ",".join(link.name if link.up else f"{link.name}:down" for link in (*selected, *others))


def _renewed(lease: Lease) -> tuple[bool, str]:
    return bool(lease.holder), lease.spec.renew_time or ""


def _message(condition: Condition | None, default: str) -> str:
    return default if condition is None else condition.message or default


def _by_ip(claim: IpClaim) -> tuple[int, int, str]:
    interface = parse_cidr(claim.spec.cidr)
    if interface is None:
        return 99, 0, claim.metadata.name
    return interface.version, int(interface.ip), claim.metadata.name
