"""Why an IP is where it is: a fact of the past, with its time, for the condition of its claim."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """A decision that this process has made."""

    node: str
    """Where the claim was put."""
    text: str
    """When, where from, and why."""


def placed(node: str, *, before: str, why: str, now: str) -> Placed:
    """Describe that a claim was given to `node`; `now` is RFC 3339 in UTC.

    `why` it left the node `before`, which is empty when it had none.
    """
    text = f"moved from {before} at {now}: {why}" if before else f"placed at {now}"
    return Placed(node=node, text=text)


def told_before(message: str, node: str) -> str:
    """Return the history in the message of a condition `Assigned`, if it is of that node.

    It begins with the node, and may go on with what is amiss there.
    """
    place, _, text = message.partition("; ")
    return text if place.partition(",")[0] == f"to {node}" else ""
