"""The content of the page, and a change of it. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import msgspec

from extip.status.policy.pools import PoolRow
from extip.status.policy.table import ClaimRow, ClaimState, NodeRow

MOVES_KEPT = 500
"""Moves that the page can tell of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """An IP came up on another node than before."""

    time: str
    """RFC 3339: when the new node brought it up, by that node's clock."""
    ip: str
    before: str
    node: str
    why: str


class Update(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A change of the page, for the browser as JSON; a row that is None has gone."""

    fresh: bool = False
    """Whether the browser must forget all that it has."""
    leader: str | None = None
    """The scheduler that leads; empty for none, None for no change."""
    ips: dict[str, ClaimRow | None] = {}
    """By the name of the claim."""
    nodes: dict[str, NodeRow | None] = {}
    pools: dict[str, PoolRow | None] = {}
    moves: tuple[Move, ...] = ()
    """The oldest first."""

    def __bool__(self) -> bool:
        """Tell whether there is anything in it."""
        told = self.ips or self.nodes or self.pools or self.moves
        return bool(self.fresh or self.leader is not None or told)


class Moves:
    """The last moves, the oldest first."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, str, str], Move] = {}

    def all(self) -> tuple[Move, ...]:
        """Return all that are kept."""
        return tuple(self._kept.values())

    def add(self, rows: Iterable[ClaimRow]) -> tuple[Move, ...]:
        """Keep the moves that brought IPs to their nodes; return those that are new or told anew.

        A claim tells of its last move alone, so those before it are known only to a process that
        saw them.
        """
        found = [move for row in rows if (move := _last_move(row)) is not None]
        news = tuple(move for move in found if self._kept.get(_key(move)) != move)
        if news:
            self._kept.update((_key(move), move) for move in news)
            latest = sorted(self._kept.items(), key=_by_time)[-MOVES_KEPT:]
            self._kept = dict(latest)
        return news


def _last_move(row: ClaimRow) -> Move | None:
    if row.state is not ClaimState.UP or not row.before or row.before == row.node:
        return None
    return Move(time=row.since, ip=row.ip, before=row.before, node=row.node, why=row.why)


def _key(move: Move) -> tuple[str, str, str]:
    return move.time, move.ip, move.node


def _by_time(item: tuple[tuple[str, str, str], Move]) -> tuple[str, str, str]:
    return item[0]


def without_heartbeat(row: NodeRow) -> NodeRow:
    """Return a row that does not change with each heartbeat."""
    return replace(row, heartbeat="")
