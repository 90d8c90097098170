"""The kinds of faults: how long they last, whom they hit, what they may cost."""

from dataclasses import dataclass
from typing import Literal

from tests.soak.policy import bounds

Scope = Literal["node", "scheduler", "plane", "ip"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind of fault. Costs are longest outages of IPs that are on its node, in seconds."""

    name: str
    scope: Scope
    lasts_s: tuple[float, float]
    costs_s: float | None = None
    """After its begin; None: never anything, 0: nothing while others may decide."""
    costs_at_end_s: float = 0.0
    """After its end."""
    all_along: bool = False
    """Whether IPs may be out for as long as it lasts, too."""
    blocks_s: float | None = None
    """Nobody decides from its begin until so long after its end; None: others decide on."""
    ends_process: bool = False
    spares_home: bool = False
    """Whether it never hits the node where the pods of most services are."""
    cuts_scheduler: bool = False
    """Whether the scheduler that is its target, or runs on it, cannot go on to lead."""
    errors: frozenset[str] = frozenset()
    """Events of level error that it calls for."""
    weight: int = 2


_NO_DEFINITION = frozenset({"definition_missing", "waiting_for_definitions"})

KINDS = (
    Kind(name="controller-killed", scope="node", lasts_s=(0.2, 12), costs_s=0.0, ends_process=True),
    Kind(
        name="controller-restarted", scope="node", lasts_s=(0.1, 5), costs_s=0.0, ends_process=True
    ),
    Kind(name="controller-frozen", scope="node", lasts_s=(1, 14), costs_s=0.0),
    Kind(name="node-drained", scope="node", lasts_s=(4, 12)),
    Kind(
        name="node-cut-from-lan",
        scope="node",
        lasts_s=(1, 14),
        costs_s=bounds.ISOLATED_S,
        costs_at_end_s=bounds.REPAIRED_S,
        spares_home=True,
    ),
    Kind(name="node-cut-from-api", scope="node", lasts_s=(1, 16), cuts_scheduler=True),
    Kind(
        name="node-cut-off",
        scope="node",
        lasts_s=(1, 16),
        cuts_scheduler=True,
        costs_s=bounds.DEAD_S,
        costs_at_end_s=bounds.REPAIRED_S,
        spares_home=True,
    ),
    *(
        Kind(
            name=f"node-{how}-on-lan",
            scope="node",
            lasts_s=(1, 14),
            costs_s=bounds.ISOLATED_S,
            costs_at_end_s=bounds.REPAIRED_S,
            spares_home=True,
            weight=1,
        )
        for how in ("mute", "deaf")
    ),
    Kind(name="node-mute-to-api", scope="node", lasts_s=(1, 14), cuts_scheduler=True, weight=1),
    Kind(name="node-deaf-to-api", scope="node", lasts_s=(1, 14), cuts_scheduler=True, weight=1),
    Kind(name="node-loses-frames-to-api", scope="node", lasts_s=(4, 20), cuts_scheduler=True),
    Kind(
        name="carrier-lost",
        scope="node",
        lasts_s=(0.3, 12),
        costs_s=bounds.ISOLATED_S,
        costs_at_end_s=bounds.REPAIRED_S,
        spares_home=True,
    ),
    Kind(
        name="node-died",
        scope="node",
        lasts_s=(5, 14),
        cuts_scheduler=True,
        costs_s=bounds.DEAD_S,
        ends_process=True,
        spares_home=True,
    ),
    Kind(
        name="address-deleted",
        scope="node",
        lasts_s=(0.1, 0.2),
        costs_s=bounds.REPAIRED_S,
    ),
    Kind(
        name="interface-flushed",
        scope="node",
        lasts_s=(0.3, 0.6),
        costs_s=bounds.REPAIRED_S,
        costs_at_end_s=bounds.REPAIRED_S,
        spares_home=True,
        weight=1,
    ),
    Kind(name="clock-jumped", scope="node", lasts_s=(2, 12), weight=1),
    Kind(name="connections-died", scope="node", lasts_s=(3, 15)),
    Kind(name="lease-deleted", scope="node", lasts_s=(0.1, 0.2)),
    Kind(name="claim-deleted", scope="ip", lasts_s=(0.1, 0.2), costs_s=bounds.REPAIRED_S),
    Kind(
        name="foreign-station",
        scope="ip",
        lasts_s=(2, 8),
        costs_s=0.0,
        costs_at_end_s=bounds.DEFENDED_S,
        all_along=True,
    ),
    Kind(
        name="scheduler-killed",
        scope="scheduler",
        lasts_s=(0.2, 10),
        cuts_scheduler=True,
        ends_process=True,
    ),
    Kind(
        name="scheduler-restarted",
        scope="scheduler",
        lasts_s=(0.1, 4),
        cuts_scheduler=True,
        ends_process=True,
    ),
    Kind(name="scheduler-frozen", scope="scheduler", lasts_s=(2, 12), cuts_scheduler=True),
    Kind(name="scheduler-clock-jumped", scope="scheduler", lasts_s=(2, 12), weight=1),
    Kind(
        name="scheduler-connections-died",
        scope="scheduler",
        lasts_s=(3, 15),
        cuts_scheduler=True,
    ),
    Kind(
        name="switch-restarted",
        scope="plane",
        lasts_s=(0.5, 6),
        costs_s=0.0,
        costs_at_end_s=bounds.REPAIRED_S,
        all_along=True,
        blocks_s=bounds.SETTLED_S,
    ),
    Kind(name="history-compacted", scope="plane", lasts_s=(0.1, 0.2), weight=1),
    Kind(
        name="claims-definition-deleted",
        scope="plane",
        lasts_s=(4, 12),
        errors=_NO_DEFINITION,
        blocks_s=bounds.API_BACK_S,
    ),
    Kind(
        name="nodes-definition-deleted",
        scope="plane",
        lasts_s=(4, 12),
        errors=_NO_DEFINITION,
        blocks_s=bounds.API_BACK_S,
    ),
    Kind(
        name="api-server-stopped",
        scope="plane",
        lasts_s=(1, 10),
        blocks_s=bounds.API_BACK_S,
        weight=1,
    ),
    Kind(name="api-server-frozen", scope="plane", lasts_s=(1, 10), blocks_s=bounds.API_BACK_S),
    Kind(name="api-slow", scope="plane", lasts_s=(3, 12), blocks_s=bounds.API_BACK_S),
    Kind(name="api-hangs-up", scope="plane", lasts_s=(2, 10), blocks_s=bounds.API_BACK_S),
    Kind(name="api-loses-answers", scope="plane", lasts_s=(2, 10), blocks_s=bounds.API_BACK_S),
    Kind(name="api-refuses", scope="plane", lasts_s=(2, 10), blocks_s=bounds.API_BACK_S),
    Kind(name="watches-end", scope="plane", lasts_s=(3, 12), blocks_s=bounds.API_BACK_S),
)

BY_NAME = {kind.name: kind for kind in KINDS}
