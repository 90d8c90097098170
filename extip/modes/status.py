"""`extip status`: what the API server knows of every external IP and every controller."""

import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import datetime
from http import HTTPStatus
from typing import TypeVar

from extip.api.coordination_v1 import Lease
from extip.api.ipcontroller_v1 import IpClaim
from extip.api.meta_v1 import KubernetesObject
from extip.api.names import HEARTBEAT_SELECTOR
from extip.api.resources import (
    DETAILED_SERVICES,
    EVENTS,
    IP_CLAIMS,
    IP_NODES,
    LEASES,
    Resource,
)
from extip.cache.listwatch import MOST_RECENT, Page
from extip.clock import LoopClock
from extip.errors import (
    ApiAccessError,
    ApiUnavailableError,
    FatalError,
    NotFoundError,
    UnansweredError,
)
from extip.kube.client import ApiClient, Scope, connect
from extip.kube.events import COMPONENT
from extip.metrics import Metrics
from extip.modes.definitions import UNKNOWN
from extip.plan.claims import parse_cidr
from extip.plan.overview import ClaimRow, ClaimState, NodeRow, claim_rows, node_rows
from extip.plan.requests import parse_ip
from extip.plan.unserved import unserved, unserved_rows
from extip.settings import own_namespace

T = TypeVar("T", bound=KubernetesObject)

_CLAIM_HEAD = ("IP", "NODE", "STATE", "SINCE", "SERVICES", "WHY")
_NODE_HEAD = ("NODE", "STATE", "HEARTBEAT", "IPS", "WHY")
_SERVICES_SHOWN = 2
_AGAIN_S = (0.5, 1.0, 2.0)

_EVERYWHERE = Scope()
_TOLD = Scope(field_selector=f"involvedObject.kind=Service,type=Warning,source={COMPONENT}")
"""What was said of services that do not have what they ask for."""


async def run(kubeconfig: str, namespace: str, about: Sequence[str], *, as_json: bool) -> bool:
    """Print it; return whether all that was asked for is up.

    `about` are IPs, ``namespace/name`` of services, or names of nodes; empty for everything. The
    controllers' Leases are looked for in `namespace`; empty: in all.
    Raises FatalError when one of them is not known, and ApiError.
    """
    async with connect(kubeconfig, metrics=Metrics("status")) as client:
        try:
            found = await _patiently(client, IP_CLAIMS)
            nodes = await _patiently(client, IP_NODES)
        except NotFoundError as error:
            raise UnansweredError(UNKNOWN) from error
        leases, missing = await _leases(client, namespace)
        lacking = await _unserved(client, found.items)
    registered = {node.metadata.name for node in nodes.items}
    claims = [*claim_rows(found.items, registered=registered), *lacking]
    controllers = node_rows(nodes.items, leases, found.items, missing=missing)
    for word in about:
        rows: list[ClaimRow | NodeRow] = [*claims, *controllers]
        if not any(_concerns(word, row) for row in rows):
            raise FatalError(_unknown(word, rows))
    if about:
        claims = [row for row in claims if any(_concerns(word, row) for word in about)]
        wanted = {*about, *(row.node for row in claims)}
        controllers = [row for row in controllers if row.node in wanted]
    sys.stdout.write(_as_json(claims, controllers) if as_json else _as_text(claims, controllers))
    return all(row.state is ClaimState.UP for row in claims)


async def _patiently(client: ApiClient, resource: Resource[T]) -> Page[T]:
    """List all; a kind that has just been made known is not served in its first second (429)."""
    clock = LoopClock()
    for wait_s in _AGAIN_S:
        try:
            return await client.list(resource, _EVERYWHERE, resource_version=MOST_RECENT)
        except ApiUnavailableError as error:
            if error.status != HTTPStatus.TOO_MANY_REQUESTS:
                raise
        await clock.sleep(wait_s)
    return await client.list(resource, _EVERYWHERE, resource_version=MOST_RECENT)


async def _leases(client: ApiClient, namespace: str) -> tuple[tuple[Lease, ...], str]:
    """Return the heartbeats, and what it means that a node has none.

    Whoever may not read those of all namespaces gets those of its own: that is so in our own pods.
    """
    denied = ""
    for where in (namespace,) if namespace else ("", own_namespace()):
        scope = Scope(namespace=where, label_selector=HEARTBEAT_SELECTOR)
        try:
            page = await client.list(LEASES, scope, resource_version=MOST_RECENT)
        except ApiAccessError as error:
            denied = denied or str(error)
            continue
        if not where:
            return page.items, "no namespace has a Lease of it"
        text = f"namespace {where} has no Lease of it: is its controller's --namespace another one?"
        return page.items, text
    return (), f"its Lease cannot be read: {denied}"


async def _unserved(client: ApiClient, claims: Sequence[IpClaim]) -> list[ClaimRow]:
    """Describe what services ask for and have no claim of; nothing where that may not be read."""
    try:
        services = await client.list(DETAILED_SERVICES, _EVERYWHERE, resource_version=MOST_RECENT)
    except ApiAccessError as error:
        sys.stderr.write(f"extip: IPs without a claim are not shown: {error}\n")
        return []
    lacking = unserved(services.items, claims)
    if not lacking:
        return []
    try:
        told = await client.list(EVENTS, _TOLD, resource_version=MOST_RECENT)
    except ApiAccessError as error:
        sys.stderr.write(f"extip: why IPs have no claim is not known: {error}\n")
        return unserved_rows(lacking, ())
    return unserved_rows(lacking, told.items)


def _concerns(word: str, row: ClaimRow | NodeRow) -> bool:
    if isinstance(row, NodeRow):
        return word == row.node
    return word in (row.node, *row.services) or _plain(word) == row.ip != ""


def _unknown(word: str, rows: Iterable[ClaimRow | NodeRow]) -> str:
    """Say that nothing is called that; perhaps a service in some namespace is meant."""
    services = {name for row in rows if isinstance(row, ClaimRow) for name in row.services}
    meant = sorted(name for name in services if word and name.partition("/")[2] == word)
    hint = f": do you mean {' or '.join(meant[:_SERVICES_SHOWN])}?" if meant else ""
    return f"{word}: no external IP, service (namespace/name) or node of extip's{hint}"


def _plain(word: str) -> str:
    """Return an IP as `extip status` writes it; whatever else the word is stays."""
    interface = parse_cidr(word)  # as `kubectl get ipclaims` writes it
    ip = parse_ip(word) if interface is None else interface.ip
    return word if ip is None else str(ip)


def _as_json(claims: Sequence[ClaimRow], nodes: Sequence[NodeRow]) -> str:
    found = {"ips": [asdict(row) for row in claims], "nodes": [asdict(row) for row in nodes]}
    return json.dumps(found, indent=2) + "\n"


def _as_text(claims: Sequence[ClaimRow], nodes: Sequence[NodeRow]) -> str:
    now = LoopClock().utcnow()
    ips = [
        (
            row.ip or "-",
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
