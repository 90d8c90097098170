"""From what was done and seen to the history that verdicts are made of."""

from collections.abc import Iterable, Mapping, Sequence

from tests.soak.faults import Fault
from tests.soak.policy import bounds, plan
from tests.soak.policy.plan import Change
from tests.soak.policy.verdict import Block, Cause
from tests.soak.policy.windows import Span

_REFUSED = frozenset({"refused", "reset"})
"""A node that has an IP without rules for it."""

_REPLACED_S = 1.5
"""A service that is back so soon keeps its IPs. Rules of kube-proxy are away for a moment."""

_PROXY_LOSES_API = {
    "api-server-stopped",
    "api-server-frozen",
    "node-cut-from-api",
    "node-cut-off",
    "node-mute-to-api",
    "node-deaf-to-api",
    "node-loses-frames-to-api",
}


def causes(
    faults: Iterable[Fault],
    changed: Iterable[tuple[float, float, Change]],
    wanted: Mapping[str, Sequence[Span]],
) -> list[Cause]:
    """Return all that may take IPs down."""
    found = [cause for fault in faults for cause in _causes(fault)]
    for begin_s, end_s, change in changed:
        found += _of_change(begin_s, end_s, change)
    for ip, spans in wanted.items():
        if ip not in plan.LASTING:
            found += [_came(ip, span) for span in spans]
    return found


def _causes(fault: Fault) -> list[Cause]:
    kind, target = fault.planned.kind, fault.planned.target
    name = f"{kind.name} {target}"
    nodes = frozenset({"node": {target}, "plane": plan.NODES}.get(kind.scope, ()))
    ips = frozenset({target} if kind.scope == "ip" else ())
    found = []
    if kind.name in _PROXY_LOSES_API:
        everywhere = nodes or frozenset(plan.NODES)
        found.append(
            Cause(
                what=f"kube-proxy after {name}",
                begin_s=fault.begin_s,
                until_s=fault.end_s,
                bound_s=fault.end_s - fault.begin_s + bounds.PROXY_BACK_S,
                nodes=everywhere,
                errors=_REFUSED,
                up_on_wire=True,
            )
        )
    if kind.costs_s is None:
        return found
    lasts_s = fault.end_s - fault.begin_s
    first = Cause(
        what=name,
        begin_s=fault.begin_s,
        until_s=fault.end_s,
        bound_s=kind.costs_s + (lasts_s if kind.all_along else 0),
        nodes=nodes,
        ips=ips,
    )
    last = Cause(
        what=f"end of {name}",
        begin_s=fault.end_s,
        until_s=fault.end_s,
        bound_s=kind.costs_at_end_s,
        nodes=nodes,
        ips=ips,
    )
    return [*found, first, last]


def _of_change(begin_s: float, end_s: float, change: Change) -> list[Cause]:
    what = f"change of {change.what} {change.subject}"
    bound_s = end_s - begin_s + bounds.ENDPOINTS_S
    up_on_wire = False
    match change.what:
        case "endpoint":
            ips = frozenset(plan.LOCAL)
        case "pool" | "shared":
            ips = frozenset({change.subject})
            up_on_wire = change.what == "shared"
        case "replaced":
            ips = frozenset(plan.SERVICES[change.subject])
            up_on_wire = end_s - begin_s < _REPLACED_S
        case _:
            return []
    return [
        Cause(
            what=what,
            begin_s=begin_s,
            until_s=end_s,
            bound_s=bound_s,
            ips=ips,
            up_on_wire=up_on_wire,
        )
    ]


def _came(ip: str, span: Span) -> Cause:
    return Cause(
        what="a service got it",
        begin_s=span.begin_s,
        until_s=span.begin_s,
        bound_s=bounds.STARTED_S,
        ips=frozenset({ip}),
    )


def blocks(faults: Iterable[Fault]) -> list[Block]:
    """Return the times in which nobody decides."""
    found = []
    for fault in faults:
        kind = fault.planned.kind
        name = f"{kind.name} {fault.planned.target}"
        if kind.blocks_s is not None:
            end_s = fault.end_s + kind.blocks_s
            found.append(Block(what=name, begin_s=fault.begin_s, end_s=end_s))
        elif fault.led:
            end_s = fault.begin_s + bounds.ELECTED_S
            found.append(Block(what=name, begin_s=fault.begin_s, end_s=end_s))
    return found


def strangers(faults: Iterable[Fault]) -> list[Cause]:
    """Return the stations that are no nodes, each for its time."""
    return [
        cause
        for fault in faults
        if fault.planned.kind.name == "foreign-station"
        for cause in _causes(fault)[:1]
    ]
