"""`extip status`: what the API server knows of every external IP and every controller."""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime

from extip.api.names import HEARTBEAT_SELECTOR
from extip.api.resources import IP_CLAIMS, IP_NODES, LEASES
from extip.cache.listwatch import MOST_RECENT
from extip.clock import LoopClock
from extip.errors import FatalError, NotFoundError
from extip.kube.client import Scope, connect
from extip.metrics import Metrics
from extip.modes.definitions import UNKNOWN
from extip.plan.overview import ClaimRow, ClaimState, NodeRow, claim_rows, node_rows

_CLAIM_HEAD = ("IP", "NODE", "STATE", "SINCE", "SERVICES", "WHY")
_NODE_HEAD = ("NODE", "STATE", "HEARTBEAT", "IPS", "WHY")
_SERVICES_SHOWN = 2


async def run(kubeconfig: str, namespace: str, about: Sequence[str], *, as_json: bool) -> bool:
    """Print it; return whether all that was asked for is up.

    `about` are IPs, ``namespace/name`` of services, or names of nodes; empty for everything.
    Raises FatalError when one of them is not known, and ApiError.
    """
    everywhere = Scope()
    beating = Scope(namespace=namespace, label_selector=HEARTBEAT_SELECTOR)
    async with connect(kubeconfig, metrics=Metrics("status")) as client:
        try:
            found = await client.list(IP_CLAIMS, everywhere, resource_version=MOST_RECENT)
            nodes = await client.list(IP_NODES, everywhere, resource_version=MOST_RECENT)
        except NotFoundError as error:
            raise FatalError(UNKNOWN) from error
        leases = await client.list(LEASES, beating, resource_version=MOST_RECENT)
    claims, controllers = claim_rows(found.items), node_rows(nodes.items, leases.items, found.items)
    for word in about:
        rows: list[ClaimRow | NodeRow] = [*claims, *controllers]
        if not any(_concerns(word, row) for row in rows):
            raise FatalError(f"{word}: no external IP, service (namespace/name) or node of extip's")
    if about:
        claims = [row for row in claims if any(_concerns(word, row) for word in about)]
        wanted = {*about, *(row.node for row in claims)}
        controllers = [row for row in controllers if row.node in wanted]
    sys.stdout.write(_as_json(claims, controllers) if as_json else _as_text(claims, controllers))
    return all(row.state is ClaimState.UP for row in claims)


def _concerns(word: str, row: ClaimRow | NodeRow) -> bool:
    if isinstance(row, NodeRow):
        return word == row.node
    return word in (row.ip, row.node, *row.services)


def _as_json(claims: Sequence[ClaimRow], nodes: Sequence[NodeRow]) -> str:
    found = {"ips": [asdict(row) for row in claims], "nodes": [asdict(row) for row in nodes]}
    return json.dumps(found, indent=2) + "\n"


def _as_text(claims: Sequence[ClaimRow], nodes: Sequence[NodeRow]) -> str:
    now = LoopClock().utcnow()
    ips = [
        (
            row.ip,
            row.node or "-",
            row.state.value,
            _age(row.since, now),
            _services(row.services),
            row.why or "-",
        )
        for row in claims
    ]
    controllers = [
        (row.node, row.state, _age(row.heartbeat, now), str(row.claims), row.why or "-")
        for row in nodes
    ]
    return f"{_table(_CLAIM_HEAD, ips)}\n{_table(_NODE_HEAD, controllers)}"


def _services(names: Sequence[str]) -> str:
    shown = ",".join(names[:_SERVICES_SHOWN]) or "-"
    more = len(names) - _SERVICES_SHOWN
    return shown if more <= 0 else f"{shown} and {more} more"


def _age(text: str, now: datetime) -> str:
    """Return how long ago that was, as kubectl writes it."""
    if not text:
        return "-"
    try:
        seconds = int((now - datetime.fromisoformat(text)).total_seconds())
    except (ValueError, TypeError):  # somebody else wrote it
        return "?"
    if seconds < 0:
        return "0s"
    for unit, length, until in (("s", 1, 120), ("m", 60, 7200), ("h", 3600, 172800)):
        if seconds < until:
            return f"{seconds // length}{unit}"
    return f"{seconds // 86400}d"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(line[n]) for line in (head, *rows)) for n in range(len(head))]
    lines = (
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in (head, *rows)
    )
    return "\n".join(lines) + "\n"
