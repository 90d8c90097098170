"""Plans and outcomes → what a person or a program reads. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from extip.api.whole_service import WholeService
from extip.migrate.policy.plan import ServicePlan
from extip.migrate.policy.steps import CLUSTER_IP, Step
from extip.printable import printable

_HEAD = ("SERVICE", "TYPE", "IPS", "NODE", "STATE")
_RED, _PLAIN = "\x1b[31m", "\x1b[0m"

IN_THE_WAY = "in the way"
THROUGH = ("migrated", "taken back")
"""States of services for which everything was done."""
_THERE = {
    Step.NOTHING: "no external IPs",
    Step.BEGIN: "ready",
    Step.WAIT: "begun",
    Step.FINISH: "begun",
    Step.DONE: "migrated",
}
_BACK = {Step.NOTHING: "not migrated", Step.BEGIN: "ready"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One service."""

    service: str
    type: str
    ips: tuple[str, ...]
    nodes: tuple[str, ...]
    state: str
    obstacles: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def is_stuck(self) -> bool:
        """Whether something keeps it from going on."""
        return bool(self.obstacles)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """All that the command tells."""

    services: tuple[Row, ...]
    pools: tuple[dict[str, object], ...] = ()
    """Manifests of pools that are missing."""

    @property
    def is_fine(self) -> bool:
        """Whether nothing stands in the way of any."""
        return not any(row.is_stuck for row in self.services)


def row_of(plan: ServicePlan, *, undo: bool) -> Row:
    """Return the row of a service before anything is done."""
    states = _BACK if undo else _THERE
    return Row(
        service=plan.name,
        type=plan.service.spec.type or CLUSTER_IP,
        ips=tuple(map(str, plan.ips)),
        nodes=plan.nodes,
        state=IN_THE_WAY if plan.obstacles else states[plan.step],
        obstacles=plan.obstacles,
        notes=plan.notes,
    )


def ended(
    plan: ServicePlan,
    state: str,
    *,
    why: str = "",
    service: WholeService | None = None,
    nodes: tuple[str, ...] = (),
) -> Row:
    """Return the row of a service for which nothing more is done."""
    moved = nodes and set(nodes) != set(plan.nodes)
    notes = (f"its IPs moved from {', '.join(plan.nodes)}",) if moved else ()
    return Row(
        service=plan.name,
        type=(service or plan.service).spec.type or CLUSTER_IP,
        ips=tuple(map(str, plan.ips)),
        nodes=nodes or plan.nodes,
        state=state,
        obstacles=(why,) if why else (),
        notes=(*plan.notes, *notes),
    )


def line_of(row: Row) -> str:
    """Return the sentence about a service that is told when it ends."""
    ips = f" {','.join(row.ips)}" if row.ips else ""
    nodes = f" on {','.join(row.nodes)}" if row.nodes else ""
    told = [f"{row.service}: {row.state}{':' if ips else ''}{ips}{nodes}\n"]
    told += [f"! {row.service}: {printable(one)}\n" for one in row.obstacles]
    told += [f"- {row.service}: {printable(one)}\n" for one in row.notes]
    return "".join(told)


def as_text(rows: Iterable[Row], *, colour: bool) -> str:
    """Return a table, and under it a line for each obstacle and note."""
    known = list(rows)
    lines = [_HEAD, *(_cells(row) for row in known)]
    widths = [max(len(line[n]) for line in lines) for n in range(len(_HEAD))]
    text = _line(_HEAD, widths)
    for row in known:
        text += _painted(_line(_cells(row), widths), colour=colour and row.is_stuck)
    told = [f"! {row.service}: {printable(one)}\n" for row in known for one in row.obstacles]
    told += [f"- {row.service}: {printable(one)}\n" for row in known for one in row.notes]
    return text + ("\n" + "".join(told) if told else "")


def summary(rows: Sequence[Row], *, undo: bool) -> str:
    """Return what `--apply` would do, as sentences."""
    ready = sum(row.state in ("ready", "begun") for row in rows)
    stuck = sum(row.is_stuck for row in rows)
    if not ready and not stuck:
        return "nothing to do\n"
    of = f"{ready} of {ready + stuck}" if stuck else str(ready)
    services = "service" if ready + stuck == 1 else "services"
    if undo:
        how = "each gets back its type and its external IPs, in one write"
    else:
        how = (
            "each becomes type LoadBalancer and asks for its IPs by name; when its status has "
            "them, its external IPs go"
        )
    does = f"`--apply` does it: {how}" if ready else "what is in the way comes first"
    return f"{of} {services} can be {'taken back' if undo else 'migrated'}; {does}\n"


def _cells(row: Row) -> tuple[str, ...]:
    ips, nodes = ",".join(row.ips) or "-", ",".join(row.nodes) or "-"
    return row.service, row.type, ips, nodes, row.state


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
    return "  ".join(padded).rstrip() + "\n"


def _painted(line: str, *, colour: bool) -> str:
    return f"{_RED}{line[:-1]}{_PLAIN}\n" if colour else line
