"""A claim's node and its standby, which takes the IP when that node may not hold it. Pure.

A node that dies with many claims fails over by one write: its IpNode names them all, and each
standby takes its share at once. The claims themselves name their new node moments later.
"""

from collections.abc import Mapping

from msgspec.structs import replace

from extip.api.ipcontroller_v1 import IpClaim, IpNode
from extip.api.names import (
    NODE_LABEL,
    PLACEMENT_ANNOTATION,
    PLACEMENT_AUTOMATIC,
    PREVIOUS_NODE_LABEL,
    STANDBY_LABEL,
    label_value,
)
from extip.claims.policy.claims import is_pinned, metadata_patch

SETTLED_S = 10.0
"""Seconds after a silence for which a node takes claims only when these name it themselves: then
its watches are up to date again."""


def standby_of(claim: IpClaim) -> str:
    """Return the standby; empty for none. A claim that a person pinned to a node has none."""
    node = claim.spec.standby
    return "" if node == claim.spec.node_name or is_pinned(claim) else node


def is_failed_over(claim: IpClaim, record: IpNode | None) -> bool:
    """Whether the claim is its standby's, since its node was found dead.

    `record` is the IpNode of the claim's node. It names the claim with the generation that was
    decided over. So any change of the claim's spec ends the fail-over of that claim: from then on
    the claim itself says whose it is.
    """
    if record is None or record.status.failed_over is None:
        return False
    generation = record.status.failed_over.get(claim.metadata.name)
    return generation == claim.metadata.generation and bool(standby_of(claim))


def on_its_node(claim: IpClaim, records: Mapping[str, IpNode]) -> IpClaim:
    """Return the claim with the node that is to have its IP up. `records` are the IpNodes."""
    if not is_failed_over(claim, records.get(claim.spec.node_name)):
        return claim
    return replace(claim, spec=replace(claim.spec, node_name=claim.spec.standby))


def taken_over(claim: IpClaim, records: Mapping[str, IpNode]) -> IpClaim:
    """Return the claim to write anew: `on_its_node`, with the labels by which nodes find it."""
    found = on_its_node(claim, records)
    if found is claim:
        return claim
    labels = (claim.metadata.labels or {}) | {
        NODE_LABEL: label_value(found.spec.node_name),
        PREVIOUS_NODE_LABEL: label_value(claim.spec.node_name),
    }
    return replace(found, metadata=replace(found.metadata, labels=labels))


def needs_label(claim: IpClaim) -> bool:
    """Whether the claim's label names another node than its spec: its node cannot see it then."""
    label = (claim.metadata.labels or {}).get(NODE_LABEL, "")
    return label != (label_value(claim.spec.node_name) if claim.spec.node_name else "")


def assignment_patch(claim: IpClaim, node: str) -> dict[str, object]:
    """Return the merge patch that gives the claim to `node`; an empty `node` takes its node away.

    It fails with a conflict when the claim has changed since it was read, so that a stale decision
    does not undo a newer one. Other labels stay. A label keeps the former node until the next move.
    A standby that takes the claim stays its standby until another one is chosen in quiet times: it
    watches the claim for that reason, too, and so never misses it.
    """
    before = claim.spec.node_name
    labels: dict[str, str | None] = {NODE_LABEL: label_value(node) if node else None}
    spec: dict[str, object] = {"nodeName": node or None}
    if before and before != node:
        labels[PREVIOUS_NODE_LABEL] = label_value(before)
    metadata = metadata_patch(claim) | {"labels": labels}
    if not claim.managed and before != node:  # without it, a person's claim counts as pinned
        metadata["annotations"] = {PLACEMENT_ANNOTATION: PLACEMENT_AUTOMATIC}
    return {"metadata": metadata, "spec": spec}


def standby_patch(claim: IpClaim, node: str) -> dict[str, object]:
    """Return the merge patch that writes the standby, empty for none.

    It fails with a conflict when the claim has changed since it was read.
    """
    labels = {STANDBY_LABEL: label_value(node) if node else None}
    metadata = metadata_patch(claim) | {"labels": labels}
    return {"metadata": metadata, "spec": {"standby": node or None}}
