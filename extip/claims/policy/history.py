"""The history of a claim: its last move, with time and reason, for its condition. Pure."""

from dataclasses import dataclass

from extip.api.ipcontroller_v1 import ASSIGNED
from extip.api.meta_v1 import Condition


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


def to_node(node: str) -> str:
    """Say that a claim was given to `node`: all that there is to say of most claims."""
    return f"to {node}"


def assigned_to(node: str, generation: int) -> Condition:
    """Return the condition of a claim of which nothing else is to be said."""
    return Condition(
        type=ASSIGNED,
        status="True",
        reason=ASSIGNED,
        message=to_node(node),
        observed_generation=generation,
    )


def history_in(message: str, node: str) -> str:
    """Return the history in the message of a condition `Assigned`; empty for another node's.

    The message begins with the node, and with its lack of endpoints where that is the case.
    """
    place, _, text = message.partition("; ")
    return text if place.partition(",")[0] == to_node(node) else ""
