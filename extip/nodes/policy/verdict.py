"""Facts of a node → the condition Ready of its IpNode: whether it may hold claims, and why. Pure.

The leading scheduler decides it by the filters of placement, so that the two cannot differ. The
controller cannot decide it: it may be dead, or its heartbeats may go to another namespace.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from extip.api.conditions import find_condition, with_condition
from extip.api.ipcontroller_v1 import READY, IpNode
from extip.api.meta_v1 import Condition
from extip.liveness.policy import Verdict
from extip.scheduling.policy.filters import (
    EXPLANATIONS,
    NodeFacts,
    Unfit,
    best_link,
    failed_for_all,
)

NOT_FOUND = "HeartbeatNotFound"
NOT_HEARD = "HeartbeatUnknown"
STOPPED = "NodeStopped"
"""Reasons beside those of `Unfit`."""

_GONE = frozenset({STOPPED, Unfit.DEAD.value})


class Heartbeat(StrEnum):
    """The Lease of a node, in the namespace that the scheduler looks in."""

    NONE = "none"
    GIVEN_UP = "given up"
    HELD = "held"


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """The facts of a verdict, beside the facts of placement."""

    verdict: Verdict
    heartbeat: Heartbeat
    namespace: str
    """The namespace in which the scheduler looks for heartbeats."""
    leaving: str = ""
    """The reason for which its controller is about to stop."""
    namesake: str = ""
    """A Kubernetes node with a similar name, when there is none of its name."""


def ready_condition(
    node: NodeFacts, evidence: Evidence, *, ignored: frozenset[Unfit] = frozenset()
) -> Condition:
    """Return the condition that its IpNode should have, without times."""
    if evidence.verdict is not Verdict.ALIVE and evidence.heartbeat is Heartbeat.NONE:
        text = (
            f"namespace {evidence.namespace} has no heartbeat Lease of it: its controller does not "
            "run, or its --namespace is another one than the scheduler's"
        )
        return _condition("False", NOT_FOUND, text)
    if evidence.verdict is Verdict.UNKNOWN:
        text = "its heartbeats are late, and nobody else's show that the fault is its own"
        return _condition("Unknown", NOT_HEARD, text)
    obstacle = failed_for_all(node, ignored=ignored)
    if obstacle is not None:
        return _refusal(obstacle, evidence)
    if node.kubernetes is None and Unfit.NO_NODE not in ignored:
        return _condition("True", Unfit.NO_NODE, _nameless(evidence.namesake))
    return _condition("True", "Eligible", f"on {best_link(node)}" if node.link else "")


def namesake(node: str, kubernetes: Iterable[str]) -> str:
    """Return the only Kubernetes node whose name has the same first label; empty for none.

    The cause is often a short host name on one side and a full one on the other.
    """
    short = node.partition(".")[0]
    found = [name for name in kubernetes if name.partition(".")[0] == short]
    return found[0] if len(found) == 1 else ""


def differs(record: IpNode, condition: Condition) -> bool:
    """Whether the IpNode has another condition."""
    known = find_condition(record.status.conditions, READY)
    return known is None or (known.status, known.reason, known.message) != (
        condition.status,
        condition.reason,
        condition.message,
    )


def verdict_patch(
    record: IpNode, condition: Condition, *, now: str
) -> dict[str, dict[str, object]]:
    """Return the merge patch of its status; `now` is RFC 3339 in UTC.

    It fails with a conflict when the IpNode has changed since. A list of conditions is merged as a
    whole, and the controller has one in it. For a dead node the number of claims is set to 0.
    """
    conditions = with_condition(record.status.conditions, condition, now=now)
    status: dict[str, object] = {"conditions": conditions}
    if condition.reason in _GONE and record.status.claims:
        status["claims"] = 0
    return {"metadata": {"resourceVersion": record.metadata.resource_version}, "status": status}


def _refusal(obstacle: Unfit, evidence: Evidence) -> Condition:
    if obstacle is Unfit.DEAD and evidence.heartbeat is Heartbeat.GIVEN_UP:
        return _condition("False", STOPPED, "its controller was stopped in order")
    if obstacle is Unfit.DRAINING and evidence.leaving:
        return _condition("False", obstacle, f"its controller is leaving: {evidence.leaving}")
    return _condition("False", obstacle, EXPLANATIONS[obstacle])


def _nameless(other: str) -> str:
    hint = f"; is it {other}? Then give its controller --hostname {other}" if other else ""
    return (
        "no Kubernetes node has its name, so its labels and endpoints are not known: IPs of "
        "services with externalTrafficPolicy Local, and of pools with a nodeSelector, go to others "
        f"first{hint}"
    )


def _condition(status: str, reason: str, message: str) -> Condition:
    return Condition(type=READY, status=status, reason=str(reason), message=message)
