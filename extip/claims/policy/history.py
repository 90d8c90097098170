"""The history of a claim: its last move, with time and reason, for its condition. Pure."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """A decision of this process."""

    node: str
    """The node of the claim."""
    text: str
    """The time, the former node and the reason."""


def placed(node: str, *, before: str, why: str, now: str) -> Placed:
    """Describe that a claim was given to `node`; `now` is RFC 3339 in UTC.

    `before` is its former node, empty for none. `why` is the reason for which it left that node.
    """
    text = f"moved from {before} at {now}: {why}" if before else f"placed at {now}"
    return Placed(node=node, text=text)


def history_in(message: str, node: str) -> str:
    """Return the history in the message of a condition `Assigned`; empty for another node's.

    The message begins with the node, and with its lack of endpoints where that is the case.
    """
    place, _, text = message.partition("; ")
    return text if place.partition(",")[0] == f"to {node}" else ""
