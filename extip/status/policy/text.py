"""The overview as text for people; no text of others gets at their terminal. Pure."""

from collections.abc import Sequence
from datetime import datetime

from extip.printable import printable
from extip.status.policy.explanation import Explanation
from extip.status.policy.overview import Overview, headline
from extip.status.policy.table import FINE, ClaimRow, NodeRow

_IP_HEAD = ("IP", "NODE", "STATE", "SINCE", "SERVICES", "WHY")
_IP_HEAD_WIDE = (
    *("IP", "NODE", "STATE", "SINCE", "LINK", "POOL"),
    *("BEFORE", "STANDBY", "SERVICES", "WHY"),
)
_NODE_HEAD = ("NODE", "STATE", "HEARTBEAT", "IPS", "WHY")
_NODE_HEAD_WIDE = ("NODE", "STATE", "HEARTBEAT", "IPS", "VERSION", "LINKS", "WHY")
_POOL_HEAD = ("POOL", "CIDR", "STATE", "USED", "FREE", "WHY")

_SERVICES_SHOWN = 2
_MANY = 10**9
"""Beyond this, only the magnitude of a number of addresses is shown."""

_RED, _PLAIN = "\x1b[31m", "\x1b[0m"

Line = tuple[bool, tuple[str, ...]]
"""Whether it tells of a problem, and its cells."""


def as_text(overview: Overview, *, now: datetime, wide: bool, colour: bool, whole: bool) -> str:
    """Return headline, problems and tables; only tables with rows unless the `whole` is shown.

    `now` is the reader's wall clock. With `colour` problems are red.
    """
    parts: list[str] = []
    if whole:
        parts.append(printable(headline(overview)) + "\n")
        told = (f"! {printable(text)}\n" for text in overview.problems)
        parts.append("".join(_painted(line, colour) for line in told))
    ips = [_ip(row, now, wide=wide) for row in overview.ips]
    nodes = [_node(row, now, wide=wide) for row in overview.nodes]
    if ips or whole:
        parts.append(_table(_IP_HEAD_WIDE if wide else _IP_HEAD, ips, colour))
    if nodes or whole:
        parts.append(_table(_NODE_HEAD_WIDE if wide else _NODE_HEAD, nodes, colour))
    if overview.pools:
        pools = [
            (
                row.state in ("exhausted", "malformed"),
                (row.pool, row.cidr, row.state, _count(row.used), _count(row.free), row.why or "-"),
            )
            for row in overview.pools
        ]
        parts.append(_table(_POOL_HEAD, pools, colour))
    if overview.explanation is not None:
        parts.append(_explained(overview.explanation))
    return "\n".join(part for part in parts if part)


def age(text: str, now: datetime) -> str:
    """Return how long ago an RFC 3339 time was, as kubectl writes it."""
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


def _ip(row: ClaimRow, now: datetime, *, wide: bool) -> Line:
    begin = (row.ip or "-", row.node or "-", row.state.value, age(row.since, now))
    details = row.link, row.pool, row.before, row.standby
    more = tuple(text or "-" for text in details) if wide else ()
    return row.state not in FINE, (*begin, *more, _services(row), row.why or "-")


def _node(row: NodeRow, now: datetime, *, wide: bool) -> Line:
    begin = (row.node, row.state, age(row.heartbeat, now), str(row.claims))
    more = (row.version or "-", row.links or "-") if wide else ()
    return row.state != "ready", (*begin, *more, row.why or "-")


def _services(row: ClaimRow) -> str:
    shown = ",".join(row.services[:_SERVICES_SHOWN]) or "-"
    more = len(row.services) - _SERVICES_SHOWN
    return shown if more <= 0 else f"{shown} and {more} more"


def _count(number: int) -> str:
    return str(number) if number < _MANY else f"~2^{number.bit_length()}"


def _table(head: tuple[str, ...], rows: Sequence[Line], colour: bool) -> str:  # noqa: FBT001
    shown = [(wrong, tuple(map(printable, line))) for wrong, line in rows]
    cells = (head, *(line for _, line in shown))
    widths = [max(len(line[n]) for line in cells) for n in range(len(head))]
    text = [_row(head, widths)]
    text += [_painted(_row(line, widths), colour and wrong) for wrong, line in shown]
    return "".join(text)


def _row(line: Sequence[str], widths: Sequence[int]) -> str:
    cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
    return "  ".join(cells).rstrip() + "\n"


def _painted(line: str, colour: bool) -> str:  # noqa: FBT001
    return f"{_RED}{line[:-1]}{_PLAIN}\n" if colour else line


def _history(told: Explanation) -> tuple[str, ...]:
    if told.history_unread:
        return (*told.history, f"not all can be read: {told.history_unread}")
    return told.history or ("none in the last hour",)


def _explained(told: Explanation) -> str:
    parts = (
        ("asked for by", told.asked_by or ("nobody that can be read",)),
        ("claim", told.claims or ("none",)),
        ("before", (told.before,) if told.before else ("no other node, as far as is known",)),
        ("in its way", told.in_the_way or ("nothing",)),
        ("mistakes", told.mistakes),
        ("Events", _history(told)),
    )
    lines = (
        f"{label + ':' if first else '':14}{printable(text)}\n"
        for label, texts in parts
        for first, text in zip((True, *(False for _ in texts)), texts, strict=False)
    )
    return "".join(lines)
