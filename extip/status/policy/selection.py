"""Words of a person → the rows that they are about. Pure.

A word is an IP, the name of a node, or a service: ``namespace/name``, or its bare name where that
is the name of one service only.
"""

from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass

from extip.claims.policy.claims import parse_cidr
from extip.services.policy.requests import parse_ip
from extip.status.policy.table import ClaimRow, NodeRow

_SHOWN = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """The rows that were asked for."""

    ips: tuple[ClaimRow, ...]
    nodes: tuple[NodeRow, ...]
    unknown: tuple[str, ...] = ()
    """A sentence for each word that is about nothing, or about several services."""


def select(
    words: Sequence[str], namespace: str, ips: Iterable[ClaimRow], nodes: Iterable[NodeRow]
) -> Selection:
    """Return the rows that the words are about; without words, all of the namespace.

    An empty `namespace` stands for all. With words or a namespace, nodes are those that are named
    and those that hold a selected IP.
    """
    rows, controllers = tuple(ips), tuple(nodes)
    if namespace:
        rows = tuple(row for row in rows if _is_in(namespace, row))
    if not words and not namespace:
        return Selection(ips=rows, nodes=controllers)
    meant, unknown = _interpret(words, namespace, rows, {row.node for row in controllers})
    if words:
        rows = tuple(row for row in rows if any(_concerns(word, row) for word in meant))
    wanted = {*meant, *(row.node for row in rows)}
    found = tuple(row for row in controllers if row.node in wanted)
    return Selection(ips=rows, nodes=found, unknown=tuple(unknown))


def _interpret(
    words: Iterable[str], namespace: str, rows: Sequence[ClaimRow], nodes: Container[str]
) -> tuple[set[str], list[str]]:
    """Return the IPs, services and nodes that words name, and a sentence for each other word."""
    services = {name for row in rows for name in row.services}
    meant: set[str] = set()
    unknown: list[str] = []
    for word in words:
        full = _services(word, services)
        if len(full) == 1 and word not in nodes:
            meant.add(full[0])
        elif word in nodes or any(_concerns(word, row) for row in rows):
            meant.add(word)
        elif full:
            unknown.append(f"{word}: there are several: {some(full)}")
        else:
            where = f" in namespace {namespace}" if namespace else ""
            unknown.append(
                f"{word}: no external IP, service (namespace/name) or node of extip's{where}"
            )
    return meant, unknown


def plain_ip(word: str) -> str:
    """Return an IP as `extip status` writes it; whatever else the word is stays."""
    interface = parse_cidr(word)  # as `kubectl get ipclaims` writes it
    ip = parse_ip(word) if interface is None else interface.ip
    return word if ip is None else str(ip)


def _is_in(namespace: str, row: ClaimRow) -> bool:
    return any(name.partition("/")[0] == namespace for name in row.services)


def _services(word: str, names: Iterable[str]) -> list[str]:
    """Return the full names of services whose bare name the word is."""
    return sorted(name for name in names if word and name.partition("/")[2] == word)


def _concerns(word: str, row: ClaimRow) -> bool:
    return word in (row.node, *row.services) or plain_ip(word) == row.ip != ""


def some(names: Sequence[str]) -> str:
    """Return the first few names."""
    more = ", ..." if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
